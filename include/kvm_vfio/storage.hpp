// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Where the model's objects live: on the heap, or in a capacity fixed at compile time.

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
// The next power of two, without the cost of `<bit>`.
constexpr std::size_t power_of_two(std::size_t least) noexcept {
  std::size_t power = 1;
  while (power < least) power *= 2;
  return power;
}
}  // namespace detail

/// A source of memory. A storage is a small copyable object; for each type that the model
/// allocates it makes a pool. Several threads may use a pool at a time.
template <class S>
concept storage =  //
    requires(const S& from, typename S::template pool<detail::storage_probe>& pool,
             detail::storage_probe* p) {
      // A copy draws from the same memory.
      { S(from) } noexcept;
      // The pool of one type, made from the storage.
      { typename S::template pool<detail::storage_probe>(from) } noexcept;
      // A new object built from the arguments, or null: no memory. Addresses stay.
      { pool.make(1) } noexcept -> std::same_as<detail::storage_probe*>;
      // Destroys an object of this pool and takes its memory back.
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

/// The pool of an owner that uses it from one thread at a time. A storage may have a cheaper one
/// for that: its `own_pool<T>`.
template <class S, class T>
using own_pool = typename detail::own_pool<S, T>::type;

/// A storage that has memory for tables too: what only makes look-up faster, so that a refusal is
/// no error and nobody hears of it.
template <class S>
concept table_storage =  //
    storage<S> &&
    requires(const S& from, typename S::template tables<detail::storage_probe*>& tables,
             detail::storage_probe** p, std::size_t n) {
      // The tables of one owner, made from the storage.
      { typename S::template tables<detail::storage_probe*>(from) } noexcept;
      // How many elements all tables of the owner can have together, known at compile time.
      typename std::integral_constant<std::size_t,
                                      S::template tables<detail::storage_probe*>::limit>;
      // `n` elements without a value, or null: no memory.
      { tables.make(n) } noexcept -> std::same_as<detail::storage_probe**>;
      // Takes a table of `n` elements back. The last that was made goes first.
      { tables.destroy(p, n) } noexcept;
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
  /// Has room for 8 objects inside, and keeps the memory of up to 16 others that went for the next
  /// ones.
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
    unsigned fresh_ = 0;  // how many places inside have been taken at least once
    unsigned kept_ = 0;   // spares that are not inside
    alignas(T) alignas(spare) unsigned char bytes_[room * sizeof(T)];
    static_assert(sizeof(T) >= sizeof(spare) && alignof(T) >= alignof(spare));
  };

  /// Tables, also by non-throwing `operator new`.
  template <class T>
  class tables {
   public:
    /// Above this many files look-up slows down again.
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

/// Room for `Capacity` objects of each type inside the owner; no heap. The next object is refused
/// (ENOMEM). Constant time, without a lock. In constant evaluation, where raw bytes cannot hold
/// objects, the heap stands in; the capacity is the same.
template <std::size_t Capacity>
struct inline_storage {
  static_assert(Capacity > 0, "inline_storage needs a capacity of at least one");

  /// \tparam Shared for any number of threads, not for one at a time
  template <class T, bool Shared>
  class slots {
   public:
    /// All free.
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

  /// One element for each object, rounded up to a power of two.
  template <class T>
  class tables {
   public:
    /// Elements in all tables.
    static constexpr std::size_t limit = detail::power_of_two(Capacity);
    constexpr explicit tables(const inline_storage&) noexcept {}
    tables(const tables&) = delete;
    tables& operator=(const tables&) = delete;
    [[nodiscard]] constexpr T* make(std::size_t n) noexcept {
      if (n > limit - used_) return nullptr;
      used_ += n;
      return elements_ + (used_ - n);
    }
    // The last that was made goes first.
    constexpr void destroy(T*, std::size_t n) noexcept { used_ -= n; }

   private:
    T elements_[limit] = {};
    std::size_t used_ = 0;
  };
};
static_assert(table_storage<inline_storage<1>>);

}  // namespace kvm_vfio
