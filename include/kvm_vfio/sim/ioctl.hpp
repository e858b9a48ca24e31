// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The rules of VFIO's extensible structs: copied by parts, held to argsz and flags.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/process.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim::detail {

/// Reads the first `size` bytes of a struct whose first word is argsz.
/// \return fault · inval: argsz says less than `size`
template <class T>
[[nodiscard]] errc read_argsz(process& task, std::uint64_t address, T& object, std::size_t size) {
  if (!task.mem().read(address, &object, size)) return errc::fault;
  std::uint32_t argsz = 0;
  __builtin_memcpy(&argsz, &object, sizeof argsz);
  return argsz < size ? errc::inval : errc::ok;
}

/// Whether the bytes of a struct from `first` to `size` are all zero, as copy_struct_from_user
/// asks.
/// \return fault · E2BIG
[[nodiscard]] errc zeros(process& task, std::uint64_t address, std::size_t first, std::size_t size);

/// Writes the first bytes of a struct back.
template <class T>
[[nodiscard]] answer write_back(process& task, std::uint64_t address, const T& object,
                                std::size_t size) {
  return task.mem().write(address, &object, size) ? answer(0) : answer(errc::fault);
}

/// Capabilities that follow an info struct, chained by offsets (struct vfio_info_cap_header).
class capability_chain {
 public:
  /// \param aligned each starts at a multiple of eight bytes
  explicit capability_chain(bool aligned = true) noexcept : aligned_(aligned) {}
  /// Appends one; `body` is what follows its header.
  void add(std::uint16_t id, std::uint16_t version, const std::vector<unsigned char>& body);
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  /// Writes them behind an info struct at this address, which says where; or, when the caller has
  /// no room, says how much there must be.
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
  // The bytes as they stand behind an info struct of `offset` bytes.
  [[nodiscard]] std::vector<unsigned char> placed_after(std::size_t offset) const;

  bool aligned_;
  std::vector<unsigned char> bytes_;
  std::vector<std::size_t> starts_;
};

/// The bytes of some integers, one after the other.
template <class... Ints>
[[nodiscard]] std::vector<unsigned char> bytes_of(Ints... values) {
  std::vector<unsigned char> out((sizeof(Ints) + ... + 0));
  std::size_t at = 0;
  ((__builtin_memcpy(&out[at], &values, sizeof values), at += sizeof values), ...);
  return out;
}

}  // namespace kvm_vfio::sim::detail

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/ioctl.hpp>
#endif
