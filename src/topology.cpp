// SPDX-License-Identifier: BSL-1.0
// The simulator in a library (kvm_vfio/detail/compiled.hpp): topologies, and where they come from.
#include <kvm_vfio/sim/impl/pci_capabilities.hpp>
#include <kvm_vfio/sim/impl/topology_check.hpp>
#include <kvm_vfio/sim/impl/topology_error.hpp>
#include <kvm_vfio/sim/impl/topology_json.hpp>
#include <kvm_vfio/sim/impl/topology_sysfs.hpp>
