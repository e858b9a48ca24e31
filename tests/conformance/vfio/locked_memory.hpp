// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Calls that meet the limit on locked memory (RLIMIT_MEMLOCK), on a booted kernel and on the
/// simulator.

#include "memory_limit.hpp"
#include "support/system.hpp"
#include "support/vmm.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

/// Two devices in two groups. An empty path of a device file: the kernel has none.
struct locked_memory_target {
  std::string group{}, device{}, device_file{};
  std::string other_group{}, other_device_file{};
  bool iommufd = false;
  bool spapr = false;
};

/// Makes the calls on a system. Each function returns when it has closed its descriptors.
template <support::system System, class Limit>
class locked_memory {
 public:
  locked_memory(System sys, Limit& limit, const locked_memory_pages& memory)
      : vmm_(std::move(sys)), limit_(limit), memory_(memory) {}

  /// Returns what the calls answered, one line for each.
  std::vector<std::string> run(const locked_memory_target& t) {
    limit_.capable(false);
    if (t.spapr) {
      with_windows(t);
      return std::move(lines_);
    }
    with_containers(t);
    if (!t.iommufd) return std::move(lines_);
    with_compatible_iommufd(t);
    if (t.device_file.empty() || t.other_device_file.empty()) return std::move(lines_);
    with_iommufd(t);
    with_copies(t);
    with_process_mode(t);
    return std::move(lines_);
  }

 private:
  using errc = kvm_vfio::errc;
  static constexpr std::uint64_t first_iova = 0x100000;

  void say(const std::string& what, errc e) {
    lines_.push_back(what + ": " + std::to_string(kvm_vfio::kernel_return(e)));
  }
  int open(const std::string& path) {
    const auto fd = vmm_.open(path.c_str());
    if (!fd) say("open " + path, fd.error());
    return fd ? fd.value() : -1;
  }
  void limit_pages(std::uint64_t n) { limit_.limit(n * memory_.page()); }

  errc map_dma(int container, std::uint64_t at, std::uint64_t from, std::uint64_t pages) {
    vfio_iommu_type1_dma_map m{.argsz = sizeof m,
                               .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                               .vaddr = memory_.address(from),
                               .iova = first_iova + at * memory_.page(),
                               .size = pages * memory_.page()};
    return vmm_.ioctl_at(container, VFIO_IOMMU_MAP_DMA, m);
  }
  errc unmap_dma(int container, std::uint64_t at, std::uint64_t pages) {
    alignas(8) unsigned char bytes[offsetof(vfio_iommu_type1_dma_unmap, data)] = {};
    const std::uint32_t head[] = {sizeof bytes, 0};
    const std::uint64_t range[] = {first_iova + at * memory_.page(), pages * memory_.page()};
    std::memcpy(bytes, head, sizeof head);
    std::memcpy(bytes + sizeof head, range, sizeof range);
    return vmm_.ioctl_at(container, VFIO_IOMMU_UNMAP_DMA, bytes);
  }

