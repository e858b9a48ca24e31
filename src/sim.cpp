// SPDX-License-Identifier: BSL-1.0
// The simulator in a library (kvm_vfio/detail/compiled.hpp): VFIO and processes.
#include <kvm_vfio/sim/impl/container.hpp>
#include <kvm_vfio/sim/impl/device_file.hpp>
#include <kvm_vfio/sim/impl/dma_map.hpp>
#include <kvm_vfio/sim/impl/dump.hpp>
#include <kvm_vfio/sim/impl/file.hpp>
#include <kvm_vfio/sim/impl/group_file.hpp>
#include <kvm_vfio/sim/impl/ioas.hpp>
#include <kvm_vfio/sim/impl/ioctl.hpp>
#include <kvm_vfio/sim/impl/iommu_driver.hpp>
#include <kvm_vfio/sim/impl/iommufd.hpp>
#include <kvm_vfio/sim/impl/objects.hpp>
#include <kvm_vfio/sim/impl/pci_config.hpp>
#include <kvm_vfio/sim/impl/pci_endpoint.hpp>
#include <kvm_vfio/sim/impl/pci_irqs.hpp>
#include <kvm_vfio/sim/impl/process.hpp>
#include <kvm_vfio/sim/impl/quotes.hpp>
#include <kvm_vfio/sim/impl/snapshot.hpp>
#include <kvm_vfio/sim/impl/spapr.hpp>
#include <kvm_vfio/sim/impl/sparse_bytes.hpp>
#include <kvm_vfio/sim/impl/symbols.hpp>
#include <kvm_vfio/sim/impl/type1.hpp>
#include <kvm_vfio/sim/impl/world.hpp>
