// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The smallest class that models a concept, for each concept. Code that compiles with these
/// classes compiles with every model of the concepts. Each class has the name of its concept.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/inline_storage.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/storage.hpp>
#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/testing/schedules/scenario.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::testing::archetypes {

/// A base class for archetypes whose concept asks for neither copying nor moving.
struct pinned {
  pinned() = default;
  pinned(const pinned&) = delete;
  pinned& operator=(const pinned&) = delete;
};

/// A handle of a file, a VM or an IOMMU group. `Tag` tells them apart.
template <class Tag>
struct handle {
  friend constexpr bool operator==(const handle&, const handle&) = default;
};
using file_handle = handle<struct any_file>;
using vm_handle = handle<struct any_vm>;
using group_handle = handle<struct any_group>;
static_assert(kvm_vfio::handle<file_handle> && !kvm_vfio::hashable_file<file_handle>);

struct hashable_file {
  friend constexpr bool operator==(const hashable_file&, const hashable_file&) = default;
  friend constexpr std::uint64_t identity_hash(const hashable_file&) noexcept { return 0; }
};
static_assert(kvm_vfio::hashable_file<hashable_file>);

struct lockable : pinned {
  constexpr void lock() noexcept {}
  constexpr void unlock() noexcept {}
};
static_assert(kvm_vfio::lockable<lockable> && kvm_vfio::lockable<lockable&>);

struct symbol_lookup : pinned {
  constexpr bool symbol_get(symbol) noexcept { return true; }
  constexpr void symbol_put(symbol) noexcept {}
};
static_assert(kvm_vfio::symbol_lookup<symbol_lookup>);

struct symbol_provider : symbol_lookup {
  using file = file_handle;
  using vm = vm_handle;
  constexpr bool file_is_valid(const file&) noexcept { return true; }
  constexpr void file_set_kvm(const file&, const vm&) noexcept {}
  constexpr bool file_enforced_coherent(const file&) noexcept { return true; }
};
static_assert(kvm_vfio::symbol_provider<symbol_provider>);

struct epoch_symbol_provider : symbol_provider {
  constexpr std::uint64_t coherency_epoch() noexcept { return 0; }
};
static_assert(kvm_vfio::epoch_symbol_provider<epoch_symbol_provider>);
static_assert(!kvm_vfio::epoch_symbol_provider<symbol_provider>);

struct group_symbol_provider : symbol_provider {
  constexpr bool file_is_group(const file&) noexcept { return true; }
};
static_assert(kvm_vfio::group_symbol_provider<group_symbol_provider>);
static_assert(!kvm_vfio::group_symbol_provider<symbol_provider>);

struct spapr_symbol_provider : symbol_provider {
  using iommu_group = group_handle;
  constexpr iommu_group file_iommu_group(const file&) noexcept { return {}; }
};
static_assert(kvm_vfio::spapr_symbol_provider<spapr_symbol_provider>);
static_assert(!kvm_vfio::spapr_symbol_provider<symbol_provider>);

struct iommu_backend : pinned {
  constexpr void register_noncoherent_dma(const vm_handle&) noexcept {}
  constexpr void unregister_noncoherent_dma(const vm_handle&) noexcept {}
};
static_assert(kvm_vfio::iommu_backend<iommu_backend, vm_handle>);

struct assignment_backend : iommu_backend {
  constexpr void start_assignment(const vm_handle&) noexcept {}
  constexpr void end_assignment(const vm_handle&) noexcept {}
};
static_assert(kvm_vfio::assignment_backend<assignment_backend, vm_handle>);
static_assert(!kvm_vfio::assignment_backend<iommu_backend, vm_handle>);

struct spapr_backend : iommu_backend {
  using iommu_group = group_handle;
  constexpr errc spapr_tce_attach(const vm_handle&, int, const iommu_group&) noexcept {
    return errc::ok;
  }
  constexpr void spapr_tce_release(const vm_handle&, const iommu_group&) noexcept {}
  constexpr void iommu_group_put(const iommu_group&) noexcept {}
  constexpr void warn(spapr_warning) noexcept {}
};
static_assert(kvm_vfio::spapr_backend<spapr_backend, vm_handle>);
static_assert(!kvm_vfio::spapr_backend<iommu_backend, vm_handle>);

struct profile {
  static constexpr const char* name = "archetype";
  static constexpr symbol validity = symbol::file_is_valid;
  static constexpr bool counts_assignments = false;
  static constexpr bool updates_coherency_apart = false;
  static constexpr bool updates_coherency_on_noent = false;
  static constexpr bool del_unlinks_first = false;
  static constexpr bool add_keeps_looked_up = false;
  static constexpr bool group_without_container_is_coherent = false;
};
static_assert(kvm_vfio::profile<profile>);