  void with_containers(const locked_memory_target& t) {
    const int container = open("/dev/vfio/vfio");
    const int group = open(t.group);
    const int second = open("/dev/vfio/vfio");
    const int other = open(t.other_group);
    say("SET_CONTAINER", vmm_.set_container(group, container));
    say("SET_IOMMU", vmm_.set_iommu(container));
    limit_pages(8);
    say("map 9 of 8", map_dma(container, 0, 0, 9));
    say("map 5", map_dma(container, 0, 0, 5));
    say("map 4 of them again", map_dma(container, 5, 0, 4));
    say("map 3 of them again", map_dma(container, 5, 0, 3));
    say("map a ninth", map_dma(container, 8, 0, 1));
    say("map where a mapping is", map_dma(container, 0, 0, 9));
    say("second container", vmm_.set_container(other, second));
    say("its driver", vmm_.set_iommu(second));
    say("map a ninth there", map_dma(second, 0, 0, 1));
    say("unmap 5", unmap_dma(container, 0, 5));
    say("map 5 there", map_dma(second, 0, 0, 5));
    say("map a ninth", map_dma(container, 8, 0, 1));
    say("leave", vmm_.unset_container(other));
    say("map 5", map_dma(container, 8, 0, 5));
    say("map a ninth", map_dma(container, 13, 0, 1));
    limit_.capable(true);
    say("map 2 with CAP_IPC_LOCK", map_dma(container, 13, 0, 2));
    limit_.capable(false);
    say("unmap 2", unmap_dma(container, 13, 2));
    say("unmap 3", unmap_dma(container, 5, 3));
    say("map 4 of 3", map_dma(container, 0, 0, 4));
    limit_.limit(9 * memory_.page() - 1);
    say("map 4 of 3 and a part", map_dma(container, 0, 0, 4));
    say("map 3 of 3 and a part", map_dma(container, 0, 0, 3));
    // Pages 12 to 15 are not accessible.
    limit_pages(10);
    say("the third page is missing, 2 of 2", map_dma(container, 20, 10, 4));
    limit_pages(9);
    say("the third page is missing, 1 of 1", map_dma(container, 20, 10, 4));
    limit_pages(8);
    say("the first page is missing, 0 of 0", map_dma(container, 20, 12, 2));
    close({group, other, container, second});
  }
  void with_compatible_iommufd(const locked_memory_target& t) {
    const int iommufd = open("/dev/iommu");
    const int group = open(t.group);
    say("iommufd as container", vmm_.set_container(group, iommufd));
    say("SET_IOMMU", vmm_.set_iommu(iommufd));
    limit_pages(8);
    say("map 9 of 8, not attached", map_dma(iommufd, 0, 0, 9));
    say("GET_DEVICE_FD", device_of(group, t));
    say("unmap 9", unmap_dma(iommufd, 0, 9));
    say("map 8", map_dma(iommufd, 0, 0, 8));
    const auto device = vmm_.device_fd(group, t.device.c_str());
    say("GET_DEVICE_FD", device ? errc::ok : device.error());
    say("map a ninth", map_dma(iommufd, 8, 0, 1));
    if (device) (void)vmm_.close(*device);
    close({group, iommufd});
  }
  errc device_of(int group, const locked_memory_target& t) {
    const auto device = vmm_.device_fd(group, t.device.c_str());
    if (device) (void)vmm_.close(*device);
    return device ? errc::ok : device.error();
  }

  std::uint32_t alloc(int iommufd) {
    kvm_vfio::uapi::iommu_ioas_alloc c{};
    c.size = sizeof c;
    say("IOAS_ALLOC", vmm_.ioctl_at(iommufd, kvm_vfio::uapi::request_ioas_alloc, c));
    return c.out_ioas_id;
  }
  errc map(int iommufd, std::uint32_t ioas, std::uint64_t at, std::uint64_t from,
           std::uint64_t pages) {
    kvm_vfio::uapi::iommu_ioas_map c{};
    c.size = sizeof c;
    c.flags = kvm_vfio::uapi::map_readable | kvm_vfio::uapi::map_writeable |
              kvm_vfio::uapi::map_fixed_iova;
    c.ioas_id = ioas;
    c.user_va = memory_.address(from);
    c.length = pages * memory_.page();
    c.iova = first_iova + at * memory_.page();
    return vmm_.ioctl_at(iommufd, kvm_vfio::uapi::request_ioas_map, c);
  }
  errc unmap(int iommufd, std::uint32_t ioas, std::uint64_t at, std::uint64_t pages) {
    kvm_vfio::uapi::iommu_ioas_unmap c{};
    c.size = sizeof c;
    c.ioas_id = ioas;
    c.iova = first_iova + at * memory_.page();
    c.length = pages * memory_.page();
    return vmm_.ioctl_at(iommufd, kvm_vfio::uapi::request_ioas_unmap, c);
  }
  std::uint32_t bind(int device, int iommufd) {
    kvm_vfio::uapi::device_bind_iommufd c{};
    c.argsz = sizeof c;
    c.iommufd = iommufd;
    say("BIND", vmm_.ioctl_at(device, kvm_vfio::uapi::request_bind_iommufd, c));
    return c.out_devid;
  }
  errc attach(int device, std::uint32_t ioas) {
    kvm_vfio::uapi::device_attach_iommufd_pt c{};
    c.argsz = sizeof c;
    c.pt_id = ioas;
    return vmm_.ioctl_at(device, kvm_vfio::uapi::request_attach_iommufd_pt, c);
  }
  errc detach(int device) {
    kvm_vfio::uapi::device_detach_iommufd_pt c{};
    c.argsz = sizeof c;
    return vmm_.ioctl_at(device, kvm_vfio::uapi::request_detach_iommufd_pt, c);
  }

