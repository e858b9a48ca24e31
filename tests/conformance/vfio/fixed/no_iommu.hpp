// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Groups and devices that no IOMMU handles (VFIO's no-IOMMU mode).

#include "containers.hpp"
#include "recorder.hpp"

#include <linux/kvm.h>
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device that no IOMMU handles.
/// \tparam Privilege called with a bool: gives CAP_SYS_RAWIO to the process, or takes it away
template <class System, class Privilege>
class no_iommu_calls {
 public:
  /// \param on    where the calls are made
  /// \param t     the device
  /// \param m     the machine, which has the device and devices with an IOMMU
  /// \param raw_io sets whether the process has CAP_SYS_RAWIO
  no_iommu_calls(recorder<System>& on, const target& t, const machine& m, const dma_memory& memory,
                 Privilege raw_io)
      : on_(on), t_(t), m_(m), memory_(memory), raw_io_(raw_io) {
    for (const target& other : m.no_iommu)
      if (other.group != t.group) other_ = &other;
    for (const target& other : m.targets)
      if (other.comparable && !translated_) translated_ = &other;
  }

  void use() {
    nodes();
    group_alone();
    container_alone();
    group_in_container();
    groups_that_do_not_mix();
    devices();
    for (const bool with_device : {false, true}) kvm(with_device);
    if (m_.iommufd) iommufd();
  }

