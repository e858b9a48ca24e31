// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Where the model's objects live: on the heap, or in a capacity fixed at compile time.

#include <concepts>
#include <cstddef>
#include <new>
#include <type_traits>

namespace kvm_vfio {

namespace detail {
struct storage_probe {
  int value;
};
}  // namespace detail

/// A source of memory. A storage is a small copyable object; for each type that the model
/// allocates it makes a pool.
template <class S>
concept storage =
    std::is_nothrow_copy_constructible_v<S> &&
    // The pool of one type, made from the storage.
    std::constructible_from<typename S::template pool<detail::storage_probe>, const S&> &&
    requires(typename S::template pool<detail::storage_probe>& pool, detail::storage_probe* p) {
      // A new object built from the arguments, or null: no memory. Addresses stay.
      { pool.make(1) } noexcept -> std::same_as<detail::storage_probe*>;
      // Destroys an object of this pool and takes its memory back.
      { pool.destroy(p) } noexcept;
    };

/// The heap, by non-throwing `operator new`.
struct heap_storage {
  template <class T>
  class pool {
   public:
    constexpr explicit pool(const heap_storage&) noexcept {}
    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      if (std::is_constant_evaluated()) return new T{static_cast<Args&&>(args)...};
      return new (std::nothrow) T{static_cast<Args&&>(args)...};
    }
    constexpr void destroy(T* object) noexcept { delete object; }
  };
};
static_assert(storage<heap_storage>);

/// Room for `Capacity` objects of each type inside the owner; no heap. The next object is refused
/// (ENOMEM). Safe to use from any number of threads, without a lock; linear in the capacity. In
/// constant evaluation, where raw bytes cannot hold objects, the heap stands in; the capacity is
/// the same.
template <std::size_t Capacity>
struct inline_storage {
  static_assert(Capacity > 0, "inline_storage needs a capacity of at least one");

  template <class T>
  class pool {
   public:
    constexpr explicit pool(const inline_storage&) noexcept {}
    pool(const pool&) = delete;
    pool& operator=(const pool&) = delete;

    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      if (std::is_constant_evaluated())
        return made_ == Capacity ? nullptr : (++made_, new T{static_cast<Args&&>(args)...});
      for (std::size_t slot = 0; slot < Capacity; ++slot)
        if (!__atomic_test_and_set(&taken_[slot], __ATOMIC_ACQUIRE))
          return new (bytes_ + slot * sizeof(T)) T{static_cast<Args&&>(args)...};
      return nullptr;
    }
    constexpr void destroy(T* object) noexcept {
      if (std::is_constant_evaluated()) {
        --made_;
        delete object;
        return;
      }
      const auto* at = reinterpret_cast<const unsigned char*>(object);
      const auto slot = static_cast<std::size_t>(at - bytes_) / sizeof(T);
      object->~T();
      __atomic_clear(&taken_[slot], __ATOMIC_RELEASE);
    }

   private:
    alignas(T) unsigned char bytes_[Capacity * sizeof(T)] = {};
    bool taken_[Capacity] = {};
    std::size_t made_ = 0;  // in constant evaluation
  };
};
static_assert(storage<inline_storage<1>>);

}  // namespace kvm_vfio
