// SPDX-License-Identifier: BSL-1.0
// Tells which combination a step is.
#include "keys.hpp"

#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace vfio_lockstep {

namespace sim = kvm_vfio::sim;
namespace u = kvm_vfio::uapi;

namespace {

std::string object_of(const view& now, ref cdev, std::uint32_t id) {
  const sim::device_file* const f = now.device_file(cdev);
  return f && f->iommufd() ? view::object_state(f->iommufd(), id) : std::string("no iommufd");
}
// What is wrong with a range of addresses, or how the range lies among the mappings.
std::string range_in_words(std::uint64_t iova, std::uint64_t size, std::uint64_t page,
                           const sim::dma_map* mapped) {
  if (size == 0) return "size 0";
  if ((iova | size) % page != 0) return "not aligned";
  const std::uint64_t last = iova + size - 1;
  if (last < iova) return "wraps around";
  const sim::dma_mapping* const first = mapped ? mapped->find(iova, last) : nullptr;
  if (!first) return "free";
  bool whole = first->iova == iova;
  bool cut = false;
  for (const auto& [start, m] : mapped->all()) {
    if (m.iova > last || m.last() < iova) continue;
    cut = cut || m.iova < iova || m.last() > last;
    whole = whole && m.iova == iova && m.last() == last;
  }
  return cut ? "part of a mapping" : whole ? "a mapping" : "more than a mapping";
}

std::string map_in_words(const step& s, std::uint32_t access, std::uint64_t iova,
                         std::uint64_t memory, std::uint64_t size, std::uint64_t page,
                         const sim::dma_map* mapped) {
  if (access == 0) return "no access";
  std::string range = range_in_words(iova, size, page, mapped);
  if (range != "free" && range.find("mapping") == std::string::npos) return range;
  if (memory % page != 0) return "not aligned";
  if (s.patches.empty()) return "memory of another kind";
  if (iova + size > 0xfee00000 && iova <= 0xfeefffff) return "reserved";
  if (iova >= std::uint64_t{1} << 39) return "high address";
  return range == "free" ? range : "mapped";
}

std::string group_key(const step& s, const view& now) {
  const std::string state = now.group_state(s.on);
  const sim::vfio_group& g = *now.group(s.on);
  if (s.name == "SET_CONTAINER") {
    const patch* const p = first_patch(s);
    if (!p) return {};
    // A group in use refuses each file before the kernel looks at the file.
    if (state != "alone" && p->to.what != kind::container && p->to.what != kind::iommufd) return {};
    if (state != "alone" || p->to.what != kind::container)
      return key(s.name, state, file_in_words(p->to));
    const std::string to = now.container_state(p->to);
    return key(s.name, state, now.group_kind(g),
               to == "no group" || to == "group" ? to : "with an IOMMU");
  }
  if (s.name != "GET_DEVICE_FD") return key(s.name, state);
  const std::string name(s.argument.begin(), std::find(s.argument.begin(), s.argument.end(), 0));
  const std::string word = name.substr(0, name.find_first_of(" \t\n"));
  for (const auto& d : g.devices)
    if (d->name() == word)
      return key(s.name, word == name ? "alone in the name" : "with options", now.group_kind(g),
                 word == name ? state : "any state");
  return key(s.name, now.world().find_device(name) ? "of another group" : "no device", state);
}

std::string container_key(const step& s, const view& now, const machine& m) {
  const std::string state = now.container_state(s.on);
  const bool driver = now.mappings(s.on) != nullptr;
  if (s.name == "CHECK_EXTENSION") {
    const std::string known = s.number >= 1 && s.number <= 12 ? std::to_string(s.number) : "other";
    return key(s.name, known,
               s.on.what == kind::iommufd ? "iommufd"
               : !driver                  ? "no IOMMU"
               : state == "TCE"           ? state
                                          : "type1");
  }
  if (s.name == "SET_IOMMU") {
    const std::string type = s.number == VFIO_TYPE1_IOMMU       ? "type1"
                             : s.number == VFIO_TYPE1v2_IOMMU   ? "type1v2"
                             : s.number == VFIO_SPAPR_TCE_IOMMU ? "TCE"
                                                                : "other";
    return key(s.name, type, state);
  }
  if (s.name == "IOMMU_GET_INFO") {
    const std::uint32_t size = word(s, 0);
    return key(s.name,
               size < 24    ? "room for the sizes"
               : size < 128 ? "room for some capabilities"
                            : "room for all",
               state);
  }
  if (s.name != "MAP_DMA" && s.name != "UNMAP_DMA") return key(s.name, state);
  if (!driver || state == "TCE") return key(s.name, "any", state);
  const std::uint32_t flags = word(s, 4);
  if (s.name == "MAP_DMA") {
    if (flags & 4)
      return key(s.name, flags == 4 ? "gives the address back" : "VADDR with access", state);
    return key(s.name,
               map_in_words(s, flags & 3, quad(s, 16), quad(s, 8), quad(s, 24), m.page,
                            now.mappings(s.on)),
               state);
  }
  const bool nothing = quad(s, 8) == 0 && quad(s, 16) == 0;
  switch (flags) {
    case 0: break;
    case 1: return key(s.name, "dirty bitmap", state);
    case 2: return key(s.name, nothing ? "all" : "all, with a range", state);
    case 4: return key(s.name, "takes the address", state);
    case 6: return key(s.name, "takes all addresses", state);
    default: return key(s.name, "wrong flags", state);
  }
  return key(s.name, range_in_words(quad(s, 8), quad(s, 16), m.page, now.mappings(s.on)), state);
}

std::string cdev_key(const step& s, const view& now) {
  const sim::vfio_device& d = *now.device(s.on);
  const std::string what = d.spec().mediated ? "mediated" : "PCI";
  const std::string state = now.device_state(s.on);
  if (s.name == "DETACH") return key(s.name, what, state);
  if (s.name == "ATTACH")
    return state == "unbound" ? key(s.name, what, state)
                              : key(s.name, what, state, object_of(now, s.on, word(s, 8)));
  const patch* const p = first_patch(s);
  const std::string to = !p                                  ? "no file"
                         : p->to.what == kind::iommufd       ? "an iommufd"
                         : file_in_words(p->to) == "no file" ? "no file"
                                                             : "another file";
  if (state != "unbound") return key(s.name, what, state);
  const bool busy = !d.group().devices.empty() && d.group().opened;
  return key(s.name, what,
             busy      ? "its group is open"
             : d.bound ? "bound by another file"
                       : state,
             to);
}

std::string copy_key(const step& s, const view& now, const machine& m) {
  const std::uint32_t flags = word(s, 4);
  const std::uint64_t size = quad(s, 16);
  const std::uint64_t to = quad(s, 24);
  const std::uint64_t from = quad(s, 32);
  if (size == ~std::uint64_t{0} || to == ~std::uint64_t{0} || from == ~std::uint64_t{0})
    return key(s.name, "last number");
  if ((flags & (u::map_readable | u::map_writeable)) == 0) return key(s.name, "no access");
  const sim::iommufd_file& f = *now.iommufd(s.on);
  const std::string source = view::object_state(&f, word(s, 12));
  const std::string target = view::object_state(&f, word(s, 8));
  if (!source.starts_with("space")) return key(s.name, "from", source);
  if (size == 0) return key(s.name, "from", "size 0", source);
  const std::uint64_t last = from + size - 1;
  if (last < from) return key(s.name, "from", "wraps around", source);
  const sim::dma_map& mapped = *now.mappings(s.on, word(s, 12));
  int parts = 0;
  bool writeable = true;
  bool whole = true;
  for (std::uint64_t at = from;; ++parts) {
    const sim::dma_mapping* const part = mapped.find(at, at);
    if (!part) return key(s.name, "from", "not mapped", source);
    writeable = writeable && part->writeable_memory;
    whole = whole && part->iova >= from && part->last() <= last;
    if (part->last() >= last) break;
    at = part->last() + 1;
  }
  if (!target.starts_with("space")) return key(s.name, "to", target);
  std::string where = "any address";
  if (flags & u::map_fixed_iova) {
    where = range_in_words(to, size, m.page, now.mappings(s.on, word(s, 8)));
    if (where != "not aligned" && where != "wraps around")
      where = to + size > 0xfee00000 && to <= 0xfeefffff ? "reserved"
              : to >= std::uint64_t{1} << 39             ? "high address"
              : where == "free"                          ? "free"
                                                         : "mapped";
  }
  if (where == "wraps around") return key(s.name, "to", where, target);
  const bool possible = where == "free" || where == "any address";
  if (possible && !writeable && (flags & u::map_writeable) != 0)
    return key(s.name, "read-only memory", where, target);
  if (where == "free" && word(s, 8) == word(s, 12)) return key(s.name, "to the same space", target);
  return key(s.name,
             parts > 0 ? "several mappings"
             : whole   ? "a mapping"
                       : "part of a mapping",
             where, target);
}

std::string iommufd_key(const step& s, const view& now, const machine& m) {
  const sim::iommufd_file& f = *now.iommufd(s.on);
  const auto object = [&](std::size_t offset) { return view::object_state(&f, word(s, offset)); };
  if (s.name == "IOAS_ALLOC") return key(s.name, f.objects().empty() ? "first" : "more");
  if (s.name == "DESTROY") return key(s.name, object(4));
  if (s.name == "IOVA_RANGES")
    return key(s.name, object(4),
               word(s, 8) == 0   ? "no room"
               : word(s, 8) == 1 ? "little room"
                                 : "room");
  if (s.name == "HWPT_ALLOC") {
    const std::string device = object(8);
    return device == "device" ? key(s.name, "device", object(12)) : key(s.name, device);
  }
  if (s.name == "GET_HW_INFO") return key(s.name, object(8));
  if (s.name == "IOAS_COPY") return copy_key(s, now, m);
  if (s.name == "VFIO_IOAS") {
    constexpr const char* ops[] = {"GET", "SET", "CLEAR"};
    const std::uint16_t op = at<std::uint16_t>(s, 8);
    if (at<std::uint16_t>(s, 10) != 0) return key(s.name, "unknown flag");
    return key(s.name, op < 3 ? ops[op] : "no such operation",
               op == 1              ? object(4)
               : f.vfio_ioas() != 0 ? "there is one"
                                    : "there is none");
  }
  const std::uint32_t id = word(s, s.name == "IOAS_MAP" ? 8 : 4);
  const std::string space = view::object_state(&f, id);
  if (!space.starts_with("space")) return key(s.name, "any", space);
  const sim::dma_map* const mapped = now.mappings(s.on, id);
  if (s.name == "IOAS_UNMAP") {
    if (quad(s, 8) == 0 && quad(s, 16) == ~std::uint64_t{0}) return key(s.name, "all", space);
    return key(s.name, range_in_words(quad(s, 8), quad(s, 16), m.page, mapped), space);
  }
  const std::uint32_t flags = word(s, 4);
  if (flags & u::map_fixed_iova)
    return key(s.name,
               map_in_words(s, flags & 6, quad(s, 32), quad(s, 16), quad(s, 24), m.page, mapped),
               space);
  return key(s.name,
             (flags & 6) == 0                                ? "any address, no access"
             : quad(s, 24) % m.page != 0 || quad(s, 24) == 0 ? "any address, wrong size"
                                                             : "any address",
             space);
}

std::string kvm_key(const step& s, const view& now, const machine& m) {
  if (s.name == "CREATE_VM") return key(s.name, "good");
  if (s.name == "CREATE_DEVICE" || s.name == "CREATE_IRQCHIP")
    return key(s.name, now.vm_state(s.on));
  if (s.name.starts_with("FILE_")) {
    if (quad(s, 8) != u::dev_vfio_file_add && quad(s, 8) != u::dev_vfio_file_del)
      return key("kvm-vfio", "no such attribute");
    const std::string of = s.pointee.what == kind::group    ? now.group_state(s.pointee)
                           : s.pointee.what == kind::cdev   ? now.device_state(s.pointee)
                           : s.pointee.what == kind::device ? now.device_state(s.pointee)
                                                            : "any state";
    return key(s.name, file_in_words(s.pointee), of,
               now.tracks(s.on, s.pointee) ? "tracked" : "not tracked");
  }
  if (s.name == "SET_USER_MEMORY_REGION") {
    const std::uint32_t flags = word(s, 4);
    const std::uint64_t size = quad(s, 16);
    return key(s.name, word(s, 0) >= 32764                               ? "no such slot"
                       : flags > 1                                       ? "other flags"
                       : size == 0                                       ? "removed"
                       : (quad(s, 8) | size | quad(s, 24)) % m.page != 0 ? "not aligned"
                       : quad(s, 8) + size < size || size >= 1ULL << 43 || quad(s, 8) >= 1ULL << 52
                           ? "too large"
                       : flags == 1 ? "logged"
                                    : "not logged");
  }
  const patch* const p = first_patch(s);
  const bool event = p && p->to.what == kind::event;
  if (s.name == "IRQFD") {
    const std::uint32_t flags = word(s, 8);
    const std::string vm = now.vm_state(s.on);
    if (flags > 3) return key(s.name, "other flags");
    return key(s.name, std::to_string(flags), event ? "an eventfd" : "another file",
               vm.starts_with("irqchip") ? "irqchip" : "no irqchip");
  }
  const std::uint32_t flags = word(s, 24);
  if (flags > 15) return key(s.name, "other flags");
  return key(s.name, std::to_string(flags), event ? "an eventfd" : "another file");
}

std::string ioctl_key(const step& s, const view& now, const machine& m) {
  if (s.name == "unknown") return key(s.name, name_of(s.on.what));
  const auto& forms = request_forms();
  const auto form = std::find_if(forms.begin(), forms.end(),
                                 [&](const request_form& f) { return s.name == f.name; });
  if (form == forms.end()) return {};
  const sim::file* const f = now.file(s.on);
  if (!(form->on & bit(s.on.what)) || !f) return key("request of another file", name_of(s.on.what));
  if (form->pointer && s.where != place::good && s.where != place::tight)
    return key(s.name, std::string("at a ") + conformance::name(s.where) + " address");
  if (form->least != 0) {
    const std::uint32_t size = word(s, 0);
    if (size < form->least) return key(s.name, "too short");
    if (form->size != 0 && size > form->size) return key(s.name, "too long");
  }
  if (form->flags_at >= 0 &&
      (word(s, static_cast<std::size_t>(form->flags_at)) & ~form->known) != 0)
    return key(s.name, "unknown flag");
  switch (form->made_by) {
    case family::groups: return group_key(s, now);
    case family::containers: return container_key(s, now, m);
    case family::devices:
    case family::irqs: return device_key(s, now);
    case family::cdevs: return cdev_key(s, now);
    case family::iommufds: return iommufd_key(s, now, m);
    default: return kvm_key(s, now, m);
  }
}

std::string open_key(const step& s, const view& now) {
  const std::string device = "/dev/vfio/devices/";
  const std::string group = "/dev/vfio/";
  if (s.name == "/dev/vfio/vfio") return key("open", "container");
  if (s.name == "/dev/iommu") return key("open", "iommufd");
  if (s.name.starts_with(device)) {
    if (s.name == device + "vfio99") return key("open", "character device", "absent");
    const sim::vfio_device* const d = now.world().find_device(s.device);
    if (!d) return {};
    return key("open", "character device",
               d->group().opened ? "its group is open"
               : d->bound        ? "bound"
                                 : "free");
  }
  const sim::vfio_group* const g = now.world().find_group(std::atoi(s.name.c_str() + group.size()));
  if (!g) return key("open", "group", "absent");
  return key("open", "group", now.group_kind(*g),
             g->opened               ? "open"
             : g->bound_devices != 0 ? "device bound"
                                     : "free");
}

std::string close_key(const step& s, const view& now) {
  const sim::file* const f = now.file(s.on);
  if (!f) return {};
  const std::string what = name_of(s.on.what);
  if (now.descriptors(f) > 1) return key("close", what, "another descriptor is open");
  switch (s.on.what) {
    case kind::container: return key("close", what, now.container_state(s.on));
    case kind::group: return key("close", what, now.group_state(s.on));
    case kind::cdev: return key("close", what, now.device_state(s.on));
    case kind::device: {
      if (now.device(s.on)->spec().mediated) return key("close", what, "mediated");
      std::string armed = view::armed(*now.device(s.on));
      return key("close", what, armed);
    }
    case kind::iommufd: {
      const sim::iommufd_file& i = *now.iommufd(s.on);
      return key("close", what,
                 i.objects().empty() ? "empty"
                 : std::any_of(i.objects().begin(), i.objects().end(),
                               [](const auto& o) {
                                 return o.second.kind == sim::iommufd_object::type::device;
                               })
                     ? "device bound"
                     : "objects");
    }
    case kind::vm: return key("close", what, now.vm_state(s.on));
    case kind::kvm_vfio:
      return key("close", what, now.tracks_any(s.on) ? "tracks files" : "tracks nothing");
    case kind::event: return key("close", what, now.event_state(s.on));
    default: return key("close", what);
  }
}

}  // namespace

std::string key_of(const step& s, const view& now, const machine& m) {
  switch (s.what) {
    case verb::open: return open_key(s, now);
    case verb::open_path: return key("open", "O_PATH");
    case verb::dup: return key("dup", name_of(s.on.what));
    case verb::close: return close_key(s, now);
    case verb::eventfd: return key("eventfd");
    case verb::ioctl: return ioctl_key(s, now, m);
    case verb::pread:
    case verb::pwrite:
    case verb::mmap: return region_key(s, now, m);
    case verb::read_event: {
      return key("read", now.event_state(s.on));
    }
    case verb::write_event:
      return key("write",
                 s.number == 0                       ? "0"
                 : s.number == ~std::uint64_t{0}     ? "2^64 - 1"
                 : s.number == ~std::uint64_t{0} - 1 ? "2^64 - 2"
                                                     : "a number",
                 now.event_state(s.on));
  }
  return {};
}

}  // namespace vfio_lockstep
