// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The concept of a storage. The model allocates its objects from a storage.
/// \see heap_storage.hpp, inline_storage.hpp

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace kvm_vfio {

namespace detail {
struct storage_probe {
  int value;
};
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

}  // namespace kvm_vfio
