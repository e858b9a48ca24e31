// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The sequences of calls that each run makes with each device, before the random sequences. They
/// reach states that random sequences of this length rarely reach.

#include "bitmap_places.hpp"
#include "containers.hpp"
#include "file_modes.hpp"
#include "group_tables.hpp"
#include "interrupts.hpp"
#include "ioas_files.hpp"
#include "ioas_options.hpp"
#include "irq_sets.hpp"
#include "mapped_bars.hpp"
#include "msi_flags.hpp"
#include "no_iommu.hpp"
#include "odd_accesses.hpp"
#include "odd_arguments.hpp"
#include "odd_events.hpp"
#include "odd_ioas.hpp"
#include "odd_mappings.hpp"
#include "odd_owners.hpp"
#include "page_tables.hpp"
#include "power_states.hpp"
#include "recorder.hpp"
#include "registers.hpp"
#include "tce_tables.hpp"
#include "two_ioas.hpp"
#include "two_mappers.hpp"
#include "two_processes.hpp"
#include "two_vms.hpp"
#include "virtual_functions.hpp"
#include "vm_events.hpp"
#include "vms.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace vfio_lockstep::fixed {

/// The names of the sequences.
inline constexpr std::string_view names[] = {
    "interrupts",   "MSI flags",         "registers",     "hot resets",   "mapped BARs",
    "containers",   "iommufd",           "IOAS options",  "IOAS files",   "page tables",
    "VMs",          "virtual functions", "odd arguments", "file modes",   "odd bitmaps",
    "VM events",    "interrupt sets",    "power states",  "group tables", "odd mappings",
    "odd requests", "odd accesses",      "odd events",    "odd owners",   "TCE tables"};

/// Returns whether no device of the group stands in front of this one.
inline bool first_of_group(const target& t, const machine& m) {
  for (const target& other : m.targets)
    if (other.group == t.group) return other.device == t.device;
  return true;
}

/// Returns another device of the group. Null: there is none.
inline const target* second_of_group(const target& t, const machine& m) {
  for (const target& other : m.targets)
    if (other.group == t.group && other.device != t.device) return &other;
  return nullptr;
}

/// Returns whether this is the first device whose own calls are compared.
inline bool first_comparable(const target& t, const machine& m) {
  for (const target& other : m.targets)
    if (other.comparable) return other.device == t.device;
  return false;
}

/// Returns whether a device has no virtual functions, and is none. A reset of a physical function
/// takes its virtual functions away.
inline bool without_functions(const target& t, const machine& m) {
  for (const target& other : m.targets)
    if (other.physical == t.device) return false;
  return t.physical.empty();
}