  void with_iommufd(const locked_memory_target& t) {
    const int iommufd = open("/dev/iommu");
    const int device = open(t.device_file);
    const std::uint32_t id = bind(device, iommufd);
    const std::uint32_t ioas = alloc(iommufd);
    limit_pages(8);
    say("map 9 of 8, not attached", map(iommufd, ioas, 0, 0, 9));
    say("ATTACH", attach(device, ioas));
    kvm_vfio::uapi::iommu_hwpt_alloc table{};
    table.size = sizeof table;
    table.dev_id = id;
    table.pt_id = ioas;
    say("HWPT_ALLOC", vmm_.ioctl_at(iommufd, kvm_vfio::uapi::request_hwpt_alloc, table));
    say("unmap 9", unmap(iommufd, ioas, 0, 9));
    say("map 5", map(iommufd, ioas, 0, 0, 5));
    say("map 3", map(iommufd, ioas, 5, 0, 3));
    say("ATTACH", attach(device, ioas));
    say("map a ninth", map(iommufd, ioas, 8, 0, 1));
    // Containers have a count of their own.
    const int container = open("/dev/vfio/vfio");
    const int group = open(t.other_group);
    say("SET_CONTAINER", vmm_.set_container(group, container));
    say("SET_IOMMU", vmm_.set_iommu(container));
    say("map 8 in a container", map_dma(container, 0, 0, 8));
    say("map a ninth in the container", map_dma(container, 8, 0, 1));
    close({group, container});
    const int other = open(t.other_device_file);
    const int second = open("/dev/iommu");
    (void)bind(other, second);
    const std::uint32_t space = alloc(second);
    say("map 1 in another iommufd", map(second, space, 0, 0, 1));
    say("ATTACH there", attach(other, space));
    say("DETACH", detach(device));
    say("ATTACH there", attach(other, space));
    say("ATTACH, 8 of 7", attach(device, ioas));
    say("unmap 3", unmap(iommufd, ioas, 5, 3));
    say("ATTACH, 5 of 7", attach(device, ioas));
    say("map 3 of 2", map(iommufd, ioas, 5, 0, 3));
    say("map 2 of 2", map(iommufd, ioas, 5, 0, 2));
    limit_.capable(true);
    say("map 4 with CAP_IPC_LOCK", map(iommufd, ioas, 10, 0, 4));
    limit_.capable(false);
    say("map a ninth", map(iommufd, ioas, 15, 0, 1));
    say("unmap 1 in the other iommufd", unmap(second, space, 0, 1));
    say("map 1", map(iommufd, ioas, 15, 0, 1));
    // Pages 12 to 15 are not accessible.
    say("the second page is missing, 0 of 0", map(iommufd, ioas, 20, 11, 3));
    // The limit of the moment of ATTACH counts.
    say("DETACH", detach(device));
    limit_pages(7);
    say("ATTACH, 8 of 7", attach(device, ioas));
    limit_pages(8);
    say("ATTACH, 8 of 8", attach(device, ioas));
    close({device, other, iommufd, second});
  }