/// A storage with room for one object in each pool.
struct storage {
  template <class T>
  class pool : inline_storage<1>::pool<T> {
   public:
    constexpr explicit pool(const storage&) noexcept : inline_storage<1>::pool<T>({}) {}
    using inline_storage<1>::pool<T>::make;
    using inline_storage<1>::pool<T>::destroy;
  };
};
static_assert(kvm_vfio::storage<storage> && !kvm_vfio::table_storage<storage>);

struct table_storage : storage {
  template <class T>
  class tables : pinned {
   public:
    static constexpr std::size_t limit = 1;
    constexpr explicit tables(const table_storage&) noexcept {}
    constexpr T* make(std::size_t) noexcept { return &element_; }
    constexpr void destroy(T*, std::size_t) noexcept {}

   private:
    T element_ = {};
  };
};
static_assert(kvm_vfio::table_storage<table_storage>);

struct file_references {
  file_references() = default;
  file_references(const file_references&) = default;
  file_references& operator=(const file_references&) = delete;
  constexpr result<file_handle> get_file(const file_handle& f) noexcept { return f; }
  constexpr void fput(const file_handle&) noexcept {}
};
static_assert(kvm_vfio::file_references<file_references, file_handle>);

struct file_table : pinned {
  constexpr result<file_handle> fget(int) noexcept { return errc::badf; }
};
static_assert(kvm_vfio::file_table<file_table, file_handle>);
static_assert(!kvm_vfio::borrowing_file_table<file_table, file_handle>);

struct borrowing_file_table : file_table {
  constexpr result<file_handle> fdget(int) noexcept { return errc::badf; }
};
static_assert(kvm_vfio::borrowing_file_table<borrowing_file_table, file_handle>);

struct user_memory : pinned {
  constexpr bool copy_from_user(std::uint64_t, std::int32_t&) noexcept { return false; }
  constexpr bool copy_from_user(std::uint64_t, kvm_vfio_spapr_tce&) noexcept { return false; }
};
static_assert(kvm_vfio::user_memory<user_memory>);

/// A task that can make calls on a device, but cannot hold descriptors of VMs.
struct caller : file_table, user_memory {};
static_assert(kvm_vfio::caller<caller, file_handle>);

/// A task that can also hold descriptors of VMs and of their devices.
struct vm_caller : caller {
  using address_space_id = handle<struct address_space_tag>;
  constexpr address_space_id address_space() noexcept { return {}; }
  template <class Caller>
  constexpr result<int> install(open_file<Caller>&) noexcept {
    return errc::mfile;
  }
  using user_memory::copy_from_user;
  constexpr bool copy_from_user(std::uint64_t, kvm_create_device&) noexcept { return false; }
  constexpr bool copy_from_user(std::uint64_t, kvm_device_attr&) noexcept { return false; }
  constexpr bool copy_to_user(std::uint64_t, kvm_create_device&) noexcept { return false; }
};
static_assert(kvm_vfio::vm_caller<vm_caller> && kvm_vfio::caller<vm_caller, file_handle>);

struct endpoint : pinned {
  errc set_attr(const kvm_device_attr&) noexcept { return errc::nxio; }
  errc has_attr(const kvm_device_attr&) noexcept { return errc::nxio; }
  errc ioctl(unsigned long, void*) noexcept { return errc::notty; }
};
static_assert(kvm_vfio::endpoint<endpoint>);

struct system {
  result<int> open(const char*, int) const noexcept { return errc::noent; }
  errc close(int) const noexcept { return errc::badf; }
  result<int> dup(int) const noexcept { return errc::badf; }
  result<int> ioctl(int, unsigned long, std::uintptr_t) const noexcept { return errc::badf; }
  result<std::size_t> read(int, void*, std::size_t) const noexcept { return errc::badf; }
  result<std::size_t> write(int, const void*, std::size_t) const noexcept { return errc::badf; }
  result<std::size_t> pread(int, void*, std::size_t, std::uint64_t) const noexcept {
    return errc::badf;
  }
  result<std::size_t> pwrite(int, const void*, std::size_t, std::uint64_t) const noexcept {
    return errc::badf;
  }
  result<void*> mmap(std::size_t, int, int, std::uint64_t) const noexcept { return errc::badf; }
  errc munmap(void*, std::size_t) const noexcept { return errc::inval; }
  result<int> eventfd() const noexcept { return errc::mfile; }
};
static_assert(kvm_vfio::system<system>);

/// A program with one thread that does nothing.
struct scenario : pinned {
  static constexpr int threads = 1;
  void run(int) noexcept {}
  const char* check() noexcept { return nullptr; }
  const char* finish() noexcept { return nullptr; }
};
static_assert(kvm_vfio::testing::scenario<scenario>);

}  // namespace kvm_vfio::testing::archetypes
