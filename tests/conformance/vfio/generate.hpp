// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Sequences of steps for a machine.

#include "step.hpp"

#include <kvm_vfio/sim/topology.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vfio_lockstep {

/// A device that VFIO drives.
struct target {
  std::string group;        ///< the path of its group
  std::string device;       ///< its name
  std::string cdev{};       ///< its character device; empty: there is none
  bool comparable = false;  ///< the simulated device is the machine's: its ioctls are compared
  kvm_vfio::sim::pci_spec pci{};  ///< what the simulator is told of the device
  int file_number = -1;           ///< the N of vfioN
  bool no_iommu = false;          ///< no IOMMU handles the device
  std::string physical{};         ///< the physical function, if it is a virtual function
  std::string physical_group{};   ///< the path of its group; empty: VFIO does not drive it
  std::string bus{};              ///< "no bus reset", "alone on its bus" or "several on its bus"
};

struct machine {
  std::vector<target> targets;
  std::vector<target>
      no_iommu{};  ///< the devices that no IOMMU handles, which are not in `targets`
  bool iommufd = false;
  bool spapr = false;
  bool mediated = false;          ///< a target is a mediated device
  bool several = false;           ///< a group of a target has several devices
  bool error_irq_always = false;  ///< conventional functions have the error interrupt, too
  bool tracks_devices = true;     ///< kvm-vfio takes devices, too, not only groups
  bool books = false;      ///< x86: the memory slots, irqfds and ioeventfds of VMs are compared
  bool any_access = true;  ///< a BAR can be read with any size; else only words are read
  bool remaps = false;     ///< the IOMMU remaps interrupts, so a function has several MSI vectors
  bool suspends = false;   ///< the kernel suspends devices, and tells it in sysfs
  bool maps = true;        ///< BARs are mapped; the simulator has pages of 4 KiB
  std::uint64_t page = 4096;
};

class view;
class combinations;

/// Makes the steps of a sequence, a few at a time. Each choice depends on the state of the
/// simulator and on the combinations that were compared seldom.
class source {
 public:
  source() = default;
  source(const source&) = delete;
  source& operator=(const source&) = delete;
  virtual ~source() = default;
  /// Returns the next steps. Empty: the sequence ends.
  virtual std::vector<step> next() = 0;
};

struct row;

/// Makes a sequence of about `length` steps that ends with the close of all descriptors.
/// \param seed   where the random numbers start
/// \param length how many steps
/// \param m      the machine; must outlive the source
/// \param now    the state of the simulator; must outlive the source
/// \param seen   the combinations that were compared; must outlive the source
std::unique_ptr<source> make_source(std::uint64_t seed, int length, const machine& m,
                                    const view& now, combinations& seen);
/// Makes the sequence that the bytes of an input choose. The close of all descriptors ends it.
/// \param input the bytes
/// \param m     the machine; must outlive the source
/// \param rows  the combinations that the machine can reach; must outlive the source
/// \param now   the state of the simulator; must outlive the source
std::unique_ptr<source> make_source(std::vector<unsigned char> input, const machine& m,
                                    const std::vector<row>& rows, const view& now);

}  // namespace vfio_lockstep
