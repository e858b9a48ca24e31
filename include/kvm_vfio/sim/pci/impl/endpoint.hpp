// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of endpoint.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/pci_regs.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE pci_endpoint::pci_endpoint(const pci_spec& spec, const linux_release& release,
                                           std::uint32_t most_msi, bool is_virtual)
    : irqs(spec, release, most_msi, is_virtual),
      spec_(spec),
      release_(release),
      config_(spec, is_virtual) {}

KVM_VFIO_INLINE std::uint64_t pci_endpoint::size(std::uint32_t index) const noexcept {
  if (index == VFIO_PCI_CONFIG_REGION_INDEX) return config_.size();
  if (index == VFIO_PCI_ROM_REGION_INDEX) return spec_.rom_size;
  return index < spec_.bars.size() && index < PCI_STD_NUM_BARS ? spec_.bars[index].size : 0;
}

KVM_VFIO_INLINE bool pci_endpoint::mappable(std::uint32_t index) const noexcept {
  if (index > VFIO_PCI_BAR5_REGION_INDEX || is_io(index)) return false;
  return size(index) >= page || (small_ >> index & 1) != 0;
}

KVM_VFIO_INLINE void pci_endpoint::allow_small(const std::map<std::uint64_t, int>& in_page) {
  for (std::size_t i = 0; i < spec_.bars.size() && i < PCI_STD_NUM_BARS; ++i) {
    const bar_spec& bar = spec_.bars[i];
    if (bar.size == 0 || bar.size >= page || bar.io) continue;
    if (bar.address == 0 || bar.address % page != 0) continue;
    const auto found = in_page.find(bar.address / page);
    if (found == in_page.end() || found->second == 1) small_ |= 1U << i;
  }
}

KVM_VFIO_INLINE bool pci_endpoint::is_io(std::uint32_t index) const noexcept {
  return index < spec_.bars.size() && spec_.bars[index].io;
}

KVM_VFIO_INLINE answer pci_endpoint::ioctl(process& task, std::uint32_t request,
                                           std::uint64_t argument) {
  switch (request) {
    case VFIO_DEVICE_GET_INFO: return get_info(task, argument);
    case VFIO_DEVICE_GET_REGION_INFO: return get_region_info(task, argument);
    case VFIO_DEVICE_GET_IRQ_INFO: return get_irq_info(task, argument);
    case VFIO_DEVICE_SET_IRQS: {
      irqs.set_awake(config_.power() == 0);
      const answer a = irqs.set(task, argument);
      follow_irqs();
      return a;
    }
    case VFIO_DEVICE_RESET:
      if (!spec_.resets) return errc::inval;
      hot_reset();
      return 0;
    default: return errc::notty;
  }
}

KVM_VFIO_INLINE answer pci_endpoint::read(void* to, std::size_t size, std::uint64_t offset) const {
  if (size == 0) return 0;
  const span s = find(offset, size);
  auto* const bytes = static_cast<unsigned char*>(to);
  if (s.error != errc::ok) {
    // The part of the MSI-X table in front arrives before the first byte of memory fails.
    std::memset(bytes, 0xff, read_before_error(size, offset));
    return s.error;
  }
  if (s.index == VFIO_PCI_CONFIG_REGION_INDEX) {
    const auto first = kvm_vfio::detail::convert<std::size_t>(s.at);
    for (std::size_t i = 0; i < s.size; ++i) bytes[i] = config_.at(first + i);
  } else if (s.index == VFIO_PCI_ROM_REGION_INDEX) {
    std::memset(bytes, 0xff, s.size);
  } else {
    bars_[s.index].read(s.at, bytes, s.size);
    const span table = table_in(s);
    if (table.size != 0) std::memset(bytes + (table.at - s.at), 0xff, table.size);
  }
  return static_cast<std::int64_t>(s.size);
}

KVM_VFIO_INLINE std::size_t pci_endpoint::read_before_error(std::size_t size,
                                                            std::uint64_t offset) const {
  const span s = find(offset, size);
  const span table = s.error == errc::io ? table_in(s) : span{};
  return table.size != 0 && table.at == s.at ? table.size : 0;
}

