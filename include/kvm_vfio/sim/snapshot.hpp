// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The state of a simulated kernel as plain data: a world with its VMs. snapshot_text.hpp writes
/// the state as text.

#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/pci/irqs.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kvm_vfio::sim {

/// The state of a file that a kvm-vfio tracks.
struct file_state {
  /// The path of the group's file, or the name of the device.
  std::string name{};
  /// The name of the VM that the last set_kvm gave to the file. Empty: no VM.
  std::string vm{};
  /// Whether VFIO answers that the file is enforced coherent.
  bool coherent = true;
  /// The reason for this answer, in words.
  std::string why{};
  /// The number of references on the open file.
  int references = 0;
  /// Compares all members.
  friend bool operator==(const file_state&, const file_state&) = default;
};
/// A memory slot of a VM (KVM_SET_USER_MEMORY_REGION).
struct slot_state {
  /// The number of the slot.
  std::uint32_t number = 0;
  /// KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY.
  std::uint32_t flags = 0;
  /// The first address in the VM.
  std::uint64_t guest = 0;
  /// The size in bytes.
  std::uint64_t size = 0;
  /// The address in the process.
  std::uint64_t address = 0;
  /// Compares all members.
  friend bool operator==(const slot_state&, const slot_state&) = default;
};
/// The state of a VM.
struct vm_state {
  /// The name: "vm" and the number of the VM, in the order of creation ("vm0").
  std::string name{};
  /// The number of references on the VM.
  int users = 0;
  /// How often noncoherent DMA is registered.
  int noncoherent = 0;
  /// The number of assigned files (Linux up to 6.12).
  int assigned = 0;
  /// Whether the VM has a kvm-vfio.
  bool has_device = false;
  /// The files that the kvm-vfio tracks, in the order of its list.
  std::vector<file_state> tracked{};
  /// The memory slots, by their numbers.
  std::vector<slot_state> memory{};
  /// The numbers of the interrupts that have irqfds, in the order of the calls of KVM_IRQFD.
  std::vector<int> irqfds{};
  /// The number of ioeventfds.
  int ioeventfds = 0;
  /// Compares all members.
  friend bool operator==(const vm_state&, const vm_state&) = default;
};
/// The state of an armed kind of interrupt of a device.
struct interrupt_state {
  /// The number of the kind (VFIO_PCI_*_IRQ_INDEX).
  std::uint32_t index = 0;
  /// The vectors that have an eventfd, counted from 0.
  std::vector<int> vectors{};
  /// Whether the interrupt is masked. Only INTx can be.
  bool masked = false;
  /// Compares all members.
  friend bool operator==(const interrupt_state&, const interrupt_state&) = default;
};
/// The state of a passed-through device.
struct device_state {
  /// The address of the device on its bus.
  std::string name{};
  /// How often the device is open.
  int open_count = 0;
  /// The name of the VM that the driver saw when the device was opened. Empty: no VM.
  std::string vm{};
  /// Whether the device holds a reference on this VM.
  bool holds_vm = false;
  /// The index in `snapshot::iommufds` of the iommufd that the device is bound to. -1: none.
  int iommufd = -1;
  /// The armed kinds of interrupts.
  std::vector<interrupt_state> interrupts{};
  /// Compares all members.
  friend bool operator==(const device_state&, const device_state&) = default;
};
/// The state of a group.
struct group_state {
  /// The N of /dev/vfio/N.
  int number = 0;
  /// Whether the file of the group is open.
  bool open = false;
  /// The flag VFIO_GROUP_FLAGS_VIABLE that VFIO_GROUP_GET_STATUS returns.
  bool viable = true;
  /// The index in `snapshot::containers` of the container that the group is in. -1: none.
  int container = -1;
  /// The index in `snapshot::iommufds` of the iommufd that the group uses instead of a container.
  /// -1: none.
  int iommufd = -1;
  /// The name of the VM that the last set_kvm gave to the group. Empty: no VM.
  std::string vm{};
  /// The devices of the group, in the order of the topology.
  std::vector<device_state> devices{};
  /// Compares all members.
  friend bool operator==(const group_state&, const group_state&) = default;
};
/// The state of an IOMMU domain: a domain of a container, or a page table of an iommufd.
struct domain_state {
  /// Whether the IOMMU makes all DMA through the domain coherent.
  bool enforce_coherency = false;
  /// The numbers of the groups in the domain. In a page table of an iommufd a group stands once for
  /// each attached device.
  std::vector<int> groups{};
  /// Compares all members.
  friend bool operator==(const domain_state&, const domain_state&) = default;
};
/// A DMA mapping of a container or of an I/O address space.
struct mapping_state {
  /// The first I/O virtual address.
  std::uint64_t iova = 0;
  /// The size in bytes.
  std::uint64_t size = 0;
  /// The address of the memory in the process, or its offset in a file.
  std::uint64_t address = 0;
  /// The flags of the call that made the mapping.
  std::uint32_t flags = 0;
  /// Whether the mapping has lost its address in the process (VFIO_DMA_UNMAP_FLAG_VADDR).
  bool stale = false;
  /// Whether the memory is that of a file (IOMMU_IOAS_MAP_FILE).
  bool of_file = false;
  /// Compares all members.
  friend bool operator==(const mapping_state&, const mapping_state&) = default;
};
/// The state of a container.
struct container_state {
  /// Whether the file of the container is open. False: only its groups keep the container.
  bool open = true;
  /// The name of the IOMMU driver. Empty: VFIO_SET_IOMMU has not succeeded yet.
  std::string iommu{};
  /// The numbers of the groups in the container, in the order in which they joined.
  std::vector<int> groups{};
  /// The IOMMU domains of the container.
  std::vector<domain_state> domains{};
  /// The mappings, by their addresses.
  std::vector<mapping_state> mappings{};
  /// Compares all members.
  friend bool operator==(const container_state&, const container_state&) = default;
};
/// The state of an I/O address space (IOAS) of an iommufd.
struct ioas_state {
  /// The number of the object in the iommufd.
  std::uint32_t id = 0;
  /// The mappings, by their addresses.
  std::vector<mapping_state> mappings{};
  /// The names of the devices that are attached to the address space or to one of its page tables,
  /// in the order in which the devices were bound.
  std::vector<std::string> devices{};
  /// Compares all members.
  friend bool operator==(const ioas_state&, const ioas_state&) = default;
};
/// The state of a page table (HWPT) of an iommufd.
struct table_state {
  /// The number of the object in the iommufd.
  std::uint32_t id = 0;
  /// The number of the address space whose mappings the page table translates.
  std::uint32_t ioas = 0;
  /// The IOMMU domain of the page table.
  domain_state pages{};
  /// Compares all members.
  friend bool operator==(const table_state&, const table_state&) = default;
};
/// The state of an iommufd.
struct iommufd_state {
  /// The I/O address spaces, by their numbers.
  std::vector<ioas_state> spaces{};
  /// The page tables, by their numbers.
  std::vector<table_state> tables{};
  /// The number of the address space for VFIO (IOMMU_VFIO_IOAS). 0: there is none.
  std::uint32_t vfio_ioas = 0;
  /// The names of the bound devices, by the numbers of their objects.
  std::vector<std::string> devices{};
  /// Compares all members.
  friend bool operator==(const iommufd_state&, const iommufd_state&) = default;
};

