// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The memory of a mock process: ranges that can be read, written, or neither. It also works in
/// constant evaluation, where there are no addresses.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/convert.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace kvm_vfio::testing {

/// The accesses that a range allows.
enum class access : unsigned char { none, read, read_write };

/// Memory that consists of mapped ranges. An address outside all ranges cannot be accessed. After
/// `share_host` it is a real address in the memory of the test, unless it is null.
class mapped_memory {
 public:
  /// Maps `size` zero bytes at `address`. They replace what was mapped there.
  constexpr void map(std::uint64_t address, std::size_t size, access allowed = access::read_write) {
    ranges_.push_back({address, allowed, std::vector<unsigned char>(size, 0)});
  }
  /// Changes the accesses that the range with this address allows.
  /// \pre the address is mapped
  constexpr void protect(std::uint64_t address, access allowed) {
    mapped(address).allowed = allowed;
  }
  /// Writes an object to an address. The range need not allow this.
  /// \pre the bytes are mapped
  template <class T>
  constexpr void poke(std::uint64_t address, const T& object) {
    const auto bytes = std::bit_cast<std::array<unsigned char, sizeof(T)>>(object);
    for (std::size_t i = 0; i < sizeof(T); ++i) at(address + i) = bytes[i];
  }
  /// Reads an object from an address. The range need not allow this.
  /// \pre the bytes are mapped
  template <class T>
  [[nodiscard]] constexpr T peek(std::uint64_t address) {
    std::array<unsigned char, sizeof(T)> bytes{};
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = at(address + i);
    return std::bit_cast<T>(bytes);
  }
  /// Makes each address outside all ranges a real address in the memory of the test. Such memory is
  /// read and written without a check. This is for code that passes pointers to its own objects.
  constexpr void share_host() noexcept { host_ = true; }

  /// Copies an object from the memory. Returns false if a byte cannot be read.
  template <class T>
  [[nodiscard]] constexpr bool copy_from_user(std::uint64_t address, T& object) noexcept {
    if (is_host(address)) return from_host(address, object);
    if (!allows(address, sizeof(T), access::read)) return false;
    object = peek<T>(address);
    return true;
  }
  /// Copies an object to the memory. Returns false if a byte cannot be written.
  template <class T>
  [[nodiscard]] constexpr bool copy_to_user(std::uint64_t address, const T& object) noexcept {
    if (is_host(address)) return to_host(address, object);
    if (!allows(address, sizeof(T), access::read_write)) return false;
    poke(address, object);
    return true;
  }

 private:
  struct range {
    std::uint64_t address;
    access allowed;
    std::vector<unsigned char> bytes;
  };
  // If ranges overlap, the newest one counts.
  [[nodiscard]] constexpr range* find(std::uint64_t address) noexcept {
    for (std::size_t i = ranges_.size(); i-- > 0;) {
      range& r = ranges_[i];
      if (address >= r.address && address - r.address < r.bytes.size()) return &r;
    }
    return nullptr;
  }
  // A test that names an address which is not mapped ends here.
  [[nodiscard]] constexpr range& mapped(std::uint64_t address) noexcept {
    range* const r = find(address);
    if (!r) __builtin_trap();
    return *r;
  }
  [[nodiscard]] constexpr unsigned char& at(std::uint64_t address) noexcept {
    range& r = mapped(address);
    return r.bytes[kvm_vfio::detail::convert<std::size_t>(address - r.address)];
  }
  [[nodiscard]] constexpr bool allows(std::uint64_t address, std::size_t size,
                                      access wanted) noexcept {
    for (std::size_t i = 0; i < size; ++i) {
      const range* const r = find(address + i);
      if (!r || r->allowed < wanted) return false;
    }
    return true;
  }
  [[nodiscard]] constexpr bool is_host(std::uint64_t address) noexcept {
    return host_ && address != 0 && kvm_vfio::detail::convert<std::uintptr_t>(address) == address &&
           !find(address);
  }
  template <class T>
  static bool from_host(std::uint64_t address, T& object) noexcept {
    std::memcpy(&object,
                reinterpret_cast<const void*>(kvm_vfio::detail::convert<std::uintptr_t>(address)),
                sizeof(T));
    return true;
  }
  template <class T>
  static bool to_host(std::uint64_t address, const T& object) noexcept {
    std::memcpy(reinterpret_cast<void*>(kvm_vfio::detail::convert<std::uintptr_t>(address)),
                &object, sizeof(T));
    return true;
  }

  std::vector<range> ranges_;
  bool host_ = false;
};
static_assert(user_memory<mapped_memory>);

}  // namespace kvm_vfio::testing