KVM_VFIO_INLINE answer pci_endpoint::write(const void* from, std::size_t size,
                                           std::uint64_t offset) {
  if (size == 0) return 0;
  const span s = find(offset, size);
  if (s.error != errc::ok) return s.error;
  if (s.index == VFIO_PCI_ROM_REGION_INDEX) return errc::inval;
  const auto* const bytes = static_cast<const unsigned char*>(from);
  if (s.index == VFIO_PCI_CONFIG_REGION_INDEX) {
    const auto first = kvm_vfio::detail::convert<std::size_t>(s.at);
    for (std::size_t i = 0; i < s.size; ++i) config_.write(first + i, bytes[i]);
    irqs.disable_intx((config_.at16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) != 0);
    return static_cast<std::int64_t>(s.size);
  }
  const span table = table_in(s);
  const std::uint64_t end = s.at + s.size;
  const std::uint64_t first_end = table.size == 0 ? end : table.at;
  bars_[s.index].prepare(s.at, s.size);
  bars_[s.index].write(s.at, bytes, kvm_vfio::detail::convert<std::size_t>(first_end - s.at));
  if (table.size == 0) return static_cast<std::int64_t>(s.size);
  const std::uint64_t behind = table.at + table.size;
  bars_[s.index].write(behind, bytes + (behind - s.at),
                       kvm_vfio::detail::convert<std::size_t>(end - behind));
  return static_cast<std::int64_t>(s.size);
}

KVM_VFIO_INLINE result<pci_endpoint::mappable_part> pci_endpoint::find_mappable(
    std::uint64_t size, std::uint64_t offset) const noexcept {
  const std::uint64_t index = offset >> offset_shift;
  const std::uint64_t at = offset & ((std::uint64_t{1} << offset_shift) - 1);
  if (index > VFIO_PCI_BAR5_REGION_INDEX) return errc::inval;
  const auto region = static_cast<std::uint32_t>(index);
  if (!mappable(region)) return errc::inval;
  const std::uint64_t whole = (this->size(region) + page - 1) / page * page;
  if (at > whole || size > whole - at) return errc::inval;
  return mappable_part{region, at, whole};
}

KVM_VFIO_INLINE result<void*> pci_endpoint::map(std::uint64_t size, std::uint64_t offset) noexcept {
  const result<mappable_part> part = find_mappable(size, offset);
  if (!part) return part.error();
  unsigned char* const memory = bars_[part->region].map(part->size);
  if (!memory) return errc::nomem;
  return memory + static_cast<std::size_t>(part->at);
}

KVM_VFIO_INLINE result<shared_memory> pci_endpoint::share(std::uint64_t size,
                                                          std::uint64_t offset) noexcept {
  const result<mappable_part> part = find_mappable(size, offset);
  if (!part) return part.error();
  if (memory_.fd < 0) memory_.fd = ::memfd_create("kvm-vfio-device", MFD_CLOEXEC);
  const std::uint64_t first = std::uint64_t{part->region} << offset_shift;
  const auto end = static_cast<off_t>(first + part->size);
  const off_t now = memory_.fd < 0 ? -1 : ::lseek(memory_.fd, 0, SEEK_END);
  // The parts between the BARs take no memory.
  if (now < 0 || (now < end && ::ftruncate(memory_.fd, end) != 0) ||
      !bars_[part->region].map_file(part->size, memory_.fd, first))
    return errc::nomem;
  return shared_memory{memory_.fd, first + part->at};
}

KVM_VFIO_INLINE pci_endpoint::memory_file::~memory_file() {
  if (fd >= 0) (void)::close(fd);
}

KVM_VFIO_INLINE void pci_endpoint::close() noexcept {
  irqs.reset();
  follow_irqs();
  // Linux resets the function at the last close, if the function has a reset.
  if (spec_.resets) config_.reset_function();
  config_.reset();
}

KVM_VFIO_INLINE answer pci_endpoint::get_info(process& task, std::uint64_t argument) const {
  // The struct of newer kernels, which is longer than in older headers.
  struct {
    vfio_device_info head;
    std::uint32_t more[2];
  } info{};
  constexpr std::size_t least = offsetof(vfio_device_info, cap_offset);
  if (const errc e = detail::read_argsz(task, argument, info, least); e != errc::ok) return e;
  const std::size_t size = release_.info_written(info.head.argsz);
  info.head.flags = VFIO_DEVICE_FLAGS_PCI;
  if (spec_.resets) info.head.flags |= VFIO_DEVICE_FLAGS_RESET;
  info.head.num_regions = VFIO_PCI_NUM_REGIONS;
  info.head.num_irqs = VFIO_PCI_NUM_IRQS;
  info.head.cap_offset = 0;
  return detail::write_back(task, argument, info, size);
}

