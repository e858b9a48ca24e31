// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The devices with which the example's VMM (examples/06_passthrough) runs on a booted kernel and
/// on the simulator.

#include <kvm_vfio/sim/topology.hpp>

#include "06_passthrough/report.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

/// How the VMM gets a device, or why the VMM leaves the device out.
struct passthrough_case {
  std::string name;        ///< the device, for messages
  vmm::chosen device{};    ///< how the VMM gets the device
  std::string left_out{};  ///< the reason; empty: the VMM uses the device
};

/// Returns the devices that VFIO drives, in the order of the groups. A device with a file of its
/// own is there twice: from its group and by its file.
/// \param t            the machine
/// \param device_files whether the kernel has files of devices
[[nodiscard]] inline std::vector<passthrough_case> passthrough_cases(
    const kvm_vfio::sim::topology& t, bool device_files) {
  using kvm_vfio::sim::device_spec;
  using kvm_vfio::sim::driver;
  std::vector<passthrough_case> cases;
  for (const kvm_vfio::sim::group_spec& g : t.groups) {
    const bool viable = std::none_of(g.devices.begin(), g.devices.end(),
                                     [](const device_spec& d) { return d.bound == driver::other; });
    for (const device_spec& d : g.devices) {
      if (d.bound != driver::vfio) continue;
      std::string why;
      if (g.iommu.empty()) why = "no IOMMU";
      else if (d.mediated) why = "a mediated device";
      else if (d.pci.msi_vectors == 0) why = "no MSI vector";
      else if (!viable) why = "its group is not viable";
      cases.push_back({"group " + std::to_string(g.number) + " device " + d.name,
                       {.group = g.number, .name = d.name},
                       why});
      if (device_files && d.file_number >= 0)
        cases.push_back({"device file " + std::to_string(d.file_number) + " of " + d.name,
                         {.file = d.file_number},
                         std::move(why)});
    }
  }
  return cases;
}

}  // namespace vfio_lockstep