  // Page `at` of one address space becomes page `new_at` of another one.
  errc copy(int iommufd, std::uint32_t from, std::uint64_t at, std::uint64_t pages,
            std::uint32_t to, std::uint64_t new_at) {
    kvm_vfio::uapi::iommu_ioas_copy c{};
    c.size = sizeof c;
    c.flags = kvm_vfio::uapi::map_readable | kvm_vfio::uapi::map_writeable |
              kvm_vfio::uapi::map_fixed_iova;
    c.dst_ioas_id = to;
    c.src_ioas_id = from;
    c.length = pages * memory_.page();
    c.dst_iova = first_iova + new_at * memory_.page();
    c.src_iova = first_iova + at * memory_.page();
    return vmm_.ioctl_at(iommufd, kvm_vfio::uapi::request_ioas_copy, c);
  }
  void with_copies(const locked_memory_target& t) {
    const int iommufd = open("/dev/iommu");
    const int first = open(t.device_file);
    const int second = open(t.other_device_file);
    (void)bind(first, iommufd);
    (void)bind(second, iommufd);
    const std::uint32_t from = alloc(iommufd);
    const std::uint32_t to = alloc(iommufd);
    limit_pages(8);
    say("map 7, not attached", map(iommufd, from, 0, 0, 7));
    say("map 5 beside them", map(iommufd, from, 7, 0, 5));
    say("ATTACH", attach(first, to));
    say("copy 9 of 8", copy(iommufd, from, 0, 9, to, 0));
    say("copy 6", copy(iommufd, from, 0, 6, to, 0));
    say("copy 4 of them", copy(iommufd, from, 2, 4, to, 10));
    say("copy 3, 1 is new", copy(iommufd, from, 4, 3, to, 20));
    say("copy 2, both are new", copy(iommufd, from, 7, 2, to, 30));
    say("copy 3, 1 is new", copy(iommufd, from, 5, 3, to, 30));
    say("ATTACH the source, 12 of 8", attach(second, from));
    limit_pages(12);
    say("ATTACH the source, 12 of 12", attach(second, from));
    say("map a thirteenth", map(iommufd, to, 40, 0, 1));
    say("DETACH the source", detach(second));
    say("map 5 of 4", map(iommufd, to, 40, 0, 5));
    say("map 4 of 4", map(iommufd, to, 40, 0, 4));
    say("unmap the source", unmap(iommufd, from, 0, 7));
    say("map a thirteenth", map(iommufd, to, 50, 0, 1));
    say("unmap 6", unmap(iommufd, to, 0, 6));
    say("map 3 of 2", map(iommufd, to, 50, 0, 3));
    say("map 2 of 2", map(iommufd, to, 50, 0, 2));
    say("copy within the space", copy(iommufd, to, 50, 2, to, 60));
    say("unmap the first of the two", unmap(iommufd, to, 50, 2));
    say("map 1", map(iommufd, to, 50, 0, 1));
    // Pages 12 to 15 are not accessible, which only a page table finds.
    say("map missing memory, not attached", map(iommufd, from, 0, 10, 4));
    say("unmap 4", unmap(iommufd, to, 40, 4));
    say("copy the part that is there", copy(iommufd, from, 0, 2, to, 70));
    say("copy a part that is missing", copy(iommufd, from, 1, 2, to, 80));
    close({first, second, iommufd});
  }

