// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A storage that keeps the model's objects inside their owner. Its capacity is fixed at compile
/// time.

#include <kvm_vfio/detail/free_slots.hpp>
#include <kvm_vfio/storage.hpp>

#include <cstddef>
#include <new>  // IWYU pragma: keep
#include <type_traits>

namespace kvm_vfio {

namespace detail {
// Returns the least power of two that is not below `least`. `<bit>` would cost compile time.
constexpr std::size_t power_of_two(std::size_t least) noexcept {
  std::size_t power = 1;
  while (power < least) power *= 2;
  return power;
}
}  // namespace detail

/// A storage with room for `Capacity` objects of each type inside the owner, without a heap. When
/// the room is used up, `make` returns null, and the model reports ENOMEM. Each call takes constant
/// time and no lock. In constant evaluation the objects are on the heap, because raw bytes cannot
/// hold objects there. The capacity is the same.
template <std::size_t Capacity>
struct inline_storage {
  static_assert(Capacity > 0, "inline_storage needs a capacity of at least one");

  /// A pool with `Capacity` places.
  /// \tparam Shared true: several threads may call at the same time; false: one thread at a time
  template <class T, bool Shared>
  class slots {
   public:
    /// Makes a pool in which all places are free.
    constexpr explicit slots(const inline_storage&) noexcept {}
    slots(const slots&) = delete;
    slots& operator=(const slots&) = delete;

    /// Makes an object in a free place. Returns null if no place is free.
    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      const std::size_t slot = free_.take();
      if (slot == Capacity) return nullptr;
      if (std::is_constant_evaluated()) return new T{static_cast<Args&&>(args)...};
      return new (bytes_ + slot * sizeof(T)) T{static_cast<Args&&>(args)...};
    }
    /// Destroys an object, and frees its place.
    constexpr void destroy(T* object) noexcept {
      if (std::is_constant_evaluated()) return (delete object), free_.give_back(0);
      const auto* at = reinterpret_cast<const unsigned char*>(object);
      const auto slot = static_cast<std::size_t>(at - bytes_) / sizeof(T);
      object->~T();
      free_.give_back(slot);
    }

   private:
    alignas(T) unsigned char bytes_[Capacity * sizeof(T)] = {};
    detail::free_slots<Capacity, Shared> free_;
  };
  /// A pool for several threads.
  template <class T>
  using pool = slots<T, true>;
  /// A pool for one thread at a time.
  template <class T>
  using own_pool = slots<T, false>;

  /// Allocates tables inside the owner: one element for each object, rounded up to a power of two.
  template <class T>
  class tables {
   public:
    /// The number of elements in all tables together.
    static constexpr std::size_t limit = detail::power_of_two(Capacity);
    /// Makes an allocator in which all elements are free.
    constexpr explicit tables(const inline_storage&) noexcept {}
    tables(const tables&) = delete;
    tables& operator=(const tables&) = delete;
    /// Allocates `n` elements without setting values. Returns null if too few are free.
    [[nodiscard]] constexpr T* make(std::size_t n) noexcept {
      if (n > limit - used_) return nullptr;
      used_ += n;
      return elements_ + (used_ - n);
    }
    /// Frees a table of `n` elements. The owner frees its tables in reverse order, so the last
    /// elements are the ones to free.
    constexpr void destroy(T*, std::size_t n) noexcept { used_ -= n; }

   private:
    T elements_[limit] = {};
    std::size_t used_ = 0;
  };
};
static_assert(table_storage<inline_storage<1>>);

}  // namespace kvm_vfio