struct snapshot;
namespace detail {
[[nodiscard]] bool same_state(const snapshot& a, const snapshot& b);
}  // namespace detail

/// The state of a world and of its VMs.
struct snapshot {
  /// The name of the Linux release ("Linux 7.3").
  std::string release{};
  /// The VMs that still have users, in the order of creation.
  std::vector<vm_state> vms{};
  /// All groups, by their numbers.
  std::vector<group_state> groups{};
  /// All containers, in the order of creation.
  std::vector<container_state> containers{};
  /// All iommufds, in the order of creation.
  std::vector<iommufd_state> iommufds{};

  // These are compiled once, and not in each program that looks.
  /// Makes an empty snapshot.
  snapshot();
  /// Copies all members.
  snapshot(const snapshot&);
  /// Takes all members.
  snapshot(snapshot&&) noexcept;
  /// Copies all members.
  snapshot& operator=(const snapshot&);
  /// Takes all members.
  snapshot& operator=(snapshot&&) noexcept;
  ~snapshot();
  /// Compares the states, and not the order in which they came to be. So the order of the files
  /// that a kvm-vfio tracks does not count. VMs, containers and iommufds
  /// can have other numbers in the other snapshot, for example because a VM came and went. All
  /// other members must be equal. snapshot_difference.hpp tells what differs.
  [[nodiscard]] friend bool operator==(const snapshot& a, const snapshot& b) {
    return detail::same_state(a, b);
  }
};

namespace detail {
[[nodiscard]] inline std::string name_of(const vm_base* vm) { return vm ? vm->name() : ""; }
[[nodiscard]] domain_state state_of(const domain& d);
[[nodiscard]] container_state state_of(const container& c);
[[nodiscard]] iommufd_state state_of(const iommufd_file& f);
[[nodiscard]] std::vector<mapping_state> state_of(const dma_map& m);
[[nodiscard]] std::vector<interrupt_state> state_of(const pci_irqs& i);
// The snapshot with canonical numbers: VMs, containers and iommufds stand in an order that depends
// only on their own states, and the VMs have the names "vm0", "vm1" and so on.
[[nodiscard]] snapshot canonical(const snapshot& given);
// The order of the numbers 0, 1 and so on, sorted by the text of each number.
[[nodiscard]] std::vector<std::size_t> sorted(const std::vector<std::string>& texts);
// The place of a number in an order. -1 stays -1.
[[nodiscard]] int moved(const std::vector<std::size_t>& order, int index);
[[nodiscard]] std::string text_of(const std::vector<mapping_state>& all);
}  // namespace detail

/// Reads the state of a file. Holds the world's lock while VFIO is asked for the coherency and the
/// VM of the file.
[[nodiscard]] file_state state_of(world& w, file& f);

/// Reads the state of a world. Names and most memory are prepared before the world's lock is taken,
/// so that calls of other threads wait only a short time.
/// \param w   the world
/// \param vms the VMs, from `kernel::vms`; they become a part of the result
[[nodiscard]] snapshot snapshot_of(world& w, std::vector<vm_state> vms = {});

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/snapshot.hpp>
#endif
