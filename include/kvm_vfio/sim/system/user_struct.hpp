// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Copies the extensible structs of VFIO, whose first member gives the size that the caller knows.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim::detail {

/// Reads the first `size` bytes of a struct whose first member is argsz.
/// \par Errors
/// - `errc::fault`: the bytes cannot be read
/// - `errc::inval`: argsz is less than `size`
template <class T>
[[nodiscard]] errc read_argsz(process& task, std::uint64_t address, T& object, std::size_t size) {
  if (!task.mem().read(address, &object, size)) return errc::fault;
  std::uint32_t argsz = 0;
  __builtin_memcpy(&argsz, &object, sizeof argsz);
  return argsz < size ? errc::inval : errc::ok;
}

/// Checks that the bytes of a struct from the offset `first` to the offset `size` are zero, as
/// copy_struct_from_user does.
/// \par Errors
/// - `errc::fault`: a byte cannot be read
/// - `errc::toobig`: a byte is not zero
[[nodiscard]] errc zeros(process& task, std::uint64_t address, std::size_t first, std::size_t size);

/// Writes the first `size` bytes of a struct to the process.
/// \return 0
/// \par Errors
/// - `errc::fault`: the bytes cannot be written
template <class T>
[[nodiscard]] answer write_back(process& task, std::uint64_t address, const T& object,
                                std::size_t size) {
  return task.mem().write(address, &object, size) ? answer(0) : answer(errc::fault);
}

/// The list of capabilities behind an info struct. Each header (struct vfio_info_cap_header)
/// contains the offset of the next one.
class capability_chain {
 public:
  /// \param aligned whether each capability starts at a multiple of eight bytes
  explicit capability_chain(bool aligned = true) noexcept : aligned_(aligned) {}
  /// Adds a capability to the end.
  /// \param id      the number of the capability
  /// \param version the version in its header
  /// \param body    the bytes behind its header
  void add(std::uint16_t id, std::uint16_t version, const std::vector<unsigned char>& body);
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  /// Writes the capabilities behind an info struct and sets its `cap_offset`. If `argsz` is too
  /// small for them, this function writes nothing and sets `argsz` to the size that is needed.
  /// \param task    the process
  /// \param address the address of the info struct in the process
  /// \param info    the info struct, which the caller writes afterwards
  /// \par Errors
  /// - `errc::fault`: the bytes cannot be written
  template <class Info>
  [[nodiscard]] errc write_behind(process& task, std::uint64_t address, Info& info) const {
    const std::size_t whole = sizeof info + bytes_.size();
    if (info.argsz < whole) {
      info.argsz = static_cast<std::uint32_t>(whole);
      return errc::ok;
    }
    const auto bytes = placed_after(sizeof info);
    if (!task.mem().write(address + sizeof info, bytes.data(), bytes.size())) return errc::fault;
    info.cap_offset = sizeof info;
    return errc::ok;
  }

 private:
  // The bytes of all capabilities, with offsets for an info struct of `offset` bytes.
  [[nodiscard]] std::vector<unsigned char> placed_after(std::size_t offset) const;

  bool aligned_;
  std::vector<unsigned char> bytes_;
  std::vector<std::size_t> starts_;
};

/// The bytes of integers, one integer directly behind the other.
template <class... Ints>
[[nodiscard]] std::vector<unsigned char> bytes_of(Ints... values) {
  std::vector<unsigned char> out((sizeof(Ints) + ... + 0));
  std::size_t at = 0;
  ((__builtin_memcpy(&out[at], &values, sizeof values), at += sizeof values), ...);
  return out;
}

}  // namespace kvm_vfio::sim::detail

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/user_struct.hpp>
#endif
