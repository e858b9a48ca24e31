// SPDX-License-Identifier: BSL-1.0
#include "view.hpp"

#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <linux/kvm.h>
#include <linux/pci_regs.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

namespace vfio_lockstep {

namespace sim = kvm_vfio::sim;
using sim::file_kind;

sim::file* view::file(ref on) const {
  const int fd = slots_.number(on);
  return fd < 0 ? nullptr : task_.file_of(fd);
}
sim::device_file* view::device_file(ref on) const {
  sim::file* const f = file(on);
  return f ? sim::device_of(*f) : nullptr;
}
sim::vfio_device* view::device(ref on) const {
  const sim::device_file* const d = device_file(on);
  return d ? &d->device() : nullptr;
}
sim::vfio_group* view::group(ref on) const {
  sim::file* const f = file(on);
  return f ? sim::group_of(*f) : nullptr;
}
sim::container* view::container(ref on) const {
  sim::file* const f = file(on);
  if (!f || f->kind() != file_kind::container) return nullptr;
  return &static_cast<sim::container_file*>(f)->get_container();
}
sim::iommufd_file* view::iommufd(ref on) const {
  sim::file* const f = file(on);
  return f && f->kind() == file_kind::iommufd ? static_cast<sim::iommufd_file*>(f) : nullptr;
}

int view::descriptors(const sim::file* f) const {
  int n = 0;
  for (int k = 0; k < kinds_with_slots; ++k)
    for (int i = 0; i < slots; ++i) n += file({static_cast<kind>(k), i}) == f ? 1 : 0;
  return n;
}

const sim::dma_map* view::mappings(ref on) const {
  if (const sim::container* const c = container(on))
    return c->driver() ? &c->driver()->mappings() : nullptr;
  const sim::iommufd_file* const f = iommufd(on);
  return f ? mappings(on, f->vfio_ioas()) : nullptr;
}
const sim::dma_map* view::mappings(ref on, std::uint32_t id) const {
  const sim::iommufd_file* const f = iommufd(on);
  if (!f) return nullptr;
  const auto found = f->objects().find(id);
  return found != f->objects().end() && found->second.kind == sim::iommufd_object::type::ioas
             ? &found->second.space.mappings()
             : nullptr;
}

std::string view::container_state(ref on) const {
  if (const sim::container* const c = container(on)) {
    if (!c->driver()) return c->groups().empty() ? "no group" : "group";
    const std::string name = c->driver()->name();
    if (name == "spapr_tce") return "TCE";
    return name + (c->driver()->mappings().size() != 0 ? ", mapped" : "");
  }
  const sim::dma_map* const m = mappings(on);
  if (!m) return "iommufd";
  return m->size() != 0 ? "iommufd with space, mapped" : "iommufd with space";
}
std::string view::group_kind(const sim::vfio_group& g) const {
  if (g.hardware.mediated()) return "mediated";
  return g.devices.size() > 1 ? "several devices" : "one device";
}
std::string view::group_state(ref on) const {
  const sim::vfio_group* const g = group(on);
  if (!g) return "";
  const bool open = std::any_of(g->devices.begin(), g->devices.end(),
                                [](const auto& d) { return d->open_count != 0; });
  if (g->iommufd) return open ? "in an iommufd, device open" : "in an iommufd";
  // A device that came from an iommufd stays open when the group leaves.
  if (!g->in_container) return open ? "alone, device open" : "alone";
  if (!g->in_container->driver()) return "in a container";
  return open ? "with an IOMMU, device open" : "with an IOMMU";
}
std::string view::armed(const sim::vfio_device& d) {
  const sim::pci_irqs& i = d.pci.irqs;
  switch (i.armed()) {
    case VFIO_PCI_INTX_IRQ_INDEX: {
      if (d.pci.config().at16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) return "INTx disabled";
      const bool unmask = i.has_unmask_event();
      if (i.masked()) return unmask ? "INTx masked, unmask eventfd" : "INTx masked";
      return unmask ? "INTx, unmask eventfd" : "INTx";
    }
    case VFIO_PCI_MSI_IRQ_INDEX: return i.armed_vectors() > 1 ? "several MSI" : "MSI";
    case VFIO_PCI_MSIX_IRQ_INDEX: return i.armed_vectors() > 1 ? "several MSI-X" : "MSI-X";
    default: return "idle";
  }
}
std::string view::device_state(ref on) const {
  const sim::device_file* const f = device_file(on);
  if (!f) return "";
  if (f->from_group()) {
    const sim::vfio_device& d = f->device();
    return d.group_iommufd ? "group in an iommufd" : "group";
  }
  if (!f->iommufd()) return "unbound";
  for (const auto& [id, o] : f->iommufd()->objects())
    if (o.kind == sim::iommufd_object::type::device && o.device->name == f->device().name())
      return o.attached_to ? "attached" : "bound";
  return "bound";
}
std::string view::object_state(const sim::iommufd_file* f, std::uint32_t id) {
  const auto found = f->objects().find(id);
  if (found == f->objects().end()) return "no object";
  const sim::iommufd_object& o = found->second;
  switch (o.kind) {
    case sim::iommufd_object::type::device: return o.device->mediated ? "mediated" : "device";
    case sim::iommufd_object::type::hwpt: return o.users != 0 ? "page table in use" : "page table";
    case sim::iommufd_object::type::fault: return "fault queue";
    case sim::iommufd_object::type::ioas: break;
  }
  return o.users != 0 ? "space in use" : o.space.mappings().size() != 0 ? "space, mapped" : "space";
}
std::string view::vm_state(ref on) const {
  const auto found = vms_.find(file(on));
  if (found == vms_.end()) return "new";
  return found->second.irqchip    ? found->second.kvm_vfio ? "irqchip and kvm-vfio" : "irqchip"
         : found->second.kvm_vfio ? "kvm-vfio"
                                  : "new";
}
std::string view::event_state(ref on) const {
  sim::file* const f = file(on);
  const sim::event_file* const e = f ? f->as_event() : nullptr;
  if (!e) return "";
  return std::string(e->count() != 0 ? "signalled" : "0") + (e->has_consumer() ? ", unmasks" : "");
}

bool view::tracks_any(ref kvm_vfio) const {
  const sim::file* const f = file(kvm_vfio);
  return std::any_of(tracked_.begin(), tracked_.end(), [&](const auto& t) { return t.first == f; });
}
void view::remember(const step& s, const sim::file* before, bool good) {
  if (!good) return;
  // A new file may have the address of an old one.
  if (s.makes && s.what != verb::dup) {
    const sim::file* const made = file(s.made);
    vms_.erase(made);
    std::erase_if(tracked_, [&](const auto& t) { return t.first == made || t.second == made; });
  }
  if (s.what != verb::ioctl) return;
  if (s.request == KVM_CREATE_IRQCHIP) vms_[before].irqchip = true;
  if (s.request == KVM_CREATE_DEVICE) vms_[before].kvm_vfio = true;
  if (s.name == "FILE_ADD") tracked_.insert({before, file(s.pointee)});
  if (s.name == "FILE_DEL") tracked_.erase({before, file(s.pointee)});
}

}  // namespace vfio_lockstep
