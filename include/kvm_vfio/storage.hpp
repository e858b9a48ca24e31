// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Where the model allocates its objects: on the heap, or inside the owner with a capacity that is
/// fixed at compile time.

#include <kvm_vfio/detail/free_slots.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

namespace kvm_vfio {

namespace detail {
struct storage_probe {
  int value;
};
// Returns the least power of two that is not below `least`. `<bit>` would cost compile time.
constexpr std::size_t power_of_two(std::size_t least) noexcept {
  std::size_t power = 1;
  while (power < least) power *= 2;
  return power;
}
}  // namespace detail

/// A source of memory. A storage is a small object that can be copied. The model makes a pool from
/// it for each type that it allocates. Several threads may use one pool at the same time.
template <class S>
concept storage =  //
    requires(const S& from, typename S::template pool<detail::storage_probe>& pool,
             detail::storage_probe* p) {
      // A copy allocates from the same memory.
      { S(from) } noexcept;
      // Makes the pool for one type.
      { typename S::template pool<detail::storage_probe>(from) } noexcept;
      // Makes an object from the arguments. Returns null if there is no memory. The object's
      // address does not change.
      { pool.make(1) } noexcept -> std::same_as<detail::storage_probe*>;
      // Destroys an object that this pool made, and frees its memory.
      { pool.destroy(p) } noexcept;
    };

namespace detail {
template <class S, class T>
struct own_pool {
  using type = typename S::template pool<T>;
};
template <class S, class T>
  requires requires { typename S::template own_pool<T>; }
struct own_pool<S, T> {
  using type = typename S::template own_pool<T>;
};
}  // namespace detail

/// A pool for an owner that calls it from one thread at a time. It is `own_pool<T>` of the storage
/// if the storage has one, which can be cheaper. Otherwise it is `pool<T>`.
template <class S, class T>
using own_pool = typename detail::own_pool<S, T>::type;

/// A storage that can also allocate look-up tables. Tables only make look-up faster. If the storage
/// refuses one, the list works without it, and no error is reported.
template <class S>
concept table_storage =  //
    storage<S> &&
    requires(const S& from, typename S::template tables<detail::storage_probe*>& tables,
             detail::storage_probe** p, std::size_t n) {
      // Makes the allocator for the tables of one owner.
      { typename S::template tables<detail::storage_probe*>(from) } noexcept;
      // The largest number of elements in all tables of one owner together, known at compile time.
      typename std::integral_constant<std::size_t,
                                      S::template tables<detail::storage_probe*>::limit>;
      // Allocates `n` elements without setting their values. Returns null if there is no memory.
      { tables.make(n) } noexcept -> std::same_as<detail::storage_probe**>;
      // Frees a table of `n` elements. The owner frees its tables in reverse order.
      { tables.destroy(p, n) } noexcept;
    };

/// A storage that allocates on the heap with the non-throwing `operator new`.
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
  /// Stores up to 8 objects inside itself, and further ones on the heap. Keeps the memory of up to
  /// 16 destroyed heap objects for reuse.
  template <class T>
    requires(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__)
  class own_pool : pool<T> {
   public:
    constexpr explicit own_pool(const heap_storage& from) noexcept : pool<T>(from) {}
    own_pool(const own_pool&) = delete;
    own_pool& operator=(const own_pool&) = delete;
    constexpr ~own_pool() {
      while (spare* const s = spares_) {
        spares_ = s->next;
        if (!is_inside(s)) ::operator delete(static_cast<void*>(s));
      }
    }

    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      if (std::is_constant_evaluated() || (!spares_ && fresh_ == room))
        return pool<T>::make(static_cast<Args&&>(args)...);
      return new (take()) T{static_cast<Args&&>(args)...};
    }
    constexpr void destroy(T* object) noexcept {
      if (std::is_constant_evaluated()) return pool<T>::destroy(object);
      if (!is_inside(object)) {
        if (kept_ == most) return pool<T>::destroy(object);
        ++kept_;
      }
      object->~T();
      spares_ = new (static_cast<void*>(object)) spare{spares_};
    }

   private:
    struct spare {
      spare* next;
    };
    static constexpr unsigned room = 8, most = 16;

    [[nodiscard]] void* take() noexcept {
      spare* const s = spares_;
      if (!s) return bytes_ + fresh_++ * sizeof(T);
      spares_ = s->next;
      if (!is_inside(s)) --kept_;
      return s;
    }
    [[nodiscard]] bool is_inside(const void* p) const noexcept {
      return reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(bytes_) <
             sizeof bytes_;
    }

    spare* spares_ = nullptr;
    unsigned fresh_ = 0;  // how many places inside have been used at least once
    unsigned kept_ = 0;   // how many spares lie on the heap
    alignas(T) alignas(spare) unsigned char bytes_[room * sizeof(T)];
    static_assert(sizeof(T) >= sizeof(spare) && alignof(T) >= alignof(spare));
  };

  /// Allocates tables with the non-throwing `operator new`.
  template <class T>
  class tables {
   public:
    /// The largest number of elements. A list with more files than this has long chains.
    static constexpr std::size_t limit = std::size_t{1} << 24;
    constexpr explicit tables(const heap_storage&) noexcept {}
    [[nodiscard]] constexpr T* make(std::size_t n) noexcept {
      if (std::is_constant_evaluated()) return new T[n];
      return new (std::nothrow) T[n];
    }
    constexpr void destroy(T* table, std::size_t) noexcept { delete[] table; }
  };
};
static_assert(table_storage<heap_storage>);

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

    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      const std::size_t slot = free_.take();
      if (slot == Capacity) return nullptr;
      if (std::is_constant_evaluated()) return new T{static_cast<Args&&>(args)...};
      return new (bytes_ + slot * sizeof(T)) T{static_cast<Args&&>(args)...};
    }
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
  template <class T>
  using pool = slots<T, true>;
  template <class T>
  using own_pool = slots<T, false>;

  /// Allocates tables inside the owner: one element for each object, rounded up to a power of two.
  template <class T>
  class tables {
   public:
    /// The number of elements in all tables together.
    static constexpr std::size_t limit = detail::power_of_two(Capacity);
    constexpr explicit tables(const inline_storage&) noexcept {}
    tables(const tables&) = delete;
    tables& operator=(const tables&) = delete;
    [[nodiscard]] constexpr T* make(std::size_t n) noexcept {
      if (n > limit - used_) return nullptr;
      used_ += n;
      return elements_ + (used_ - n);
    }
    // The owner frees its tables in reverse order, so the last elements are the ones to free.
    constexpr void destroy(T*, std::size_t n) noexcept { used_ -= n; }

   private:
    T elements_[limit] = {};
    std::size_t used_ = 0;
  };
};
static_assert(table_storage<inline_storage<1>>);

}  // namespace kvm_vfio
