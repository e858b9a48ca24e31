// SPDX-License-Identifier: BSL-1.0
// The simulator in a library (kvm_vfio/detail/compiled.hpp): topologies, and where they come from.
#include <kvm_vfio/sim/impl/sysfs_view.hpp>
#include <kvm_vfio/sim/impl/topology_check.hpp>
#include <kvm_vfio/sim/impl/topology_json.hpp>
#include <kvm_vfio/sim/impl/topology_sysfs.hpp>
#include <kvm_vfio/sim/topology/impl/error.hpp>
#include <kvm_vfio/sim/topology/impl/pci_capabilities.hpp>
