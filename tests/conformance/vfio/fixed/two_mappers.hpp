// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A process and its child map memory for DMA in one container.

#include "mappers.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/vfio.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device, and with a mediated one.
template <class Pair>
class two_mappers : mappers<Pair> {
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
  two_mappers(recorder<System>& on, Pair& pair, const machine& m, std::uint64_t memory)
      : base(on, pair, m, memory) {}

  void run(const target& t) {
    container(t);
    memory_of_one(t);
    dirty_pages(t);
    new_addresses(t);
    container_of_the_dead(t);
    locked_in_container(t);
    capable_in_container(t);
    bars(t);
    for (const target& other : m_.targets)
      if (!other.comparable) {
        translated_later(other, t);
        translated_by_another(other, t);
        break;
      }
  }

 private:
  static constexpr std::uint32_t lose = kvm_vfio::uapi::dma_unmap_vaddr;
  static constexpr std::uint32_t give = kvm_vfio::uapi::dma_map_vaddr;

  // How many further mappings there can be, and the ranges.
  void tell(one& who, int container) {
    struct {
      std::uint32_t argsz, flags;
      unsigned char rest[152];
    } info{.argsz = 160, .flags = 0, .rest = {}};
    who.ioctl_at("IOMMU_GET_INFO", container, VFIO_IOMMU_GET_INFO, info);
    std::uint64_t sum = 0;
    for (const unsigned char byte : info.rest) sum = sum * 31 + byte;
    who.say("information", kvm_vfio::errc::ok, sum);
  }

  // A container has the mappings of all processes.
  void container(const target& t) {
    f_.begin("one container");
    const opened_device o = p_.open_device(t);
    const int fd = o.container;
    map(p_, fd, 0, 2);
    f_.fork();
    map(c_, fd, 0, 2);
    map(c_, fd, 1, 2);
    map(c_, fd, 4, 4);
    map(p_, fd, 4, 4);
    tell(p_, fd);
    tell(c_, fd);
    unmap(c_, fd, 0, 2);
    unmap(p_, fd, 5, 1);
    unmap(p_, fd, 4, 4);
    map(c_, fd, 0, 1);
    map(p_, fd, 1, 1);
    map(c_, fd, 2, 1);
    unmap(p_, fd, 0, 3);
    map(c_, fd, 0, 1);
    map(p_, fd, 1, 1);
    map(c_, fd, 2, 1);
    c_.unmap_dma("all", fd, 0, 0, kvm_vfio::uapi::dma_unmap_all);
    map(c_, fd, 0, 1);
    p_.close("container", fd);
    map(c_, fd, 1, 1);
    // The device is open in both processes, and the container stays with its group.
    c_.close("container", fd);
    p_.unset_container(o.group);
    c_.close("device", o.device);
    p_.close("device", o.device);
    c_.unset_container(o.group);
    f_.end();
    // Version 1 unmaps parts of mappings.
    const int group = p_.open("group", t.group);
    const int old = p_.open("container", "/dev/vfio/vfio");
    p_.set_container(group, old);
    p_.ioctl("SET_IOMMU", old, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU);
    f_.fork();
    map(c_, old, 0, 4);
    map(p_, old, 4, 4);
    unmap(p_, old, 1, 1);
    unmap(p_, old, 0, 6);
    unmap(c_, old, 0, 8);
    f_.end();
  }

  // The memory is that of the process that makes the call.
  void memory_of_one(const target& t) {
    f_.begin("memory of one process");
    const opened_device o = p_.open_device(t);
    const int fd = o.container;
    f_.fork();
    c_.sys().forget(pointer(4), page_);
    const auto map_last = [&](one& who, std::uint64_t at, std::uint32_t flags = 3) {
      who.map_dma("a page at " + text(at), fd, iova(at), address(4), page_, flags);
    };
    map_last(c_, 0);
    map_last(p_, 0);
    map_last(c_, 1);
    unmap(c_, fd, 0, 1, lose);
    map_last(c_, 0, give);
    unmap(c_, fd, 0, 1);
    map_last(c_, 0);
    f_.end();
  }