KVM_VFIO_INLINE answer pci_endpoint::get_region_info(process& task, std::uint64_t argument) const {
  vfio_region_info info{};
  if (const errc e = detail::read_argsz(task, argument, info, sizeof info); e != errc::ok) return e;
  if (info.index >= VFIO_PCI_VGA_REGION_INDEX) return errc::inval;
  info.flags = 0;
  info.size = size(info.index);
  info.offset = std::uint64_t{info.index} << offset_shift;
  if (info.size != 0) info.flags |= VFIO_REGION_INFO_FLAG_READ;
  if (info.size != 0 && info.index != VFIO_PCI_ROM_REGION_INDEX)
    info.flags |= VFIO_REGION_INFO_FLAG_WRITE;
  if (mappable(info.index)) info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
  detail::capability_chain caps;
  if (has_table(info.index) && mappable(info.index))
    caps.add(VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, {});
  if (!caps.empty()) {
    info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
    info.cap_offset = 0;  // without capabilities, VFIO leaves what the caller has there
    if (const errc e = caps.write_behind(task, argument, info); e != errc::ok) return e;
  }
  return detail::write_back(task, argument, info, sizeof info);
}

KVM_VFIO_INLINE answer pci_endpoint::get_irq_info(process& task, std::uint64_t argument) const {
  vfio_irq_info info{};
  if (const errc e = detail::read_argsz(task, argument, info, sizeof info); e != errc::ok) return e;
  if (info.index >= VFIO_PCI_NUM_IRQS ||
      (info.index == VFIO_PCI_ERR_IRQ_INDEX && irqs.count(info.index) == 0))
    return errc::inval;
  info.flags = VFIO_IRQ_INFO_EVENTFD;
  info.flags |= info.index == VFIO_PCI_INTX_IRQ_INDEX
                    ? VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
                : irqs.grows(info.index) ? 0U
                                         : std::uint32_t{VFIO_IRQ_INFO_NORESIZE};
  info.count = irqs.count(info.index);
  return detail::write_back(task, argument, info, sizeof info);
}

KVM_VFIO_INLINE bool pci_endpoint::has_table(std::uint32_t index) const noexcept {
  return spec_.msix_vectors != 0 && index == spec_.msix_table.bar;
}

KVM_VFIO_INLINE pci_endpoint::span pci_endpoint::find(std::uint64_t offset,
                                                      std::size_t count) const noexcept {
  const std::uint64_t index = offset >> offset_shift;
  const std::uint64_t at = offset & ((std::uint64_t{1} << offset_shift) - 1);
  if (index >= VFIO_PCI_VGA_REGION_INDEX) return {errc::inval};
  const auto region = static_cast<std::uint32_t>(index);
  const std::uint64_t end = size(region);
  if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
    if (at > end || count > end - at) return {errc::fault};
  } else {
    if (at >= end) return {errc::inval};
    if (count > end - at) count = kvm_vfio::detail::convert<std::size_t>(end - at);
    // VFIO answers for the MSI-X table itself, so memory need not be enabled.
    if (!is_io(region) && !config_.memory_enabled() &&
        table_in({errc::ok, region, at, count}).size != count)
      return {errc::io, region, at, count};
  }
  return {errc::ok, region, at, count};
}

KVM_VFIO_INLINE pci_endpoint::span pci_endpoint::table_in(const span& s) const noexcept {
  if (!has_table(s.index)) return {};
  const std::uint64_t start = spec_.msix_table.offset;
  const std::uint64_t first = std::max(s.at, start);
  const std::uint64_t end =
      std::min(s.at + s.size, start + std::uint64_t{spec_.msix_vectors} * PCI_MSIX_ENTRY_SIZE);
  if (first >= end) return {};
  return {errc::ok, s.index, first, kvm_vfio::detail::convert<std::size_t>(end - first)};
}

KVM_VFIO_INLINE void pci_endpoint::follow_irqs() noexcept {
  if (const std::uint32_t vectors = irqs.take_written_msi(); vectors != 0)
    config_.enable_msi(vectors);
  config_.arm_msi(irqs.armed() == VFIO_PCI_MSI_IRQ_INDEX);
  config_.enable_msix(irqs.armed() == VFIO_PCI_MSIX_IRQ_INDEX);
}

}  // namespace kvm_vfio::sim
