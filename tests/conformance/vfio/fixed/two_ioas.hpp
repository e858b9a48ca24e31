// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A process and its child map memory for DMA in one iommufd.

#include "mappers.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device that has a file.
template <class Pair>
class two_ioas : mappers<Pair> {
  using base = mappers<Pair>;
  using base::address;
  using base::c_;
  using base::f_;
  using base::iova;
  using base::limit;
  using base::limit_both;
  using base::m_;
  using base::map;
  using base::no_limit;
  using base::p_;
  using base::page_;
  using base::pointer;
  using base::text;
  using base::unmap;
  using typename base::one;
  using typename base::System;

 public:
  /// \param memory sixteen pages that no process shares with another one
  two_ioas(recorder<System>& on, Pair& pair, const machine& m, std::uint64_t memory)
      : base(on, pair, m, memory) {}

  void run(const target& t) {
    iommufd_as_container(t);
    if (t.cdev.empty()) return;
    iommufd(t);
    memory_of_the_dead(t);
    for (const bool process : {false, true}) locked_in_iommufd(t, process);
    another_user(t);
    change_of_the_user(t);
    for (const bool process : {false, true}) files(t, process);
  }

 private:
  void iommufd_as_container(const target& t) {
    f_.begin("an iommufd as the container");
    limit_both(8);
    const int group = p_.open("group", t.group);
    const int fd = p_.open("iommufd", "/dev/iommu");
    p_.set_container(group, fd);
    p_.set_iommu(fd);
    const int device = p_.get_device(group, t.device);
    f_.fork();
    map(p_, fd, 0, 4);
    map(c_, fd, 0, 4);
    map(c_, fd, 4, 4);
    map(c_, fd, 10, 1);
    unmap(p_, fd, 4, 4);
    map(c_, fd, 10, 1);
    unmap(c_, fd, 0, 4);
    p_.close("device", device);
    c_.close("device", device);
    c_.unset_container(group);
    const int again = c_.get_device(group, t.device);
    f_.end_child();
    (void)again;
    map(p_, fd, 0, 1);
    p_.close("group", group);
    p_.open("free group", t.group);
    no_limit();
  }

  void map_at(one& who, int fd, std::uint32_t space, std::uint64_t at, std::uint64_t pages,
              std::uint64_t from = 0) {
    who.map(text(pages) + " at " + text(at), fd, space, iova(at), address(from), pages * page_);
  }
  void unmap_at(one& who, int fd, std::uint32_t space, std::uint64_t at, std::uint64_t pages) {
    who.unmap(text(pages) + " at " + text(at), fd, space, iova(at), pages * page_);
  }
  void copy_at(one& who, int fd, std::uint32_t from, std::uint64_t at, std::uint64_t pages,
               std::uint32_t to, std::uint64_t new_at) {
    who.copy(text(pages) + " at " + text(at), fd, from, iova(at), pages * page_, to, iova(new_at));
  }
  void iommufd(const target& t) {
    f_.begin("one iommufd");
    const int fd = p_.open("iommufd", "/dev/iommu");
    const int device = p_.open("device file", t.cdev);
    p_.bind("by the parent", device, fd);
    const std::uint32_t space = p_.alloc_ioas(fd);
    const std::uint32_t apart = p_.alloc_ioas(fd);
    f_.fork();
    c_.sys().forget(pointer(12), page_);
    c_.attach("by the child", device, space);
    map_at(c_, fd, space, 0, 2);
    map_at(p_, fd, space, 0, 2);
    map_at(p_, fd, space, 4, 2);
    unmap_at(p_, fd, space, 0, 1);
    unmap_at(p_, fd, space, 0, 2);
    unmap_at(c_, fd, space, 4, 2);
    // The memory is that of the process that makes the call. A copy has the memory of its source.
    map_at(c_, fd, space, 0, 1, 12);
    map_at(p_, fd, space, 0, 1, 12);
    copy_at(c_, fd, space, 0, 1, space, 8);
    map_at(c_, fd, apart, 0, 2, 11);
    copy_at(p_, fd, apart, 1, 1, space, 17);
    copy_at(c_, fd, apart, 1, 1, space, 17);
    map_at(p_, fd, apart, 8, 2, 11);
    copy_at(c_, fd, apart, 8, 2, space, 24);
    p_.change_process("with memory of the process", fd);
    c_.detach("by the child", device);
    p_.attach("by the parent", device, apart);
    unmap_at(c_, fd, apart, 0, 2);
    p_.attach("by the parent", device, apart);
    c_.close("device file", device);
    c_.close("iommufd", fd);
    unmap_at(p_, fd, apart, 8, 2);
    f_.end();
  }

