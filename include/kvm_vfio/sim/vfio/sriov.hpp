// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What VFIO keeps of a PCI function because of SR-IOV: whether it is a physical or a virtual
/// function, and the token. Whoever uses a virtual function must know the token of its physical
/// function, if VFIO drives the physical function, too.

#include <kvm_vfio/errc.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kvm_vfio::sim {

class process;

/// The part of a device that SR-IOV needs. A token is a UUID. The world's lock guards it.
struct sriov_function {
  /// The number of bytes of a token.
  static constexpr std::size_t token_size = 16;

  /// Whether the device is a virtual function.
  bool is_virtual = false;
  /// Whether the device is a physical function. Only such a function has a token.
  bool is_physical = false;
  /// Whether `token` is the token. The kernel begins with a random token, which no process knows.
  bool token_known = false;
  /// The token of a physical function, in the order of the UUID's digits.
  unsigned char token[token_size] = {};
  /// How many virtual functions of this physical function are open.
  int users = 0;
  /// The physical function of a virtual function, if VFIO drives it. Null: VFIO does not drive it,
  /// or the device is no virtual function.
  sriov_function* physical = nullptr;

  /// Decides whether a process may open the device with this token (vfio_pci_validate_vf_token). If
  /// the device is a physical function, and none of its virtual functions is open, the token
  /// becomes its token.
  /// \param given the bytes of the token; null: the process gave none
  /// \par Errors
  /// - `errc::access`: the token is missing or wrong
  /// - `errc::inval`: a token is given, but the device needs none: it is neither a physical
  ///   function nor a virtual function whose physical function VFIO drives
  [[nodiscard]] errc check_token(const unsigned char* given) noexcept;
  /// Reads the text behind the name of the device in the argument of VFIO_GROUP_GET_DEVICE_FD
  /// (vfio_pci_core_match), and calls `check_token`.
  /// \param options the text: blanks, and at most one `vf_token=` with a UUID
  /// \par Errors
  /// - `errc::inval`: the text is wrong
  /// - further errors: those of `check_token`
  [[nodiscard]] errc check_options(std::string_view options) noexcept;
  /// Answers VFIO_DEVICE_FEATURE with VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, which sets the token
  /// (vfio_pci_core_feature_token).
  /// \param task  the process that makes the call
  /// \param flags the flags of the struct
  /// \param data  the address of the bytes behind the struct
  /// \param size  the number of these bytes
  /// \par Errors
  /// - `errc::notty`: the device is no physical function
  /// - `errc::inval`: GET, because a process must not learn the token of another one; neither SET
  ///   nor PROBE; fewer bytes than a token has
  /// - `errc::fault`: the token cannot be read
  [[nodiscard]] errc feature(process& task, std::uint32_t flags, std::uint64_t data,
                             std::size_t size);

 private:
  [[nodiscard]] bool matches(const unsigned char* given) const noexcept;
  void set(const unsigned char* given) noexcept;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/sriov.hpp>
#endif