/// Makes the calls of a sequence with a device.
/// \return a line for each answer; none: the sequence is not for this device or machine
template <class System>
std::vector<std::string> run(std::string_view name, const System& sys, const target& t,
                             const machine& m, const dma_memory& memory) {
  recorder<System> on(sys, m, t.no_iommu);
  if (name == "interrupts") {
    use_interrupts(on, t);
  } else if (name == "MSI flags") {
    use_msi_flags(on, t);
  } else if (name == "registers") {
    use_registers(on, t, m);
  } else if (name == "hot resets") {
    use_hot_reset(on, t, m);
  } else if (name == "mapped BARs" && m.maps) {
    mapped_bar_of_group(on, t, m);
    if (!t.cdev.empty()) mapped_bar_of_file(on, t, m);
  } else if (name == "containers" && first_of_group(t, m)) {
    use_container(on, t, m, memory, "/dev/vfio/vfio");
    if (m.iommufd) use_container(on, t, m, memory, "/dev/iommu");
  } else if (name == "virtual functions" && !t.physical.empty()) {
    virtual_function_calls<System>(on, t, m, memory).use();
  } else if (name == "VMs" && m.books && t.device == m.targets.front().device) {
    use_vms(on, m, memory);
  } else if (name == "odd arguments" && m.books && first_comparable(t, m)) {
    odd_arguments<System>(on, m, memory).run(t);
  } else if (name == "VM events" && m.books && first_comparable(t, m)) {
    vm_events<System>(on).run(t);
  } else if (name == "interrupt sets" && m.books && t.pci.msi_vectors + t.pci.msix_vectors > 1 &&
             first_of_group(t, m)) {
    irq_sets<System>(on, t).run();
  } else if (name == "power states" && m.books && without_functions(t, m)) {
    power_states<System>(on, t).run();
  } else if (name == "group tables" && m.books && without_functions(t, m) && first_of_group(t, m)) {
    group_tables<System>(on, m, memory).run(t, second_of_group(t, m));
  } else if (name == "file modes" && m.maps && first_comparable(t, m)) {
    file_modes<System>(on, m).run(t);
  } else if (name == "odd bitmaps" && m.books && first_comparable(t, m)) {
    bitmap_places<System>(on, m, memory).run(t);
  } else if (name == "odd accesses" && m.books && t.comparable && without_functions(t, m) &&
             (t.pci.msix_vectors != 0 || t.device == m.targets.front().device)) {
    odd_accesses<System>(on, m, memory).run(t);
  } else if (name == "odd events" && m.books && first_comparable(t, m)) {
    odd_events<System>(on).run(t);
  } else if (name == "odd owners" && m.books && m.iommufd && first_of_group(t, m)) {
    if (const target* const second = second_of_group(t, m))
      odd_owners<System>(on, m, memory).run(t, *second);
  } else if (name == "TCE tables" && m.spapr && first_comparable(t, m)) {
    tce_tables<System>(on, m, memory).run(t);
  } else if (name == "odd mappings" && m.books && first_comparable(t, m)) {
    odd_mappings<System>(on, m, memory).run(t);
  } else if (name == "odd requests" && m.books && m.iommufd && first_comparable(t, m)) {
    odd_ioas<System>(on, m, memory).run(t);
  } else if (name == "iommufd" && !t.cdev.empty()) {
    use_iommufd(on, t, m, memory);
  } else if (name == "IOAS options" && !t.cdev.empty()) {
    ioas_options<System>(on, m, memory).run(t);
  } else if (name == "IOAS files" && m.iommufd && !t.cdev.empty()) {
    ioas_files<System>(on, m, memory).run(t);
  } else if (name == "page tables" && m.iommufd && t.device == m.targets.front().device) {
    page_tables<System>(on, m).run(t);
  }
  return on.finish();
}

/// The names of the sequences that a process and its child make.
inline constexpr std::string_view names_of_two[] = {"two processes", "two processes with a VM",
                                                    "two processes with a container",
                                                    "two processes with an iommufd"};

/// Makes the calls of a sequence with a device in two processes.
/// \param pair `real_pair` or `simulated_pair`, without a child
/// \return a line for each answer; none: the sequence is not for this device or machine
template <class Pair>
std::vector<std::string> run_two(std::string_view name, Pair& pair, const target& t,
                                 const machine& m, const dma_memory& memory) {
  recorder<typename Pair::system> on(pair.parent(), m);
  if (!m.books || !first_comparable(t, m)) return {};
  if (name == "two processes") two_processes<Pair>(on, pair, m).run(t);
  else if (name == "two processes with a VM") two_vms<Pair>(on, pair).run(t);
  else if (name == "two processes with a container")
    two_mappers<Pair>(on, pair, m, memory.there).run(t);
  else if (m.iommufd) two_ioas<Pair>(on, pair, m, memory.there).run(t);
  return on.finish();
}

/// The names of the sequences of `run` that are for devices without an IOMMU, too.
inline constexpr std::string_view names_without_iommu[] = {"interrupts", "MSI flags", "registers",
                                                           "hot resets", "mapped BARs"};

/// Makes the calls that are only for devices without an IOMMU.
/// \param raw_io called with a bool: sets whether the process has CAP_SYS_RAWIO
/// \return a line for each answer
template <class System, class Privilege>
std::vector<std::string> run_without_iommu(const System& sys, const target& t, const machine& m,
                                           const dma_memory& memory, Privilege raw_io) {
  recorder<System> on(sys, m, true);
  no_iommu_calls<System, Privilege>(on, t, m, memory, raw_io).use();
  return on.finish();
}

}  // namespace vfio_lockstep::fixed
