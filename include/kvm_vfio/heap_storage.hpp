// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A storage that allocates the model's objects on the heap.

#include <kvm_vfio/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

namespace kvm_vfio {

/// A storage that allocates on the heap with the non-throwing `operator new`.
struct heap_storage {
  /// Allocates each object on the heap.
  template <class T>
  class pool {
   public:
    /// Makes a pool, which has no state.
    constexpr explicit pool(const heap_storage&) noexcept {}
    /// Makes an object. Returns null if there is no memory.
    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      if (std::is_constant_evaluated()) return new T{static_cast<Args&&>(args)...};
      return new (std::nothrow) T{static_cast<Args&&>(args)...};
    }
    /// Destroys an object, and frees its memory.
    constexpr void destroy(T* object) noexcept { delete object; }
  };
  /// Stores up to 8 objects inside itself, and further ones on the heap. Keeps the memory of up to
  /// 16 destroyed heap objects for reuse.
  template <class T>
    requires(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__)
  class own_pool : pool<T> {
   public:
    /// Makes a pool that has allocated nothing on the heap.
    constexpr explicit own_pool(const heap_storage& from) noexcept : pool<T>(from) {}
    own_pool(const own_pool&) = delete;
    own_pool& operator=(const own_pool&) = delete;
    constexpr ~own_pool() {
      while (spare* const s = spares_) {
        spares_ = s->next;
        if (!is_inside(s)) ::operator delete(static_cast<void*>(s));
      }
    }

    /// Makes an object. Returns null if there is no memory.
    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      if (std::is_constant_evaluated() || (!spares_ && fresh_ == room))
        return pool<T>::make(static_cast<Args&&>(args)...);
      return new (take()) T{static_cast<Args&&>(args)...};
    }
    /// Destroys an object, and keeps its memory for another one or frees it.
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
    /// Makes an allocator, which has no state.
    constexpr explicit tables(const heap_storage&) noexcept {}
    /// Allocates `n` elements without values. Returns null if there is no memory.
    [[nodiscard]] constexpr T* make(std::size_t n) noexcept {
      if (std::is_constant_evaluated()) return new T[n];
      return new (std::nothrow) T[n];
    }
    /// Frees a table.
    constexpr void destroy(T* table, std::size_t) noexcept { delete[] table; }
  };
};
static_assert(table_storage<heap_storage>);

}  // namespace kvm_vfio
