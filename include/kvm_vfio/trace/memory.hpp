// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The memory of a simulated process, for the arguments of its calls.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/errc.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kvm_vfio::trace {

/// Copies between the simulator and a process. The default is this very process's memory, in
/// which the first page and whatever was forbidden cannot be accessed; an interposer that must
/// survive wild pointers overrides both copies.
class memory {
 public:
  memory() noexcept;
  memory(const memory&) = delete;
  memory& operator=(const memory&) = delete;
  virtual ~memory();

  /// False when any byte cannot be read; `to` is unspecified then.
  [[nodiscard]] virtual bool read(std::uint64_t from, void* to, std::size_t size) noexcept;
  /// False when any byte cannot be written; nothing was written then.
  [[nodiscard]] virtual bool write(std::uint64_t to, const void* from, std::size_t size) noexcept;

  /// From now on the range cannot be written and, unless `readable`, not be read.
  void forbid(const void* at, std::size_t size, bool readable = false);

 private:
  struct range {
    std::uint64_t first;
    std::size_t size;
    bool readable;
  };
  static constexpr std::uint64_t first_page = 4096;
  // The upper half is the kernel's. A 32-bit program may have all that its pointers reach, and no
  // more: the kernel does not cut off the rest of the number.
  static constexpr std::uint64_t user_end = std::uint64_t{1} << (sizeof(void*) < 8 ? 32 : 63);

  [[nodiscard]] static void* pointer(std::uint64_t address) noexcept;
  [[nodiscard]] bool allowed(std::uint64_t at, std::size_t size, bool write) const noexcept;

  std::vector<range> forbidden_;
};

/// Reads a string that ends within a page.
/// \param text what could be read, also after an error
/// \return fault: not readable · inval: longer
[[nodiscard]] errc read_string(memory& from, std::uint64_t address, std::string& text);

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/memory.hpp>
#endif