 private:
  void nodes() {
    const std::string number = t_.group.substr(t_.group.rfind('-') + 1);
    on_.open("group without its prefix", "/dev/vfio/" + number);
    if (translated_) {
      const std::string of_other = translated_->group;
      on_.open("group with a wrong prefix",
               "/dev/vfio/noiommu-" + of_other.substr(of_other.rfind('/') + 1));
    }
    raw_io_(false);
    on_.open("group without CAP_SYS_RAWIO", t_.group);
    raw_io_(true);
    on_.open("group", t_.group);
    on_.open("group again", t_.group);
    raw_io_(false);
    on_.open("open group without CAP_SYS_RAWIO", t_.group);
    raw_io_(true);
    const std::string file = std::to_string(t_.file_number);
    on_.open("device file", "/dev/vfio/devices/noiommu-vfio" + file);
    on_.open("device file without its prefix", "/dev/vfio/devices/vfio" + file);
    on_.close_all();
  }
  void group_alone() {
    const int group = on_.open("group", t_.group);
    status(group);
    for (const std::uint32_t size : {0U, 4U, 7U, 8U, 16U})
      on_.ioctl_bytes("GET_STATUS", group, VFIO_GROUP_GET_STATUS, words({size, 7}, 16));
    on_.get_device(group, t_.device);
    on_.get_device(group, "no device");
    on_.ioctl("UNSET_CONTAINER", group, VFIO_GROUP_UNSET_CONTAINER);
    on_.set_container(group, -1);
    on_.set_container(group, group);
    on_.ioctl("unknown request", group, VFIO_IOMMU_GET_INFO);
    on_.close_all();
  }
  void container_alone() {
    const int container = on_.open("container", "/dev/vfio/vfio");
    extensions(container);
    set_iommu(container);
    requests(container);
    on_.close_all();
  }
  void group_in_container() {
    const int group = on_.open("group", t_.group);
    const int container = on_.open("container", "/dev/vfio/vfio");
    raw_io_(false);
    on_.set_container(group, container);
    raw_io_(true);
    status(group);
    on_.set_container(group, container);
    on_.set_container(group, container);
    status(group);
    extensions(container);
    requests(container);
    on_.get_device(group, t_.device);
    raw_io_(false);
    set_iommu(container);
    raw_io_(true);
    set_iommu(container);
    set_iommu(container);
    extensions(container);
    requests(container);
    status(group);
    on_.ioctl("UNSET_CONTAINER", group, VFIO_GROUP_UNSET_CONTAINER);
    extensions(container);
    set_iommu(container);
    status(group);
    on_.close_all();
  }
  // A container has groups with an IOMMU, or groups without one.
  void groups_that_do_not_mix() {
    if (!other_ || !translated_) return;
    const int group = on_.open("group", t_.group);
    const int other = on_.open("second group", other_->group);
    const int translated = on_.open("group with an IOMMU", translated_->group);
    const int container = on_.open("container", "/dev/vfio/vfio");
    on_.set_container(group, container);
    on_.set_container(translated, container);
    on_.set_container(other, container);
    on_.ioctl("SET_IOMMU", container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU);
    on_.set_container(translated, container);
    status(translated);
    on_.get_device(other, other_->device);
    on_.get_device(group, other_->device);
    on_.ioctl("UNSET_CONTAINER", group, VFIO_GROUP_UNSET_CONTAINER);
    on_.ioctl("UNSET_CONTAINER", other, VFIO_GROUP_UNSET_CONTAINER);
    on_.set_container(group, container);
    on_.get_device(group, t_.device);
    on_.close("group", group);
    on_.close_all();
    // The container takes a group of the other kind when it is empty again.
    const int first = on_.open("group", t_.group);
    const int second = on_.open("group with an IOMMU", translated_->group);
    const int again = on_.open("container", "/dev/vfio/vfio");
    on_.set_container(first, again);
    on_.ioctl("UNSET_CONTAINER", first, VFIO_GROUP_UNSET_CONTAINER);
    on_.set_container(second, again);
    on_.set_container(first, again);
    raw_io_(false);
    on_.set_container(first, again);
    raw_io_(true);
    extensions(again);
    on_.ioctl("SET_IOMMU", again, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU);
    on_.ioctl("SET_IOMMU", again, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    extensions(again);
    on_.set_container(first, again);
    on_.close("group with an IOMMU", second);
    on_.set_container(first, again);
    extensions(again);
    on_.close_all();
  }
  void devices() {
    const opened_device o = on_.open_device(t_);
    on_.get_device(o.group, t_.device);
    raw_io_(false);
    on_.get_device(o.group, t_.device);
    if (o.device >= 0) {
      info(o.device);
      on_.ioctl("RESET", o.device, VFIO_DEVICE_RESET);
    }
    raw_io_(true);
    on_.ioctl("unknown request", o.device, VFIO_IOMMU_GET_INFO);
    for (const std::string& options :
         {std::string(" "), std::string(" vf_token=00000000-0000-0000-0000-000000000001"),
          std::string("x")})
      on_.get_device(o.group, t_.device + options);
    on_.ioctl("UNSET_CONTAINER", o.group, VFIO_GROUP_UNSET_CONTAINER);
    on_.close("group", o.group);
    on_.open("group of an open device", t_.group);
    on_.close("container", o.container);
    info(o.device);
    on_.close_all();
    const opened_device again = on_.open_device(t_);
    on_.close("device", again.device);
    raw_io_(false);
    on_.get_device(again.group, t_.device);
    on_.ioctl("UNSET_CONTAINER", again.group, VFIO_GROUP_UNSET_CONTAINER);
    raw_io_(true);
    on_.close_all();
  }
  // kvm-vfio takes the group. A driver that needs the VM would find it.
  void kvm(bool with_device) {
    const int dev_kvm = on_.open("kvm", "/dev/kvm");
    const int vm = on_.make("CREATE_VM", dev_kvm, KVM_CREATE_VM);
    kvm_create_device made{};
    made.type = KVM_DEV_TYPE_VFIO;
    if (!on_.ioctl_at("CREATE_DEVICE", vm, KVM_CREATE_DEVICE, made)) return on_.close_all();
    const int kvm_vfio = static_cast<int>(made.fd);
    opened_device o;
    if (with_device) o = on_.open_device(t_);
    else o.group = on_.open("group", t_.group);
    for (const int attribute :
         {KVM_DEV_VFIO_GROUP_DEL, KVM_DEV_VFIO_GROUP_ADD, KVM_DEV_VFIO_GROUP_ADD,
          KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE, KVM_DEV_VFIO_GROUP_DEL, KVM_DEV_VFIO_GROUP_DEL,
          KVM_DEV_VFIO_GROUP_ADD}) {
      std::int32_t fd = o.group;
      kvm_device_attr a{};
      a.group = KVM_DEV_VFIO_GROUP;
      a.attr = static_cast<std::uint64_t>(attribute);
      a.addr = reinterpret_cast<std::uintptr_t>(&fd);
      on_.ioctl_at("attribute " + std::to_string(attribute), kvm_vfio, KVM_SET_DEVICE_ATTR, a);
    }
    if (!with_device) {
      const int container = on_.open("container", "/dev/vfio/vfio");
      on_.set_container(o.group, container);
      on_.ioctl("SET_IOMMU", container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU);
      on_.get_device(o.group, t_.device);
    }
    on_.say("close kvm-vfio", on_.sys().close(kvm_vfio));
    on_.close_all();
  }
  // An iommufd stands for the container of such a group without translating anything.
  void iommufd() {
    const int group = on_.open("group", t_.group);
    const int fd = on_.open("iommufd", "/dev/iommu");
    extensions(fd);
    raw_io_(false);
    on_.set_container(group, fd);
    raw_io_(true);
    status(group);
    on_.ioctl("UNSET_CONTAINER", group, VFIO_GROUP_UNSET_CONTAINER);
    on_.set_container(group, fd);
    on_.set_container(group, fd);
    extensions(fd);
    requests(fd);
    raw_io_(false);
    set_iommu(fd);
    on_.get_device(group, t_.device);
    raw_io_(true);
    set_iommu(fd);
    on_.alloc_ioas(fd);
    if (translated_) on_.set_container(on_.open("group with an IOMMU", translated_->group), fd);
    const int device = on_.get_device(group, t_.device);
    if (device >= 0) info(device);
    on_.ioctl("UNSET_CONTAINER", group, VFIO_GROUP_UNSET_CONTAINER);
    on_.close("group", group);
    on_.open("group of an open device", t_.group);
    on_.close_all();
    // The iommufd has an address space for VFIO already.
    if (!translated_) return;
    const opened_device o = on_.open_device(*translated_, "/dev/iommu", VFIO_TYPE1v2_IOMMU);
    on_.set_container(on_.open("group", t_.group), o.container);
    on_.close_all();
  }

  void status(int group) {
    on_.ioctl_bytes("GET_STATUS", group, VFIO_GROUP_GET_STATUS, words({8, 0}));
  }
  void extensions(int container) {
    on_.ioctl("GET_API_VERSION", container, VFIO_GET_API_VERSION);
    for (std::uint32_t i = 0; i < 12; ++i)
      on_.ioctl("CHECK_EXTENSION " + std::to_string(i), container, VFIO_CHECK_EXTENSION, i);
  }
  void set_iommu(int container) {
    for (const std::uint32_t type : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 9U, 10U, 11U, 12U, 8U})
      on_.ioctl("SET_IOMMU " + std::to_string(type), container, VFIO_SET_IOMMU, type);
  }
  // The requests of the IOMMU drivers.
  void requests(int container) {
    on_.ioctl_bytes("IOMMU_GET_INFO", container, VFIO_IOMMU_GET_INFO, words({24, 0}, 24));
    on_.ioctl_bytes("DIRTY_PAGES", container, VFIO_IOMMU_DIRTY_PAGES, words({8, 1}, 8));
    container_calls<System> calls(on_, m_, memory_, container);
    calls.map(first_iova, memory_.there, m_.page);
    calls.unmap(first_iova, m_.page);
    on_.ioctl("ENABLE", container, VFIO_IOMMU_ENABLE);
    on_.ioctl("unknown request", container, VFIO_GROUP_GET_STATUS);
  }
  // What the device tells about itself.
  void info(int device) {
    on_.ioctl_bytes("GET_INFO", device, VFIO_DEVICE_GET_INFO, words({24, 0}, 24));
    for (std::uint32_t i = 0; i <= VFIO_PCI_NUM_REGIONS; ++i)
      on_.ioctl_bytes("GET_REGION_INFO " + std::to_string(i), device, VFIO_DEVICE_GET_REGION_INFO,
                      words({32, 0, i}, 32));
    for (std::uint32_t i = 0; i <= VFIO_PCI_NUM_IRQS; ++i)
      on_.ioctl_bytes("GET_IRQ_INFO " + std::to_string(i), device, VFIO_DEVICE_GET_IRQ_INFO,
                      words({16, 0, i}, 16));
  }

  recorder<System>& on_;
  const target& t_;
  const machine& m_;
  dma_memory memory_;
  Privilege raw_io_;
  const target* other_ = nullptr;       // another device without an IOMMU
  const target* translated_ = nullptr;  // a device with an IOMMU
};

}  // namespace vfio_lockstep::fixed