  // An iommufd that charges the process, and not its user, shares the count of containers.
  void with_process_mode(const locked_memory_target& t) {
    const int iommufd = open("/dev/iommu");
    kvm_vfio::uapi::iommu_option mode{};
    mode.size = sizeof mode;
    mode.option_id = kvm_vfio::uapi::option_rlimit_mode;
    mode.op = kvm_vfio::uapi::option_set;
    mode.val64 = 1;
    say("charge the process", vmm_.ioctl_at(iommufd, kvm_vfio::uapi::request_option, mode));
    const int device = open(t.device_file);
    (void)bind(device, iommufd);
    const std::uint32_t ioas = alloc(iommufd);
    limit_pages(8);
    say("ATTACH", attach(device, ioas));
    const int container = open("/dev/vfio/vfio");
    const int group = open(t.other_group);
    say("SET_CONTAINER", vmm_.set_container(group, container));
    say("SET_IOMMU", vmm_.set_iommu(container));
    say("map 5 in a container", map_dma(container, 0, 0, 5));
    say("map 4 of 3", map(iommufd, ioas, 0, 0, 4));
    say("map 3 of 3", map(iommufd, ioas, 0, 0, 3));
    say("map a ninth in the container", map_dma(container, 5, 0, 1));
    say("unmap 5", unmap_dma(container, 0, 5));
    say("map 6 of 5", map_dma(container, 0, 0, 6));
    say("map 5 of 5", map_dma(container, 0, 0, 5));
    say("copy within the space", copy(iommufd, ioas, 0, 3, ioas, 20));
    say("DETACH", detach(device));
    say("map 3 in the container", map_dma(container, 5, 0, 3));
    say("ATTACH, 3 of 0", attach(device, ioas));
    say("unmap 3", unmap_dma(container, 5, 3));
    say("ATTACH, 3 of 3", attach(device, ioas));
    close({group, container, device, iommufd});
  }

  void with_windows(const locked_memory_target& t) {
    const std::uint64_t window = std::uint64_t{1} << 30;
    const int container = open("/dev/vfio/vfio");
    const int group = open(t.group);
    const int second = open("/dev/vfio/vfio");
    const int other = open(t.other_group);
    say("SET_CONTAINER", vmm_.set_container(group, container));
    say("SET_IOMMU", vmm_.set_iommu(container, VFIO_SPAPR_TCE_IOMMU));
    say("SET_CONTAINER", vmm_.set_container(other, second));
    say("SET_IOMMU", vmm_.set_iommu(second, VFIO_SPAPR_TCE_IOMMU));
    limit_.limit(window - 1);
    say("ENABLE, less than the window", vmm_.ioctl(container, VFIO_IOMMU_ENABLE));
    limit_.limit(window);
    say("ENABLE, the window", vmm_.ioctl(container, VFIO_IOMMU_ENABLE));
    // The first mapping makes the window, whose table counts as locked memory.
    say("map 2 without memory for the table", map_dma(container, 0, 0, 2));
    limit_.limit(window + (2U << 20) - memory_.page());
    say("map 2, less than the table", map_dma(container, 0, 0, 2));
    limit_.limit(window + (2U << 20));
    say("map 2, the table", map_dma(container, 0, 0, 2));
    say("map 9", map_dma(container, 10, 0, 9));
    say("ENABLE a second", vmm_.ioctl(second, VFIO_IOMMU_ENABLE));
    say("DISABLE", vmm_.ioctl(container, VFIO_IOMMU_DISABLE));
    say("ENABLE a second", vmm_.ioctl(second, VFIO_IOMMU_ENABLE));
    say("map 2 without memory for a second table", map_dma(second, 0, 0, 2));
    say("the first leaves", vmm_.unset_container(group));
    say("map 2, one table", map_dma(second, 0, 0, 2));
    say("SET_CONTAINER", vmm_.set_container(group, container));
    say("SET_IOMMU", vmm_.set_iommu(container, VFIO_SPAPR_TCE_IOMMU));
    say("ENABLE the first", vmm_.ioctl(container, VFIO_IOMMU_ENABLE));
    limit_.capable(true);
    say("ENABLE with CAP_IPC_LOCK", vmm_.ioctl(container, VFIO_IOMMU_ENABLE));
    say("map 2 with CAP_IPC_LOCK", map_dma(container, 0, 0, 2));
    limit_.capable(false);
    close({group, other, container, second});
  }
  void close(std::initializer_list<int> fds) {
    for (const int fd : fds)
      if (fd >= 0) (void)vmm_.close(fd);
  }

  support::vmm<System> vmm_;
  Limit& limit_;
  const locked_memory_pages& memory_;
  std::vector<std::string> lines_;
};

}  // namespace vfio_lockstep