  void dirty(one& who, int container, std::uint32_t flags) {
    std::uint32_t d[] = {8, flags};
    who.ioctl_at("DIRTY_PAGES " + text(flags), container, VFIO_IOMMU_DIRTY_PAGES, d);
  }
  void get_dirty(one& who, int container, std::uint64_t at, std::uint64_t pages) {
    std::memset(who.more(), 0, 8);
    std::uint64_t d[] = {48 | std::uint64_t{VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP} << 32,
                         iova(at),
                         pages * page_,
                         page_,
                         8,
                         reinterpret_cast<std::uintptr_t>(who.more())};
    who.ioctl_at("DIRTY_PAGES get", container, VFIO_IOMMU_DIRTY_PAGES, d);
    tell_bits(who);
  }
  void unmap_dirty(one& who, int container, std::uint64_t at, std::uint64_t pages) {
    std::memset(who.more(), 0, 8);
    std::uint64_t d[] = {48 | std::uint64_t{VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP} << 32,
                         iova(at),
                         pages * page_,
                         page_,
                         8,
                         reinterpret_cast<std::uintptr_t>(who.more())};
    who.ioctl_at("UNMAP_DMA with a bitmap", container, VFIO_IOMMU_UNMAP_DMA, d);
    who.say("unmapped", kvm_vfio::errc::ok, d[2]);
    tell_bits(who);
  }
  void tell_bits(one& who) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, who.more(), sizeof bits);
    who.say("bits", kvm_vfio::errc::ok, bits);
  }
  void dirty_pages(const target& t) {
    f_.begin("dirty pages");
    const opened_device o = p_.open_device(t);
    const int fd = o.container;
    map(p_, fd, 0, 2);
    f_.fork();
    map(c_, fd, 4, 2);
    dirty(c_, fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
    dirty(p_, fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
    get_dirty(p_, fd, 0, 8);
    get_dirty(c_, fd, 0, 8);
    unmap_dirty(p_, fd, 4, 2);
    unmap_dirty(c_, fd, 0, 2);
    map(c_, fd, 4, 2);
    dirty(p_, fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
    get_dirty(c_, fd, 4, 2);
    f_.end();
  }

  // Another process gives a mapping its address. Then the memory is that of this process.
  void new_addresses(const target& t) {
    f_.begin("new addresses");
    const opened_device o = p_.open_device(t);
    const int fd = o.container;
    map(p_, fd, 0, 2);
    f_.fork();
    map(c_, fd, 2, 2);
    map(c_, fd, 0, 2, give);
    unmap(c_, fd, 0, 2, lose);
    unmap(p_, fd, 0, 2, lose);
    map(c_, fd, 4, 1);
    map(c_, fd, 0, 2, give);
    unmap(c_, fd, 0, 2, lose);
    map(p_, fd, 0, 2, give);
    unmap(p_, fd, 0, 2);
    unmap(p_, fd, 2, 2, lose);
    unmap(p_, fd, 2, 2);
    map(p_, fd, 0, 2);
    f_.end();
  }

  // The mappings of a process that has ended stay.
  void container_of_the_dead(const target& t) {
    f_.begin("mappings of a child that has ended");
    limit_both(8);
    const opened_device o = p_.open_device(t);
    const int fd = o.container;
    map(p_, fd, 20, 4);
    f_.fork();
    for (const std::uint64_t at : {0U, 4U}) map(c_, fd, at, 4);
    f_.end_child();
    tell(p_, fd);
    map(p_, fd, 0, 1);
    map(p_, fd, 30, 5);
    map(p_, fd, 30, 4);
    unmap(p_, fd, 0, 4, lose);
    map(p_, fd, 0, 4, give);
    unmap(p_, fd, 30, 4);
    map(p_, fd, 0, 4, give);
    map(p_, fd, 30, 1);
    unmap(p_, fd, 4, 4);
    map(p_, fd, 30, 1);
    unmap(p_, fd, 0, 4);
    map(p_, fd, 30, 4);
    // A child without mappings has nothing locked.
    f_.fork();
    map(c_, fd, 0, 8);
    map(c_, fd, 40, 1);
    f_.end_child();
    f_.fork();
    map(c_, fd, 40, 8);
    unmap(c_, fd, 0, 8);
    map(c_, fd, 0, 1);
    no_limit();
  }

  // Each process is charged for its own mappings.
  void locked_in_container(const target& t) {
    f_.begin("locked memory of a container");
    limit_both(8);
    const opened_device o = p_.open_device(t);
    const int fd = o.container;
    map(p_, fd, 0, 5);
    f_.fork();
    map(c_, fd, 10, 9);
    map(c_, fd, 10, 8);
    map(c_, fd, 20, 1);
    map(p_, fd, 20, 4);
    map(p_, fd, 20, 3);
    // Unmapped memory is given back to the process that mapped it.
    unmap(p_, fd, 10, 8);
    map(p_, fd, 30, 1);
    map(c_, fd, 10, 4);
    unmap(c_, fd, 0, 5, lose);
    map(c_, fd, 0, 5, give);
    unmap(p_, fd, 20, 3, lose);
    map(c_, fd, 20, 3, give);
    map(p_, fd, 30, 4);
    map(p_, fd, 30, 3);
    map(c_, fd, 40, 2);
    map(c_, fd, 40, 1);
    map(p_, fd, 0, 5, give);
    unmap(c_, fd, 30, 3);
    map(p_, fd, 50, 4);
    map(p_, fd, 50, 3);
    // Each process has its own limit. The child's limit was that of its parent at the fork.
    limit(c_, 9);
    map(c_, fd, 60, 2);
    map(c_, fd, 60, 1);
    map(p_, fd, 61, 1);
    limit(p_, 9);
    map(p_, fd, 61, 1);
    map(c_, fd, 62, 1);
    no_limit();
  }
  void capable_in_container(const target& t) {
    f_.begin("CAP_IPC_LOCK of one process");
    limit_both(4);
    p_.sys().capable(true);
    const opened_device o = p_.open_device(t);
    const int fd = o.container;
    map(p_, fd, 0, 5);
    f_.fork();
    map(c_, fd, 10, 5);
    c_.sys().capable(false);
    map(c_, fd, 20, 1);
    unmap(p_, fd, 10, 5);
    map(c_, fd, 10, 4);
    unmap(c_, fd, 0, 5, lose);
    map(c_, fd, 0, 5, give);
    unmap(c_, fd, 10, 4);
    map(c_, fd, 0, 5, give);
    limit(c_, 5);
    map(c_, fd, 0, 5, give);
    unmap(p_, fd, 0, 5, lose);
    map(p_, fd, 0, 5, give);
    map(c_, fd, 10, 5);
    unmap(p_, fd, 10, 5, lose);
    map(p_, fd, 10, 5, give);
    p_.sys().capable(false);
    map(p_, fd, 20, 1);
    no_limit();
  }

  // A mapped BAR is not charged to anybody.
  void bars(const target& t) {
    f_.begin("a mapped BAR");
    const opened_device o = p_.open_device(t);
    void* const at = o.device < 0 ? nullptr : p_.map_bar(t, o.device, page_);
    if (!at) return f_.end();
    limit_both(1);
    f_.fork();
    const int fd = o.container;
    const auto map_bar = [&](one& who, std::uint32_t flags) {
      who.map_dma("of the BAR", fd, iova(0), reinterpret_cast<std::uintptr_t>(at), page_, flags);
    };
    map_bar(p_, 3);
    map(p_, fd, 1, 1);
    unmap(c_, fd, 0, 1, lose);
    map_bar(c_, give);
    map(c_, fd, 2, 1);
    map(c_, fd, 3, 1);
    unmap(p_, fd, 0, 1, lose);
    map_bar(p_, give);
    unmap(c_, fd, 0, 1);
    f_.end_child();
    p_.unmap_bar(at, page_);
    no_limit();
  }

  // The mappings of a mediated device have no domain until another group joins.
  void translated_later(const target& mediated, const target& t) {
    for (const int which : {0, 1, 2}) {
      f_.begin("a first domain, made by the " + std::string(which == 1 ? "child" : "parent"));
      limit_both(8);
      const int group = p_.open("group of a mediated device", mediated.group);
      const int fd = p_.open("container", "/dev/vfio/vfio");
      p_.set_container(group, fd);
      p_.set_iommu(fd);
      const int other = p_.open("group", t.group);
      map(p_, fd, 0, 5);
      f_.fork();
      map(c_, fd, 10, 4);
      if (which == 2) f_.end_child();
      one& who = which == 1 ? c_ : p_;
      who.set_container(other, fd);
      map(p_, fd, 20, 4);
      map(p_, fd, 20, 3);
      if (which != 2) {
        map(c_, fd, 30, 5);
        map(c_, fd, 30, 4);
      }
      who.unset_container(other);
      map(p_, fd, 40, 1);
      who.set_container(other, fd);
      no_limit();
    }
  }
  // The memory and the limit of the process that brings the domain count, too.
  void translated_by_another(const target& mediated, const target& t) {
    f_.begin("a first domain, with memory of another process");
    limit_both(8);
    const int group = p_.open("group of a mediated device", mediated.group);
    const int fd = p_.open("container", "/dev/vfio/vfio");
    p_.set_container(group, fd);
    p_.set_iommu(fd);
    const int other = p_.open("group", t.group);
    f_.fork();
    c_.sys().forget(pointer(12), page_);
    const auto map_last = [&](one& who) {
      who.map_dma("two pages", fd, iova(0), address(11), 2 * page_, 3);
    };
    map_last(p_);
    c_.set_container(other, fd);
    p_.set_container(other, fd);
    p_.unset_container(other);
    unmap(p_, fd, 0, 2);
    map_last(c_);
    c_.set_container(other, fd);
    p_.set_container(other, fd);
    c_.unset_container(other);
    unmap(p_, fd, 0, 2);
    f_.begin("the limit of another process");
    map(p_, fd, 0, 5);
    limit(c_, 4);
    c_.set_container(other, fd);
    p_.set_container(other, fd);
    p_.unset_container(other);
    limit(c_, 8);
    limit(p_, 4);
    c_.set_container(other, fd);
    p_.set_container(other, fd);
    limit(p_, 5);
    c_.set_container(other, fd);
    c_.unset_container(other);
    limit(p_, 8);
    c_.sys().capable(true);
    limit(c_, 4);
    c_.set_container(other, fd);
    c_.unset_container(other);
    p_.sys().capable(true);
    map(p_, fd, 10, 5);
    p_.sys().capable(false);
    c_.sys().capable(false);
    c_.set_container(other, fd);
    unmap(p_, fd, 0, 5);
    c_.set_container(other, fd);
    c_.unset_container(other);
    unmap(p_, fd, 10, 5);
    limit(c_, 8);
    // Memory that the other process has locked elsewhere.
    for (const target& third : m_.targets)
      if (third.comparable && third.group != t.group) {
        const opened_device elsewhere = c_.open_device(third);
        map(c_, elsewhere.container, 0, 5);
        map(p_, fd, 0, 4);
        c_.set_container(other, fd);
        unmap(p_, fd, 0, 4);
        map(p_, fd, 0, 3);
        c_.set_container(other, fd);
        map(p_, fd, 10, 5);
        c_.unset_container(other);
        c_.set_container(other, fd);
        p_.set_container(other, fd);
        break;
      }
    no_limit();
  }
};

}  // namespace vfio_lockstep::fixed
