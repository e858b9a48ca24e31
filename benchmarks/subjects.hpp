// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What is measured, under one interface.

#include <cstddef>
#include <cstdlib>
#include <new>

#include "plain_list.hpp"
#include "policies.hpp"

namespace bench {

/// A device with its policies and its files: `count` of them, of which `tracked` are added.
template <class Device, class Symbols>
class subject {
 public:
  using device_type = Device;

  subject(std::size_t count, std::size_t tracked) : all(count) {
    if constexpr (requires { device.append(all[0]); }) {
      for (std::size_t i = 0; i < tracked; ++i) good = device.append(all[i]) && good;
    } else {
      good = fill_quickly(device, all, tracked);
    }
    // The answers of the filling were not the files' own.
    if constexpr (requires { vfio.epoch; }) ++vfio.epoch;
    if (tracked > 0) good = add(device, all[0]) == errc::exists && good;
  }

  Symbols vfio;
  iommu backend;
  files all;
  bool good = true;
  Device device{vfio, backend, 1};
};

template <class Lock = null_lock>
using plain_with = subject<plain_list<symbols, Lock>, symbols>;
template <class Symbols, class Lock = null_lock, class Storage = heap_storage>
using device_with = subject<kvm_vfio::device<Symbols, Lock, iommu, linux_7_3, Storage>, Symbols>;

// The heap as the plain list uses it: without the wrappers of operator new around malloc.
struct malloc_storage : heap_storage {
  template <class T>
  class pool {
   public:
    explicit pool(const malloc_storage&) noexcept {}
    template <class... Args>
    [[nodiscard]] T* make(Args&&... args) noexcept {
      void* const bytes = std::malloc(sizeof(T));
      return bytes ? new (bytes) T{static_cast<Args&&>(args)...} : nullptr;
    }
    void destroy(T* object) noexcept {
      object->~T();
      std::free(object);
    }
  };
  template <class T>
  using own_pool = pool<T>;
};
static_assert(table_storage<malloc_storage>);

using plain = plain_with<>;  // the kernel's algorithm
// the last but one, with malloc and free for each entry
using same_heap = device_with<epoch_symbols, null_lock, malloc_storage>;
using walk = device_with<symbols>;         // the device, files with a hash
using epoch = device_with<epoch_symbols>;  // and a provider with an epoch
using fixed = device_with<epoch_symbols, null_lock, inline_storage<65536>>;  // and without heap

// Files that have no hash, as far as the device can see.
struct unhashed {
  vfio_file* file = nullptr;
  unhashed() = default;
  unhashed(vfio_file* f) noexcept : file(f) {}
  friend bool operator==(const unhashed&, const unhashed&) = default;
};
static_assert(handle<unhashed> && !hashable_file<unhashed>);
struct unhashed_symbols : linked_symbols {
  using file = unhashed;
  using vm = int;
  bool file_is_valid(file f) noexcept { return f.file->valid; }
  void file_set_kvm(file f, int to) noexcept { f.file->vm = to; }
  bool file_enforced_coherent(file f) noexcept { return f.file->coherent; }
};
using linear = device_with<unhashed_symbols>;  // the device, with nothing to help it

}  // namespace bench