  // Only memory that is pinned outlives its process.
  void memory_of_the_dead(const target& t) {
    f_.begin("memory of a child that has ended");
    const int fd = p_.open("iommufd", "/dev/iommu");
    const int device = p_.open("device file", t.cdev);
    const std::uint32_t id = p_.bind("by the parent", device, fd);
    const std::uint32_t space = p_.alloc_ioas(fd);
    const std::uint32_t apart = p_.alloc_ioas(fd);
    p_.attach("by the parent", device, space);
    f_.fork();
    map_at(c_, fd, space, 0, 4);
    map_at(c_, fd, apart, 0, 4);
    f_.end_child();
    copy_at(p_, fd, space, 0, 2, space, 8);
    copy_at(p_, fd, space, 1, 2, apart, 8);
    copy_at(p_, fd, apart, 0, 2, apart, 16);
    copy_at(p_, fd, apart, 0, 2, space, 16);
    copy_at(p_, fd, apart, 8, 2, space, 16);
    kvm_vfio::uapi::iommu_hwpt_alloc table{};
    table.size = sizeof table;
    table.dev_id = id;
    table.pt_id = space;
    p_.ioctl_at("HWPT_ALLOC", fd, kvm_vfio::uapi::request_hwpt_alloc, table);
    table.pt_id = apart;
    p_.ioctl_at("HWPT_ALLOC", fd, kvm_vfio::uapi::request_hwpt_alloc, table);
    p_.attach("to the other address space", device, apart);
    unmap_at(p_, fd, apart, 0, 4);
    unmap_at(p_, fd, apart, 16, 2);
    // The pages are pinned by the first address space.
    p_.attach("to the other address space", device, apart);
    p_.detach("from it", device);
    p_.attach("to the first address space", device, space);
    p_.detach("from it", device);
    f_.end();

    f_.begin("memory that was unpinned");
    const int next = p_.open("iommufd", "/dev/iommu");
    const int again = p_.open("device file", t.cdev);
    p_.bind("by the parent", again, next);
    const std::uint32_t in = p_.alloc_ioas(next);
    p_.attach("by the parent", again, in);
    f_.fork();
    map_at(c_, next, in, 0, 4);
    f_.end_child();
    p_.detach("from it", again);
    p_.attach("again", again, in);
    unmap_at(p_, next, in, 0, 4);
    p_.attach("again", again, in);
    f_.end();
  }

  // The user is charged for the mappings of all processes, or each process is.
  void locked_in_iommufd(const target& t, bool process) {
    f_.begin(process ? "locked memory of the process" : "locked memory of the user");
    limit_both(8);
    const int fd = p_.open("iommufd", "/dev/iommu");
    if (process) p_.charge_process(fd);
    const int device = p_.open("device file", t.cdev);
    p_.bind("by the parent", device, fd);
    const std::uint32_t space = p_.alloc_ioas(fd);
    p_.attach("by the parent", device, space);
    map_at(p_, fd, space, 0, 5);
    f_.fork();
    map_at(c_, fd, space, 10, 4);
    map_at(c_, fd, space, 10, 3);
    map_at(c_, fd, space, 20, 6);
    map_at(c_, fd, space, 20, 5);
    map_at(p_, fd, space, 30, 3);
    unmap_at(c_, fd, space, 0, 5);
    map_at(p_, fd, space, 0, 5);
    // The limit is that of the process that makes the call.
    limit(c_, 10);
    map_at(c_, fd, space, 40, 2);
    map_at(p_, fd, space, 50, 1);
    c_.detach("by the child", device);
    limit(c_, 4);
    p_.attach("by the parent", device, space);
    limit(c_, 16);
    limit(p_, 4);
    c_.attach("by the child", device, space);
    limit(p_, 16);
    c_.attach("by the child", device, space);
    copy_at(p_, fd, space, 10, 3, space, 60);
    f_.end_child();
    limit(p_, 8);
    map_at(p_, fd, space, 70, 8);
    unmap_at(p_, fd, space, 10, 3);
    unmap_at(p_, fd, space, 60, 3);
    map_at(p_, fd, space, 70, 3);
    no_limit();
  }

  void another_user(const target& t) {
    f_.begin("another user");
    limit_both(8);
    const int fd = p_.open("iommufd", "/dev/iommu");
    const int device = p_.open("device file", t.cdev);
    p_.bind("by the parent", device, fd);
    const std::uint32_t space = p_.alloc_ioas(fd);
    p_.attach("by the parent", device, space);
    f_.fork();
    map_at(c_, fd, space, 0, 3);
    map_at(p_, fd, space, 10, 6);
    c_.sys().user(1000);
    map_at(c_, fd, space, 20, 9);
    map_at(c_, fd, space, 20, 8);
    map_at(p_, fd, space, 10, 5);
    map_at(p_, fd, space, 30, 1);
    unmap_at(c_, fd, space, 0, 3);
    map_at(p_, fd, space, 30, 3);
    map_at(c_, fd, space, 40, 1);
    f_.end_child();
    f_.fork();
    c_.sys().user(1000);
    map_at(c_, fd, space, 40, 1);
    unmap_at(p_, fd, space, 20, 8);
    map_at(c_, fd, space, 40, 8);
    no_limit();
  }

