// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Two devices of one group in two iommufds, the page tables that they share, and tokens of devices
/// that need none.

#include "odd_calls.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/vfio.h>

#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// Makes the calls with two devices of one group, and with a mediated device.
template <class System>
class odd_owners : odd_calls<System> {
  using base = odd_calls<System>;
  using base::ask;
  using base::m_;
  using base::on_;
  using base::page_;
  using base::pair;

 public:
  odd_owners(recorder<System>& on, const machine& m, const dma_memory& memory)
      : base(on, m, memory) {}

  void run(const target& first, const target& second) {
    two_iommufds(first, second);
    page_tables(first, second);
    group(first, second);
    tokens(first);
    for (const target& t : m_.targets)
      if (!t.comparable && !t.cdev.empty()) {
        tokens(t);
        mediated(t);
        break;
      }
  }

 private:
  using typename base::numbers;

  void two_iommufds(const target& first, const target& second) {
    const int one = on_.open("iommufd", "/dev/iommu");
    const int two = on_.open("second iommufd", "/dev/iommu");
    const int a = on_.open("device file", first.cdev);
    const int b = on_.open("second device file", second.cdev);
    on_.bind(a, one);
    on_.bind(b, two);
    on_.bind(b, one);
    on_.close_all();
  }
  void page_tables(const target& first, const target& second) {
    const int fd = on_.open("iommufd", "/dev/iommu");
    const int a = on_.open("device file", first.cdev);
    const int b = on_.open("second device file", second.cdev);
    const std::uint32_t id = on_.bind(a, fd);
    on_.bind(b, fd);
    const std::uint32_t space = on_.alloc_ioas(fd);
    const std::uint32_t other = on_.alloc_ioas(fd);
    // The second device is bound, but not attached.
    on_.attach(a, space);
    on_.attach(a, other);
    const std::uint32_t table = on_.alloc_table(fd, id, space);
    const std::uint32_t more = on_.alloc_table(fd, id, space);
    on_.attach(b, table);
    on_.attach(a, table);
    for (const std::uint32_t to : {more, space, table, more, other}) on_.attach(b, to);
    on_.close_all();
  }
  // The devices that are open stay in the iommufd that their group had.
  void group(const target& first, const target& second) {
    const int one = on_.open("iommufd", "/dev/iommu");
    const int two = on_.open("second iommufd", "/dev/iommu");
    const int fd = on_.open("group", first.group);
    on_.set_container(fd, one);
    on_.ioctl("SET_IOMMU", one, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    const int device = on_.get_device(fd, first.device);
    on_.ioctl("UNSET_CONTAINER", fd, VFIO_GROUP_UNSET_CONTAINER);
    on_.set_container(fd, two);
    on_.ioctl("SET_IOMMU", two, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    on_.get_device(fd, second.device);
    on_.get_device(fd, first.device);
    on_.close("device", device);
    on_.get_device(fd, second.device);
    // A further page table, which is for this device's IOMMU, too.
    for (const std::uint32_t id : {1U, 2U, 3U}) on_.alloc_table(one, id, 1);
    on_.ioctl("CHECK_EXTENSION", one, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU);
    on_.close_all();
  }
  void tokens(const target& t) {
    const int fd = on_.open("iommufd", "/dev/iommu");
    const int device = on_.open("device file", t.cdev);
    const unsigned char token[16] = {1};
    const std::uint64_t good = reinterpret_cast<std::uintptr_t>(token);
    for (const std::uint32_t flags : {1U, 2U, 3U})
      for (const std::uint32_t size : {16U, 24U})
        for (const std::uint64_t at : {good, std::uint64_t{0}, std::uint64_t{8}}) {
          numbers c{pair(size, flags), pair(static_cast<std::uint32_t>(fd), 0), at};
          on_.ioctl_of("BIND with a token", device, u::request_bind_iommufd, c);
        }
    on_.close_all();
  }
  void mediated(const target& t) {
    const int fd = on_.open("iommufd", "/dev/iommu");
    const int device = on_.open("device file", t.cdev);
    const std::uint32_t id = on_.bind(device, fd);
    ask("VIOMMU_ALLOC", fd, u::request_viommu_alloc, {pair(40, 0), pair(1, id), 0, 0, 0});
    ask("GET_HW_INFO", fd, u::request_get_hw_info, {pair(40, 0), pair(id, 0), 0, 0, 0});
    on_.alloc_table(fd, id, on_.alloc_ioas(fd));
    on_.close_all();
  }
};

}  // namespace vfio_lockstep::fixed
