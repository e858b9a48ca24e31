// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Answers for a mock: every request that a VMM makes to KVM, VFIO and iommufd succeeds.

#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/testing/mock_system.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/kvm.h>
#include <linux/vfio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kvm_vfio::testing {

namespace detail {

// Changes the object at an address, which need not be aligned for it.
template <class T, class Function>
result<int> answer_in(std::uintptr_t at, Function fill) {
  T object;
  std::memcpy(&object, reinterpret_cast<const void*>(at), sizeof object);
  const result<int> answer = fill(object);
  std::memcpy(reinterpret_cast<void*>(at), &object, sizeof object);
  return answer;
}
// The last call of one of two requests that succeeded on a descriptor, or 0.
[[nodiscard]] inline unsigned long last_of(const mock_state& state, int fd, unsigned long first,
                                           unsigned long second) {
  const auto& calls = state.calls();
  const auto found = std::find_if(calls.rbegin(), calls.rend(), [&](const mock_call& c) {
    return c.fd == fd && c.error == errc::ok && (c.request == first || c.request == second);
  });
  return found == calls.rend() ? 0 : found->request;
}

inline void answer_as_kvm(mock_state& state) {
  state.on_ioctl(KVM_GET_API_VERSION, [](int, std::uintptr_t) { return KVM_API_VERSION; });
  state.on_ioctl(KVM_CHECK_EXTENSION, [](int, std::uintptr_t) { return 1; });
  state.on_ioctl(KVM_CREATE_VM, [&state](int, std::uintptr_t) { return state.make_descriptor(); });
  state.on_ioctl(KVM_CREATE_DEVICE, [&state](int, std::uintptr_t at) {
    return answer_in<kvm_create_device>(at, [&](kvm_create_device& create) {
      if (!(create.flags & KVM_CREATE_DEVICE_TEST))
        create.fd = static_cast<std::uint32_t>(state.make_descriptor());
      return 0;
    });
  });
}
inline void answer_as_group(mock_state& state) {
  state.on_ioctl(VFIO_GROUP_GET_DEVICE_FD,
                 [&state](int, std::uintptr_t) { return state.make_descriptor(); });
  state.on_ioctl(VFIO_GROUP_GET_STATUS, [&state](int fd, std::uintptr_t at) {
    return answer_in<vfio_group_status>(at, [&](vfio_group_status& status) {
      status.flags = VFIO_GROUP_FLAGS_VIABLE;
      if (last_of(state, fd, VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_UNSET_CONTAINER) ==
          VFIO_GROUP_SET_CONTAINER)
        status.flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
      return 0;
    });
  });
  state.on_ioctl(VFIO_CHECK_EXTENSION, [](int, std::uintptr_t) { return 1; });
  // VFIO_DEVICE_GET_PCI_HOT_RESET_INFO has this number, too: a device resets alone.
  state.on_ioctl(VFIO_IOMMU_GET_INFO, [&state](int fd, std::uintptr_t at) {
    if (last_of(state, fd, VFIO_SET_IOMMU, VFIO_SET_IOMMU) == 0) return 0;
    const std::uint32_t flags = VFIO_IOMMU_INFO_PGSIZES;
    const std::uint64_t page_sizes = 4096;
    auto* const info = reinterpret_cast<unsigned char*>(at);
    std::memcpy(info + offsetof(vfio_iommu_type1_info, flags), &flags, sizeof flags);
    std::memcpy(info + offsetof(vfio_iommu_type1_info, iova_pgsizes), &page_sizes,
                sizeof page_sizes);
    return 0;
  });
}
inline void answer_as_device(mock_state& state) {
  state.on_ioctl(VFIO_DEVICE_GET_INFO, [](int, std::uintptr_t at) {
    return answer_in<vfio_device_info>(at, [](vfio_device_info& info) {
      info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
      info.num_regions = VFIO_PCI_NUM_REGIONS;
      info.num_irqs = VFIO_PCI_NUM_IRQS;
      return 0;
    });
  });
  state.on_ioctl(VFIO_DEVICE_GET_REGION_INFO, [](int, std::uintptr_t at) {
    return answer_in<vfio_region_info>(at, [](vfio_region_info& region) -> result<int> {
      if (region.index >= VFIO_PCI_NUM_REGIONS) return errc::inval;
      const bool bar = region.index == VFIO_PCI_BAR0_REGION_INDEX;
      const bool config = region.index == VFIO_PCI_CONFIG_REGION_INDEX;
      region.flags = 0;
      if (bar || config) region.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
      if (bar) region.flags |= VFIO_REGION_INFO_FLAG_MMAP;
      region.cap_offset = 0;
      region.size = bar ? 4096 : config ? 256 : 0;
      region.offset = std::uint64_t{region.index} << 40;
      return 0;
    });
  });
  state.on_ioctl(VFIO_DEVICE_GET_IRQ_INFO, [](int, std::uintptr_t at) {
    return answer_in<vfio_irq_info>(at, [](vfio_irq_info& irq) -> result<int> {
      if (irq.index >= VFIO_PCI_NUM_IRQS) return errc::inval;
      irq.flags = VFIO_IRQ_INFO_EVENTFD;
      irq.count = 1;
      return 0;
    });
  });
}
inline void answer_as_iommufd(mock_state& state) {
  // The number of earlier calls is a number that no other object has.
  const auto number = [&state] { return static_cast<std::uint32_t>(state.calls().size()); };
  state.on_ioctl(uapi::request_bind_iommufd, [number](int, std::uintptr_t at) {
    return answer_in<uapi::device_bind_iommufd>(at, [&](uapi::device_bind_iommufd& bind) {
      bind.out_devid = number();
      return 0;
    });
  });
  state.on_ioctl(uapi::request_ioas_alloc, [number](int, std::uintptr_t at) {
    return answer_in<uapi::iommu_ioas_alloc>(at, [&](uapi::iommu_ioas_alloc& alloc) {
      alloc.out_ioas_id = number();
      return 0;
    });
  });
  state.on_ioctl(uapi::request_ioas_iova_ranges, [](int, std::uintptr_t at) {
    using iova_ranges = uapi::iommu_ioas_iova_ranges;
    return answer_in<iova_ranges>(at, [](iova_ranges& ranges) -> result<int> {
      const std::uint32_t capacity = ranges.num_iovas;
      ranges.num_iovas = 1;
      ranges.out_iova_alignment = 4096;
      if (capacity == 0) return errc::msgsize;
      constexpr std::uint64_t all[] = {0, ~std::uint64_t{0}};
      std::memcpy(
          reinterpret_cast<void*>(kvm_vfio::detail::convert<std::uintptr_t>(ranges.allowed_iovas)),
          all, sizeof all);
      return 0;
    });
  });
}

}  // namespace detail

