// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The memory of a simulated process that makes wild calls: a few pages, and nothing else.

#include <kvm_vfio/trace/memory.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fuzz {

/// Sixteen pages from `first` on. The page `hidden` cannot be read or written, the page `read_only`
/// cannot be written, and no other address can be read or written.
class user_memory final : public kvm_vfio::trace::memory {
 public:
  static constexpr std::uint64_t page = 4096;
  static constexpr std::uint64_t first = 0x100000;
  static constexpr std::uint64_t pages = 16;
  static constexpr std::uint64_t hidden = 4;
  static constexpr std::uint64_t read_only = 9;

  [[nodiscard]] bool read(std::uint64_t from, void* to, std::size_t size) noexcept override {
    if (size == 0) return true;
    if (!accessible(from, size, false)) return false;
    std::memcpy(to, bytes_.data() + (from - first), size);
    return true;
  }
  [[nodiscard]] bool peek(std::uint64_t from, void* to, std::size_t size) noexcept override {
    return read(from, to, size);
  }
  [[nodiscard]] bool write(std::uint64_t to, const void* from, std::size_t size) noexcept override {
    if (size == 0) return true;
    if (!accessible(to, size, true)) return false;
    std::memcpy(bytes_.data() + (to - first), from, size);
    return true;
  }
  [[nodiscard]] bool pinnable(std::uint64_t at, std::uint64_t size, bool write) noexcept override {
    return size == 0 || accessible(at, size, write);
  }

  /// Writes bytes of an argument, also where the process cannot read or write.
  void place(std::uint64_t at, const unsigned char* bytes, std::size_t size) noexcept {
    for (std::size_t i = 0; i < size; ++i)
      if (at - first + i < bytes_.size())
        bytes_[static_cast<std::size_t>(at - first + i)] = bytes[i];
  }

 private:
  [[nodiscard]] static bool accessible(std::uint64_t at, std::uint64_t size, bool write) noexcept {
    if (at < first || size > pages * page || at - first > pages * page - size) return false;
    const std::uint64_t from = (at - first) / page;
    const std::uint64_t last = (at - first + size - 1) / page;
    return !(from <= hidden && hidden <= last) &&
           !(write && from <= read_only && read_only <= last);
  }

  std::array<unsigned char, pages * page> bytes_{};
};

}  // namespace fuzz
