// SPDX-License-Identifier: BSL-1.0
#include "facts.hpp"

#include "first_messages.hpp"
#include "support/real_system.hpp"
#include "support/vmm.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/topology_json.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>

#include <linux/vfio.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>

namespace vfio_lockstep {

namespace sim = kvm_vfio::sim;

namespace {

/// What sysfs does not tell: what the IOMMU's page sizes are and where its addresses end. The
/// kernel is asked once; every later answer that depends on it is compared.
void ask_for_iommu(facts& f) {
  using kvm_vfio::errc;
  support::vmm sys{support::real_system()};
  for (const target& t : f.has.targets) {
    const int number = std::atoi(t.group.c_str() + std::strlen("/dev/vfio/"));
    const auto container = sys.open("/dev/vfio/vfio");
    const auto fd = sys.open(t.group.c_str());
    struct {
      vfio_iommu_type1_info info;
      unsigned char more[1024];
    } reply{};
    reply.info.argsz = sizeof reply;
    const bool answered = container && fd && sys.set_container(*fd, *container) == errc::ok &&
                          sys.set_iommu(*container) == errc::ok &&
                          sys.ioctl_at(*container, VFIO_IOMMU_GET_INFO, reply) == errc::ok;
    if (fd) (void)sys.close(*fd);
    if (container) (void)sys.close(*container);
    if (!answered) continue;
    const auto* const raw = reinterpret_cast<const unsigned char*>(&reply);
    for (sim::iommu_spec& iommu : f.topology.iommus) {
      if (iommu.name != "group" + std::to_string(number)) continue;
      iommu.page_sizes = reply.info.iova_pgsizes;
      for (std::uint32_t at = reply.info.cap_offset; at != 0;) {
        vfio_info_cap_header header{};
        std::memcpy(&header, raw + at, sizeof header);
        if (header.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
          std::uint32_t count = 0;
          std::memcpy(&count, raw + at + sizeof header, sizeof count);
          sim::iova_range last{};
          if (count > 0)
            std::memcpy(&last, raw + at + sizeof header + 8 + (count - 1) * sizeof last,
                        sizeof last);
          if (last.last != 0) iommu.aperture = {0, last.last};
        }
        at = header.next;
      }
    }
  }
}

/// How many devices are reset with a device, in the words of the combinations.
std::string bus_of(const sim::topology& t, const sim::device_spec& of) {
  if (!of.pci.bus_resets) return "no bus reset";
  int on_bus = 0;
  for (const sim::group_spec& g : t.groups)
    for (const sim::device_spec& d : g.devices)
      if (!d.mediated && d.name.rfind(':') == of.name.rfind(':') &&
          d.name.compare(0, d.name.rfind(':'), of.name, 0, of.name.rfind(':')) == 0)
        ++on_bus;
  return on_bus == 1 ? "alone on its bus" : "several on its bus";
}

/// The topology of this machine.
sim::topology topology_from_host(bool coherent) {
  sim::topology_result host = sim::topology_from_sysfs("/sys", coherent);
  if (!host) throw std::runtime_error("the topology from /sys is wrong:\n" + to_text(host.errors));
  return std::move(host.machine);
}

/// Finds the devices that VFIO drives.
void find_targets(facts& f) {
  for (const sim::group_spec& g : f.topology.groups)
    for (const sim::device_spec& d : g.devices) {
      if (d.bound != sim::driver::vfio) continue;
      target found{.group = "/dev/vfio/" + std::to_string(g.number),
                   .device = d.name,
                   .comparable = !d.mediated,
                   .pci = d.pci,
                   .bus = bus_of(f.topology, d)};
      f.has.mediated = f.has.mediated || d.mediated;
      f.has.several = f.has.several || g.devices.size() > 1;
      found.file_number = d.file_number;
      found.physical = d.physical_function;
      if (g.iommu.empty()) {
        found.group = "/dev/vfio/noiommu-" + std::to_string(g.number);
        found.no_iommu = true;
        f.has.no_iommu.push_back(std::move(found));
        continue;
      }
      if (d.file_number >= 0) found.cdev = "/dev/vfio/devices/vfio" + std::to_string(d.file_number);
      f.has.targets.push_back(std::move(found));
    }
  for (target& t : f.has.targets)
    for (const target& of : f.has.targets)
      if (of.device == t.physical) t.physical_group = of.group;
}

}  // namespace

sim::linux_release release_of(const std::string& profile) {
  if (profile == "6.1") return sim::release_of<kvm_vfio::linux_6_1>();
  return profile == "6.12" ? sim::release_of<kvm_vfio::linux_6_12>()
                           : sim::release_of<kvm_vfio::linux_7_3>();
}

sim::topology read_topology(const std::string& path) {
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (text.empty()) throw std::runtime_error("cannot read " + path);
  sim::topology_result read = sim::topology_from_json(text);
  if (!read) throw std::runtime_error(path + ":\n" + to_text(read.errors));
  return std::move(read.machine);
}

facts facts_of(sim::topology t, const circumstances& c, const equipment& e) {
  facts f;
  f.topology = std::move(t);
  f.has.page = e.page;
  f.has.maps = f.has.page == 4096;
  // Where a device of another machine refuses a size, the host gets an external abort.
  f.has.any_access = c.cpu == processor::x86;
  // Sysfs does not tell whether QEMU's IOMMU enforces coherency and remaps interrupts.
  f.world.allow_unsafe_interrupts = c.unsafe;
  for (sim::iommu_spec& iommu : f.topology.iommus) {
    iommu.snoop_control = c.coherent;
    iommu.interrupt_remapping = c.remap;
  }
  f.has.remaps = c.remap;
  f.has.iommufd = e.iommufd;
  f.has.error_irq_always = release_of(c.profile).error_irq_always;
  f.has.tracks_devices = c.profile != "6.1";
  f.has.suspends = e.suspends;
  f.world.device_files = f.has.iommufd;
  if (!e.huge_pages) f.world.huge_page = f.has.page;
  if (c.cpu == processor::power) {
    f.world.iommu = sim::iommu_kind::spapr;
    f.has.spapr = true;
    f.has.page = 4096;  // the IOMMU's
  }
  find_targets(f);
  f.has.books = c.cpu == processor::x86;
  return f;
}

facts facts_of_this_machine(const circumstances& c, equipment& e) {
  sim::topology t = topology_from_host(c.coherent);
  if (c.cpu == processor::power) {
    for (const sim::group_spec& g : t.groups)
      for (const sim::device_spec& d : g.devices)
        if (d.bound == sim::driver::vfio && d.pci.msi_vectors != 0)
          arm_msi_once({.group = "/dev/vfio/" + std::to_string(g.number), .device = d.name},
                       VFIO_SPAPR_TCE_IOMMU);
    t = topology_from_host(c.coherent);
  }
  e.page = static_cast<unsigned>(::sysconf(_SC_PAGESIZE));
  e.iommufd = ::access("/dev/iommu", F_OK) == 0;
  e.huge_pages = ::access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
  e.suspends = false;
  for (const sim::group_spec& g : t.groups)
    for (const sim::device_spec& d : g.devices)
      e.suspends = e.suspends || (d.bound == sim::driver::vfio && suspended(d.name));
  facts f = facts_of(std::move(t), c, e);
  if (!f.has.spapr) ask_for_iommu(f);
  return f;
}

void forget_vectors(const machine& m) {
  if (!m.remaps) return;
  for (const target& t : m.targets)
    if (t.pci.msi_vectors > 1) arm_msi_once(t, VFIO_TYPE1v2_IOMMU);
}

}  // namespace vfio_lockstep