/// Gives a mock a plain successful answer to each request that the classes of native/ and client/
/// make. So the plug of a VMM succeeds on the mock at once, with a group and with a device file.
/// The test then makes single calls fail with `mock_state::fail`, or gives an answer of its own
/// with `mock_state::on_ioctl`. An answer that was given to the mock earlier is replaced.
///
/// - KVM_CREATE_VM, KVM_CREATE_DEVICE and VFIO_GROUP_GET_DEVICE_FD make a descriptor.
/// - KVM_CHECK_EXTENSION and VFIO_CHECK_EXTENSION answer 1.
/// - Each group is viable. It is in a container from VFIO_GROUP_SET_CONTAINER on, up to
///   VFIO_GROUP_UNSET_CONTAINER.
/// - Each device is a PCI device. BAR 0 has 4096 bytes and can be mapped. The configuration space
///   has 256 bytes. The other regions are empty. Each kind of interrupt has one vector.
/// - The I/O address spaces and the bound devices have numbers. An I/O address space can map every
///   address.
/// - Each other request answers 0 and changes nothing, as on every mock.
/// \param state the mock. It must stay at its address while it answers calls.
inline void answers_as_vfio(mock_state& state) {
  detail::answer_as_kvm(state);
  detail::answer_as_group(state);
  detail::answer_as_device(state);
  detail::answer_as_iommufd(state);
}

}  // namespace kvm_vfio::testing
