// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Calls that only the inputs of the corpus make: arguments that are almost right. The table of
/// combinations does not list them.

#include "scenes.hpp"

#include <kvm_vfio/sim/topology/pci_capabilities.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <linux/kvm.h>
#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

/// Calls with arguments that are almost right.
class rare_steps : public scene_steps {
 protected:
  using scene_steps::scene_steps;

  void rare() {
    switch (r_.below(13)) {
      case 0: return kvm_facts();
      case 1: return other_device();
      case 2: return attribute();
      case 3: return allow_iovas();
      case 4: return hw_info();
      case 5: return bind_with_token();
      case 6: return with_pasid();
      case 7: return open_nothing();
      case 8: return dirty_pages();
      case 9: return set_power();
      case 10: return some_vectors();
      case 11: return access_from_odd_memory();
      default: return map_end_of_memory();
    }
  }

 private:
  ref some_opened() { return some(r_.percent(50) ? kind::device : kind::cdev); }

  void kvm_facts() {
    if (!m_.books) return;
    if (r_.percent(30)) {
      const std::uint64_t argument = static_cast<unsigned>(r_.below(2));
      const bool version = r_.percent(50);
      call({kind::kvm}, version ? "GET_API_VERSION" : "GET_VCPU_MMAP_SIZE",
           version ? std::uint64_t{KVM_GET_API_VERSION} : std::uint64_t{KVM_GET_VCPU_MMAP_SIZE},
           argument);
      return;
    }
    const auto which = r_.of<std::uint64_t>(
        {KVM_CAP_IRQCHIP, KVM_CAP_USER_MEMORY, KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
         KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, KVM_CAP_IRQFD, KVM_CAP_IRQFD_RESAMPLE,
         KVM_CAP_IOEVENTFD, KVM_CAP_IOEVENTFD_NO_LENGTH, KVM_CAP_IOEVENTFD_ANY_LENGTH,
         KVM_CAP_READONLY_MEM, KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_NR_MEMSLOTS, KVM_CAP_DEVICE_CTRL,
         99999});
    const ref on = r_.percent(50) ? ref{kind::kvm} : some(kind::vm);
    call(on, "KVM_CHECK_EXTENSION", KVM_CHECK_EXTENSION, which);
  }
  // A device of a VM that cannot be made, or is only tested.
  void other_device() {
    const bool vfio = r_.percent(50);
    const kvm_create_device c{
        .type = vfio ? std::uint32_t{KVM_DEV_TYPE_VFIO} : 99U,
        .fd = 77,
        .flags = vfio ? std::uint32_t{KVM_CREATE_DEVICE_TEST} : r_.of({0U, 1U, 2U})};
    call(some(kind::vm), "CREATE_DEVICE", KVM_CREATE_DEVICE, bytes(c));
  }
  void attribute() {
    kvm_device_attr a{};
    a.group = r_.of({1U, 1U, 1U, 0U, 2U});
    a.attr = static_cast<unsigned>(r_.below(5));
    const auto request = r_.of<std::uint64_t>(
        {KVM_SET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR, KVM_GET_DEVICE_ATTR});
    std::vector<patch> patches;
    ref file{kind::dma_memory};
    if (r_.percent(60)) {
      patches.push_back({offsetof(kvm_device_attr, addr), {kind::dma_memory}});
      file = some(kind::group);
    }
    step& s = call(some(kind::kvm_vfio), "DEVICE_ATTR", request, bytes(a), std::move(patches));
    s.pointee = file;
  }
  void allow_iovas() {
    u::iommu_ioas_allow_iovas a{};
    const ref on = some(kind::iommufd);
    a.size = argsz(sizeof a);
    a.ioas_id = some_space(on);
    a.num_iovas = r_.of({0U, 1U, 2U});
    a.reserved = flags(0);
    std::vector<patch> patches;
    if (r_.percent(70))
      patches.push_back({offsetof(decltype(a), allowed_iovas), {kind::out_memory}});
    call(on, "ALLOW_IOVAS", u::request_ioas_allow_iovas, bytes(a), std::move(patches));
  }
  void hw_info() {
    u::iommu_hw_info h{};
    h.size = argsz(sizeof h);
    h.flags = r_.of({0U, 0U, 1U, 2U});
    h.dev_id = id();
    h.data_len = r_.of({0U, 4U});  // the registers of the IOMMU that follow are modelled in part
    h.out_data_type = r_.of({0U, 0U, 1U, 2U});
    std::vector<patch> patches;
    if (r_.percent(80)) patches.push_back({offsetof(decltype(h), data_uptr), {kind::out_memory}});
    call(some(kind::iommufd), "GET_HW_INFO", u::request_get_hw_info, bytes(h), std::move(patches));
  }
  void bind_with_token() {
    const std::uint32_t size = r_.of({16U, 20U, 24U, 24U, 32U});
    const std::uint32_t how = r_.of({1U, 1U, 0U, 2U});
    auto argument = bytes(size, how, std::int32_t{-1}, 0U, std::uint64_t{0}, std::uint64_t{0});
    std::vector<patch> patches{{8, some(kind::iommufd)}};
    if (r_.percent(60)) patches.push_back({16, {kind::out_memory}});
    if (r_.percent(10)) argument[28] = 1;
    call(some(kind::cdev), "BIND_IOMMUFD", u::request_bind_iommufd, std::move(argument),
         std::move(patches));
  }
  void with_pasid() {
    const bool attaches = r_.percent(60);
    const std::uint32_t how = r_.of({1U, 1U, 1U, 2U});
    const std::uint32_t to = id();
    const std::uint32_t pasid = r_.of({1U, 1U, 0x80000000U});
    const ref on = some(kind::cdev);
    if (attaches) {
      const std::uint32_t size = r_.of({16U, 16U, 12U});
      call(on, "ATTACH", u::request_attach_iommufd_pt, bytes(size, how, to, pasid));
    } else {
      const std::uint32_t size = r_.of({12U, 12U, 8U});
      call(on, "DETACH", u::request_detach_iommufd_pt, bytes(size, how, pasid));
    }
  }
  void open_nothing() {
    const auto path = r_.of<const char*>(
        {"/dev/vfio/vfio/x", "/dev/vfio/1/x", "/dev/vfio/01", "/dev/vfio/x1",
         "/dev/vfio/99999999999", "/dev/vfio/4294967297", "/dev/vfio/devices/vfio01",
         "/dev/vfio/devices/x", "/dev/vfio/noiommu-1", "/dev/vfio/nothing/x"});
    open(kind::path, slot(), path);
  }
  void dirty_pages() {
    const ref on = some(kind::container);
    if (m_.spapr) return;
    const std::uint64_t page = r_.percent(85) ? m_.page : r_.of<std::uint64_t>({0, 512, 8192});
    const std::uint64_t room =
        r_.percent(80) ? 32 : r_.of<std::uint64_t>({0, 1, 8, 1ULL << 29, ~0ULL});
    std::vector<patch> patches;
    const bool there = r_.percent(85);
    const std::uint64_t where = iova();
    const std::uint64_t size = r_.percent(70) ? length() : m_.page * 64;
    if (r_.percent(25)) {
      if (there) patches.push_back({40, {kind::out_memory}});
      const std::uint32_t bytes_told = argsz(48);
      call(on, "UNMAP_DMA", VFIO_IOMMU_UNMAP_DMA,
           bytes(bytes_told, std::uint32_t{VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP}, where, size, page,
                 room, std::uint64_t{0}),
           std::move(patches));
      return;
    }
    const std::uint32_t how = r_.of({1U, 1U, 2U, 4U, 4U, 4U, 4U, 0U, 3U, 8U});
    if (there) patches.push_back({40, {kind::out_memory}});
    const std::uint32_t bytes_told = argsz(how == 4 ? 48 : 8);
    call(on, "DIRTY_PAGES", VFIO_IOMMU_DIRTY_PAGES,
         bytes(bytes_told, how, where, size, page, room, std::uint64_t{0}), std::move(patches));
  }
  // Writes the power state of a function.
  void set_power() {
    const ref on = some_opened();
    const target* const t = device_in(on);
    if (!t) return;
    for (const kvm_vfio::sim::capability_spec& c : t->pci.capabilities) {
      if (c.id != PCI_CAP_ID_PM || is_extended(c)) continue;
      step& s = add({.what = verb::pwrite, .on = on, .only_for = t->device, .name = "config"});
      s.number = config + c.offset + PCI_PM_CTRL;
      s.argument = bytes(static_cast<std::uint16_t>(r_.below(4)));
      step again = s;
      again.what = verb::pread;
      add(std::move(again));
      return;
    }
  }
  // Parts of the vectors of an index, and descriptors below -1.
  void some_vectors() {
    const ref on = some_opened();
    if (not_compared(on)) return;
    const std::uint32_t data = r_.of({1U, 2U, 4U, 4U});
    const std::uint32_t action = 8U << r_.below(3);
    const auto index = static_cast<std::uint32_t>(r_.below(5));
    const auto start = static_cast<std::uint32_t>(r_.below(3));
    const auto count = static_cast<std::uint32_t>(r_.below(3));
    const std::uint32_t each = data == 2 ? 1 : data == 4 ? 4 : 0;
    auto argument = bytes(20 + each * count, data | action, index, start, count);
    std::vector<patch> patches;
    for (std::uint32_t i = 0; i < count && each != 0; ++i) {
      argument.resize(argument.size() + each, each == 1 ? 1 : 0xff);
      if (each == 1) continue;
      const int what = r_.below(4);
      if (what == 0) argument[argument.size() - 4] = 0xfe;
      if (what > 1) patches.push_back({argument.size() - 4, {kind::event, r_.below(2)}});
    }
    call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS, std::move(argument), std::move(patches));
  }
  // Reads and writes of the configuration space, whose bytes are in memory of every kind.
  void access_from_odd_memory() {
    const ref on = some_opened();
    if (not_compared(on)) return;
    const bool reads = r_.percent(60);
    step& s = add({.what = reads ? verb::pread : verb::pwrite, .on = on, .name = "config"});
    s.number = config + (reads ? 4 * static_cast<unsigned>(r_.below(10)) : PCI_INTERRUPT_LINE);
    s.argument.resize(reads ? r_.of<std::size_t>({4, 8}) : r_.of<std::size_t>({1, 1, 0}), 0x21);
    s.where = r_.of({place::straddling, place::null, place::unmapped, place::read_only, place::high,
                     place::tight});
  }
  // Memory at the end of the addresses.
  void map_end_of_memory() {
    const std::uint64_t size = m_.page * static_cast<unsigned>(1 + r_.below(2));
    const std::uint64_t from = ~std::uint64_t{0} - m_.page + 1;
    const std::uint64_t where = iova();
    if (r_.percent(50)) {
      call(some(some_container()), "MAP_DMA", VFIO_IOMMU_MAP_DMA,
           bytes(std::uint32_t{32}, 3U, from, where, size));
      return;
    }
    const ref on = some(kind::iommufd);
    u::iommu_ioas_map m{};
    m.size = sizeof m;
    m.flags = u::map_readable | u::map_writeable | (r_.percent(50) ? u::map_fixed_iova : 0U);
    m.ioas_id = some_space(on);
    m.user_va = from;
    m.length = r_.percent(50) ? size : ~std::uint64_t{0};
    m.iova = where;
    call(on, "IOAS_MAP", u::request_ioas_map, bytes(m));
  }
};

}  // namespace vfio_lockstep