  // CHANGE_PROCESS charges the new user of a process, but not for memory that nobody is charged
  // for.
  void change_of_the_user(const target& t) {
    f_.begin("a process gets another user");
    limit_both(8);
    const int fd = p_.open("iommufd", "/dev/iommu");
    const int device = p_.open("device file", t.cdev);
    p_.bind("by the parent", device, fd);
    const std::uint32_t space = p_.alloc_ioas(fd);
    p_.attach("by the parent", device, space);
    const int file = p_.memory_file(16 * page_);
    f_.fork();
    const auto map_part = [&](one& who, std::uint64_t at, std::uint64_t pages) {
      who.map_file(text(pages) + " at " + text(at), fd, space, iova(at), file, 0, pages * page_);
    };
    c_.sys().capable(true);
    map_part(c_, 0, 9);
    c_.sys().capable(false);
    map_part(c_, 10, 5);
    c_.sys().user(1000);
    map_part(p_, 20, 4);
    c_.change_process("by the child", fd);
    map_part(p_, 20, 4);
    map_part(c_, 30, 4);
    map_part(c_, 30, 3);
    c_.change_process("by the child", fd);
    unmap_at(p_, fd, space, 20, 4);
    c_.change_process("by the child", fd);
    p_.change_process("by the parent", fd);
    f_.end_child();
    p_.change_process("by the parent", fd);
    map_at(p_, fd, space, 40, 1);
    no_limit();
  }

  // Memory of files. CHANGE_PROCESS charges the process that makes the call.
  void files(const target& t, bool process) {
    f_.begin(process ? "files, charged to the process" : "files, charged to the user");
    limit_both(8);
    const int fd = p_.open("iommufd", "/dev/iommu");
    if (process) p_.charge_process(fd);
    const int device = p_.open("device file", t.cdev);
    p_.bind("by the parent", device, fd);
    const std::uint32_t space = p_.alloc_ioas(fd);
    p_.attach("by the parent", device, space);
    const int file = p_.memory_file(16 * page_);
    f_.fork();
    if (!process) c_.sys().user(1000);
    const auto map_part = [&](one& who, std::uint64_t at, std::uint64_t pages) {
      who.map_file(text(pages) + " at " + text(at), fd, space, iova(at), file, 0, pages * page_);
    };
    map_part(p_, 0, 5);
    map_part(c_, 10, 5);
    map_part(c_, 20, 4);
    c_.change_process("by the child", fd);
    unmap_at(p_, fd, space, 0, 5);
    map_part(p_, 0, 3);
    c_.change_process("by the child", fd);
    map_part(c_, 20, 1);
    map_part(p_, 20, 8);
    p_.change_process("by the parent", fd);
    unmap_at(c_, fd, space, 20, 8);
    p_.change_process("by the parent", fd);
    p_.change_process("by the parent", fd);
    map_part(c_, 20, 8);
    map_part(p_, 30, 1);
    unmap_at(c_, fd, space, 20, 8);
    c_.change_process("by the child", fd);
    p_.close("file", file);
    f_.end_child();
    p_.detach("from it", device);
    p_.attach("again", device, space);
    copy_at(p_, fd, space, 0, 2, space, 50);
    if (process) return change_process_of_the_dead(fd, device, space);
    limit(p_, 7);
    p_.change_process("by the parent", fd);
    limit(p_, 8);
    p_.change_process("by the parent", fd);
    map_at(p_, fd, space, 60, 1);
    p_.change_process("by the parent", fd);
    unmap_at(p_, fd, space, 60, 1);
    unmap_at(p_, fd, space, 0, 3);
    map_at(p_, fd, space, 60, 1);
    unmap_at(p_, fd, space, 50, 2);
    map_at(p_, fd, space, 60, 4);
    map_at(p_, fd, space, 60, 3);
    no_limit();
  }
  // Linux cannot discharge a process that has ended, and answers EINVAL. Then the process of the
  // call stays charged until it ends, so it makes no further mapping here.
  void change_process_of_the_dead(int fd, int device, std::uint32_t space) {
    f_.fork();
    c_.change_process("with locked memory", fd);
    c_.change_process("with locked memory", fd);
    f_.end_child();
    p_.detach("from it", device);
    unmap_at(p_, fd, space, 50, 2);
    unmap_at(p_, fd, space, 0, 3);
    unmap_at(p_, fd, space, 10, 5);
    const int file = p_.memory_file(16 * page_);
    f_.fork();
    c_.map_file("4 pages", fd, space, iova(0), file, 0, 4 * page_);
    f_.end_child();
    f_.fork();
    c_.change_process("with memory that is not locked", fd);
    c_.change_process("with memory that is not locked", fd);
    no_limit();
  }
};

}  // namespace vfio_lockstep::fixed
