// SPDX-License-Identifier: BSL-1.0
// No memory: a call that needs memory fails with ENOMEM and changes nothing, a close needs none,
// and an observer without memory changes no answer.
#include "support/catch.hpp"
#include "support/every_fault.hpp"
#include "support/replaced_new.hpp"
#include "watched.hpp"

#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/sim/system/memory_file.hpp>
#include <kvm_vfio/trace/timeline.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <fcntl.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string_view>
#include <type_traits>
#include <vector>

namespace u = kvm_vfio::uapi;

namespace {

// Which allocations fail: the one with the number `nth` from `arm` on, or all from this one on, or
// this one and the one with the number `second`.
struct allocations {
  bool armed = false;
  bool all = false;
  std::size_t nth = 0;
  std::size_t second = 0;
  std::size_t seen = 0;
  std::size_t failed = 0;

  void arm(std::size_t n, bool all_later = false) noexcept {
    *this = {.armed = true, .all = all_later, .nth = n, .second = 0, .seen = 0, .failed = 0};
  }
  void arm_two(std::size_t n, std::size_t m) noexcept {
    arm(n);
    second = m;
  }
  [[nodiscard]] bool fails() noexcept {
    if (!armed) return false;
    ++seen;
    const bool now = all ? seen >= nth : seen == nth || seen == second;
    failed += now;
    return now;
  }
};
allocations plan;

void* allocate(std::size_t size) noexcept {
  return plan.fails() ? nullptr : std::malloc(size == 0 ? 1 : size);
}

}  // namespace

KVM_VFIO_REPLACED void* operator new(std::size_t size) {
  if (void* const p = allocate(size)) return p;
  throw std::bad_alloc();
}
KVM_VFIO_REPLACED void* operator new[](std::size_t size) {
  if (void* const p = allocate(size)) return p;
  throw std::bad_alloc();
}
KVM_VFIO_REPLACED void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size);
}
KVM_VFIO_REPLACED void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size);
}
KVM_VFIO_REPLACED void operator delete(void* p) noexcept { std::free(p); }
KVM_VFIO_REPLACED void operator delete[](void* p) noexcept { std::free(p); }
KVM_VFIO_REPLACED void operator delete(void* p, std::size_t) noexcept { std::free(p); }
KVM_VFIO_REPLACED void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace {

// The descriptors and numbers that a request needs.
struct numbers {
  int kvm = -1, vm = -1, dev = -1;
  int container = -1, group = -1, other_group = -1, device = -1;
  int iommufd = -1, cdev = -1, event = -1, table = -1, memory = -1, queue = -1;
  std::uint32_t ioas = 0, devid = 0;
};

template <class Machine>
struct request {
  const char* name;
  void (*prepare)(Machine&, numbers&);
  errc (*call)(Machine&, numbers&);
};

template <class Machine>
errc opened(Machine& m, const char* path) {
  return m.task.open(path).error();
}
// Lends an eventfd to a process, whose file needs memory, too.
template <class Machine>
errc lent(Machine& m) {
  try {
    m.task.lend(100, new sim::event_file);
    return errc::ok;
  } catch (const std::bad_alloc&) {
    return errc::nomem;
  }
}
template <class Machine>
errc map_ioas(Machine& m, const numbers& n, std::uint64_t iova, std::uint64_t size,
              std::uint32_t flags) {
  u::iommu_ioas_map map{};
  map.size = sizeof map;
  map.flags = flags | u::map_readable;
  map.ioas_id = n.ioas;
  map.user_va = 0x100000;
  map.length = size;
  map.iova = iova;
  return m.ioctl_at(n.iommufd, u::request_ioas_map, map);
}
template <class Machine>
std::uint32_t new_ioas(Machine& m, const numbers& n) {
  u::iommu_ioas_alloc alloc{};
  alloc.size = sizeof alloc;
  REQUIRE(m.ioctl_at(n.iommufd, u::request_ioas_alloc, alloc) == errc::ok);
  return alloc.out_ioas_id;
}
template <class Machine>
errc bind(Machine& m, numbers& n) {
  u::device_bind_iommufd b{.argsz = sizeof b, .flags = 0, .iommufd = n.iommufd, .out_devid = 0};
  const errc e = m.ioctl_at(n.cdev, u::request_bind_iommufd, b);
  n.devid = b.out_devid;
  return e;
}
template <class Machine>
errc attach(Machine& m, numbers& n, std::uint32_t to) {
  u::device_attach_iommufd_pt a{.argsz = sizeof a, .flags = 0, .pt_id = to};
  return m.ioctl_at(n.cdev, u::request_attach_iommufd_pt, a);
}

template <class Machine>
void with_vm(Machine& m, numbers& n) {
  n.kvm = m.open("/dev/kvm");
  n.vm = m.client::create_vm(n.kvm).value();
}
template <class Machine>
void with_kvm_vfio(Machine& m, numbers& n) {
  with_vm(m, n);
  n.dev = m.create_kvm_vfio(n.vm);
}
template <class Machine>
void with_group(Machine& m, numbers& n) {
  with_kvm_vfio(m, n);
  n.group = m.open("/dev/vfio/1");
  n.container = m.open("/dev/vfio/vfio");
  n.other_group = m.open("/dev/vfio/2");
  n.event = static_cast<int>(m.task.eventfd().value());
}
template <class Machine>
void with_container(Machine& m, numbers& n) {
  with_group(m, n);
  REQUIRE(m.set_container(n.group, n.container) == errc::ok);
}
template <class Machine>
void with_iommu(Machine& m, numbers& n) {
  with_container(m, n);
  REQUIRE(m.set_iommu(n.container, VFIO_TYPE1_IOMMU) == errc::ok);
  REQUIRE(m.add(n.dev, n.group) == errc::ok);
  REQUIRE(map_dma(m, n.container, 0x10000, 0x4000) == errc::ok);
}
template <class Machine>
void with_two_groups(Machine& m, numbers& n) {
  with_iommu(m, n);
  REQUIRE(m.set_container(n.other_group, n.container) == errc::ok);
}
template <class Machine>
void with_device(Machine& m, numbers& n) {
  with_iommu(m, n);
  n.device = m.device_fd(n.group, "0000:00:04.0").value();
}
template <class Machine>
void with_msix(Machine& m, numbers& n) {
  with_device(m, n);
  irq_argument a = arm(VFIO_PCI_MSIX_IRQ_INDEX, n.event);
  REQUIRE(m.ioctl_at(n.device, VFIO_DEVICE_SET_IRQS, a) == errc::ok);
}

template <class Machine>
const std::vector<request<Machine>>& container_requests() {
  using M = Machine;
  static const std::vector<request<M>> all = {
      {"open /dev/kvm", [](M&, numbers&) {}, [](M& m, numbers&) { return opened(m, "/dev/kvm"); }},
      {"open a container", [](M&, numbers&) {},
       [](M& m, numbers&) { return opened(m, "/dev/vfio/vfio"); }},
      {"open a group", [](M&, numbers&) {},
       [](M& m, numbers&) { return opened(m, "/dev/vfio/1"); }},
      {"open with O_PATH", [](M&, numbers&) {},
       [](M& m, numbers&) { return m.task.open("/dev/vfio/1", O_PATH).error(); }},
      {"eventfd", [](M&, numbers&) {}, [](M& m, numbers&) { return m.task.eventfd().error(); }},
      {"dup", with_group<M>, [](M& m, numbers& n) { return m.task.dup(n.group).error(); }},
      {"dup to a high number", with_group<M>,
       [](M& m, numbers& n) { return m.task.dup(n.group, 100).error(); }},
      {"dup to a number that is chosen", with_group<M>,
       [](M& m, numbers& n) {
         m.task.next_descriptor(100);
         const errc e = m.task.dup(n.group).error();
         m.task.next_descriptor(-1);
         return e;
       }},
      {"KVM_CREATE_VM with a number that is chosen",
       [](M& m, numbers& n) { n.kvm = m.open("/dev/kvm"); },
       [](M& m, numbers& n) {
         m.task.next_descriptor(100);
         const errc e = m.client::create_vm(n.kvm).error();
         m.task.next_descriptor(-1);
         return e;
       }},
      {"open_path", [](M&, numbers&) {},
       [](M& m, numbers&) { return m.task.open_path("/dev/vfio/vfio").error(); }},
      {"lend", [](M&, numbers&) {}, [](M& m, numbers&) { return lent(m); }},
      {"KVM_CREATE_VM", [](M& m, numbers& n) { n.kvm = m.open("/dev/kvm"); },
       [](M& m, numbers& n) { return m.client::create_vm(n.kvm).error(); }},
      {"KVM_CREATE_DEVICE", with_vm<M>,
       [](M& m, numbers& n) { return m.client::create_kvm_vfio(n.vm).error(); }},
      {"KVM_SET_USER_MEMORY_REGION", with_vm<M>,
       [](M& m, numbers& n) {
         kvm_userspace_memory_region r{.slot = 1,
                                       .flags = 0,
                                       .guest_phys_addr = 0,
                                       .memory_size = 0x1000,
                                       .userspace_addr = 0x10000};
         return m.ioctl_at(n.vm, KVM_SET_USER_MEMORY_REGION, r);
       }},
      {"KVM_IRQFD",
       [](M& m, numbers& n) {
         with_group(m, n);
         REQUIRE(m.ioctl(n.vm, KVM_CREATE_IRQCHIP) == errc::ok);
       },
       [](M& m, numbers& n) {
         kvm_irqfd i{};
         i.fd = static_cast<std::uint32_t>(n.event);
         i.gsi = 5;
         return m.ioctl_at(n.vm, KVM_IRQFD, i);
       }},
      {"KVM_IOEVENTFD", with_group<M>,
       [](M& m, numbers& n) {
         kvm_ioeventfd i{};
         i.addr = 0x1000;
         i.len = 4;
         i.fd = n.event;
         return m.ioctl_at(n.vm, KVM_IOEVENTFD, i);
       }},
      {"FILE_ADD without a container", with_group<M>,
       [](M& m, numbers& n) { return m.add(n.dev, n.group); }},
      {"FILE_ADD of a second group", with_two_groups<M>,
       [](M& m, numbers& n) { return m.add(n.dev, n.other_group); }},
      {"FILE_DEL", with_iommu<M>, [](M& m, numbers& n) { return m.del(n.dev, n.group); }},
      {"SET_CONTAINER", with_group<M>,
       [](M& m, numbers& n) { return m.set_container(n.group, n.container); }},
      {"SET_CONTAINER of a second group", with_iommu<M>,
       [](M& m, numbers& n) { return m.set_container(n.other_group, n.container); }},
      {"SET_IOMMU", with_container<M>, [](M& m, numbers& n) { return m.set_iommu(n.container); }},
      {"SET_IOMMU of two groups",
       [](M& m, numbers& n) {
         with_container(m, n);
         REQUIRE(m.set_container(n.other_group, n.container) == errc::ok);
       },
       [](M& m, numbers& n) { return m.set_iommu(n.container); }},
      {"UNSET_CONTAINER", with_iommu<M>,
       [](M& m, numbers& n) { return m.unset_container(n.group); }},
      {"UNSET_CONTAINER of one of two", with_two_groups<M>,
       [](M& m, numbers& n) { return m.unset_container(n.other_group); }},
      {"SET_CONTAINER after another group left",
       [](M& m, numbers& n) {
         with_two_groups(m, n);
         REQUIRE(m.unset_container(n.group) == errc::ok);
       },
       [](M& m, numbers& n) { return m.set_container(n.group, n.container); }},
      {"the first MAP_DMA of a process",
       [](M& m, numbers& n) {
         with_container(m, n);
         REQUIRE(m.set_iommu(n.container, VFIO_TYPE1_IOMMU) == errc::ok);
       },
       [](M& m, numbers& n) { return map_dma(m, n.container, 0x20000, 0x1000); }},
      {"MAP_DMA of a process with a limit",
       [](M& m, numbers& n) {
         with_iommu(m, n);
         m.task.memory_lock_limit(0x8000);
       },
       [](M& m, numbers& n) { return map_dma(m, n.container, 0x20000, 0x1000); }},
      {"MAP_DMA", with_iommu<M>,
       [](M& m, numbers& n) { return map_dma(m, n.container, 0x20000, 0x1000); }},
      {"MAP_DMA after a group left",
       [](M& m, numbers& n) {
         with_two_groups(m, n);
         REQUIRE(m.unset_container(n.group) == errc::ok);
       },
       [](M& m, numbers& n) { return map_dma(m, n.container, 0x20000, 0x1000); }},
      {"UNMAP_DMA", with_iommu<M>,
       [](M& m, numbers& n) { return unmap_dma(m, n.container, 0x10000, 0x4000); }},
      {"VFIO_IOMMU_GET_INFO", with_iommu<M>,
       [](M& m, numbers& n) {
         std::uint64_t words[64] = {sizeof words};
         return m.ioctl_at(n.container, VFIO_IOMMU_GET_INFO, words);
       }},
      {"GET_DEVICE_FD", with_iommu<M>,
       [](M& m, numbers& n) { return m.device_fd(n.group, "0000:00:04.0").error(); }},
      {"SET_IRQS of MSI", with_device<M>,
       [](M& m, numbers& n) {
         irq_argument a = arm(VFIO_PCI_MSI_IRQ_INDEX, n.event);
         return m.ioctl_at(n.device, VFIO_DEVICE_SET_IRQS, a);
       }},
      {"SET_IRQS of a further vector of MSI-X", with_msix<M>,
       [](M& m, numbers& n) {
         irq_argument a = arm(VFIO_PCI_MSIX_IRQ_INDEX, n.event);
         a.words[3] = 5;
         const errc e = m.ioctl_at(n.device, VFIO_DEVICE_SET_IRQS, a);
         return e == errc::inval ? errc::ok : e;  // before Linux 6.5 no vector can be added
       }},
      {"SET_IRQS that disarms", with_msix<M>,
       [](M& m, numbers& n) {
         irq_argument a = disarm(VFIO_PCI_MSIX_IRQ_INDEX);
         return m.ioctl_at(n.device, VFIO_DEVICE_SET_IRQS, a);
       }},
      {"pwrite", with_device<M>,
       [](M& m, numbers& n) {
         static const unsigned char bytes[0x3000] = {1};
         return m.task.pwrite(n.device, bytes, sizeof bytes, 0).error();
       }},
      {"mmap", with_device<M>,
       [](M& m, numbers& n) { return m.task.mmap(0x1000, PROT_READ, n.device, 0).error(); }},
      {"map_at", with_device<M>,
       [](M& m, numbers& n) {
         return m.task.map_at(0x70000000, 0x1000, PROT_READ, n.device, 0).error();
       }},
      {"close of a group", with_two_groups<M>,
       [](M& m, numbers& n) { return m.close(n.other_group); }},
      {"close of a device", with_msix<M>, [](M& m, numbers& n) { return m.close(n.device); }},
      {"close of a kvm-vfio", with_two_groups<M>, [](M& m, numbers& n) { return m.close(n.dev); }},
  };
  return all;
}

template <class Machine>
void with_iommufd(Machine& m, numbers& n) {
  with_kvm_vfio(m, n);
  n.iommufd = m.open("/dev/iommu");
  n.ioas = new_ioas(m, n);
  n.cdev = m.open("/dev/vfio/devices/vfio0");
  REQUIRE(m.add(n.dev, n.cdev) == errc::ok);
}
template <class Machine>
void with_bound(Machine& m, numbers& n) {
  with_iommufd(m, n);
  REQUIRE(map_ioas(m, n, 0x10000, 0x4000, u::map_fixed_iova) == errc::ok);
  REQUIRE(bind(m, n) == errc::ok);
}
template <class Machine>
void with_attached(Machine& m, numbers& n) {
  with_bound(m, n);
  REQUIRE(attach(m, n, n.ioas) == errc::ok);
}
template <class Machine>
void with_group_in_iommufd(Machine& m, numbers& n) {
  with_kvm_vfio(m, n);
  n.iommufd = m.open("/dev/iommu");
  n.group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(n.group, n.iommufd) == errc::ok);
  u::iommu_vfio_ioas get{};
  get.size = sizeof get;
  get.op = u::vfio_ioas_get;
  REQUIRE(m.ioctl_at(n.iommufd, u::request_vfio_ioas, get) == errc::ok);
  n.ioas = get.ioas_id;
  REQUIRE(m.set_iommu(n.iommufd, VFIO_TYPE1_IOMMU) == errc::ok);
  REQUIRE(map_dma(m, n.iommufd, 0x10000, 0x4000) == errc::ok);
}

template <class Machine>
errc unmap_ioas(Machine& m, const numbers& n) {
  u::iommu_ioas_unmap c{};
  c.size = sizeof c;
  c.ioas_id = n.ioas;
  c.length = ~std::uint64_t{0};
  return m.ioctl_at(n.iommufd, u::request_ioas_unmap, c);
}
template <class Machine>
errc copy_ioas(Machine& m, const numbers& n) {
  u::iommu_ioas_copy c{};
  c.size = sizeof c;
  c.flags = u::map_readable;
  c.dst_ioas_id = c.src_ioas_id = n.ioas;
  c.length = 0x1000;
  c.src_iova = 0x10000;
  return m.ioctl_at(n.iommufd, u::request_ioas_copy, c);
}
template <class Machine>
errc alloc_table(Machine& m, const numbers& n) {
  u::iommu_hwpt_alloc c{};
  c.size = sizeof c;
  c.dev_id = n.devid;
  c.pt_id = n.ioas;
  return m.ioctl_at(n.iommufd, u::request_hwpt_alloc, c);
}

template <class Machine>
const std::vector<request<Machine>>& iommufd_requests() {
  using M = Machine;
  static const std::vector<request<M>> all = {
      {"open an iommufd", [](M&, numbers&) {},
       [](M& m, numbers&) { return opened(m, "/dev/iommu"); }},
      {"open a device file", [](M&, numbers&) {},
       [](M& m, numbers&) { return opened(m, "/dev/vfio/devices/vfio1"); }},
      {"IOAS_ALLOC", with_iommufd<M>,
       [](M& m, numbers& n) {
         u::iommu_ioas_alloc alloc{};
         alloc.size = sizeof alloc;
         return m.ioctl_at(n.iommufd, u::request_ioas_alloc, alloc);
       }},
      {"the first IOAS_MAP of a process", with_iommufd<M>,
       [](M& m, numbers& n) { return map_ioas(m, n, 0x20000, 0x1000, u::map_fixed_iova); }},
      {"IOAS_MAP", with_attached<M>,
       [](M& m, numbers& n) { return map_ioas(m, n, 0x20000, 0x1000, u::map_fixed_iova); }},
      {"IOAS_MAP at a free address", with_attached<M>,
       [](M& m, numbers& n) { return map_ioas(m, n, 0, 0x1000, 0); }},
      {"IOAS_IOVA_RANGES after an attach", with_attached<M>,
       [](M& m, numbers& n) {
         u::iommu_iova_range found[8];
         u::iommu_ioas_iova_ranges r{};
         r.size = sizeof r;
         r.ioas_id = n.ioas;
         r.num_iovas = 8;
         r.allowed_iovas = support::address_of(found);
         return m.ioctl_at(n.iommufd, u::request_ioas_iova_ranges, r);
       }},
      {"IOAS_UNMAP", with_attached<M>, [](M& m, numbers& n) { return unmap_ioas(m, n); }},
      {"IOAS_COPY", with_attached<M>, [](M& m, numbers& n) { return copy_ioas(m, n); }},
      {"BIND_IOMMUFD", with_iommufd<M>, [](M& m, numbers& n) { return bind(m, n); }},
      {"HWPT_ALLOC", with_bound<M>, [](M& m, numbers& n) { return alloc_table(m, n); }},
      {"ATTACH_IOMMUFD_PT", with_bound<M>, [](M& m, numbers& n) { return attach(m, n, n.ioas); }},
      {"ATTACH_IOMMUFD_PT of a process with a limit",
       [](M& m, numbers& n) {
         with_bound(m, n);
         m.task.memory_lock_limit(0x8000);
       },
       [](M& m, numbers& n) { return attach(m, n, n.ioas); }},
      {"ATTACH_IOMMUFD_PT to another space",
       [](M& m, numbers& n) {
         with_attached(m, n);
         n.ioas = new_ioas(m, n);
       },
       [](M& m, numbers& n) { return attach(m, n, n.ioas); }},
      {"ATTACH_IOMMUFD_PT again", with_attached<M>,
       [](M& m, numbers& n) { return attach(m, n, n.ioas); }},
      {"DETACH_IOMMUFD_PT", with_attached<M>,
       [](M& m, numbers& n) {
         u::device_detach_iommufd_pt d{.argsz = sizeof d, .flags = 0};
         return m.ioctl_at(n.cdev, u::request_detach_iommufd_pt, d);
       }},
      {"close of a bound device", with_attached<M>,
       [](M& m, numbers& n) { return m.close(n.cdev); }},
      {"SET_CONTAINER with an iommufd",
       [](M& m, numbers& n) {
         n.iommufd = m.open("/dev/iommu");
         n.group = m.open("/dev/vfio/1");
       },
       [](M& m, numbers& n) { return m.set_container(n.group, n.iommufd); }},
      {"GET_DEVICE_FD of a group in an iommufd", with_group_in_iommufd<M>,
       [](M& m, numbers& n) { return m.device_fd(n.group, "0000:00:04.0").error(); }},
      {"UNMAP_DMA of the middle of a mapping", with_group_in_iommufd<M>,
       [](M& m, numbers& n) { return unmap_dma(m, n.iommufd, 0x11000, 0x1000); }},
      {"UNSET_CONTAINER of an iommufd", with_group_in_iommufd<M>,
       [](M& m, numbers& n) { return m.unset_container(n.group); }},
  };
  return all;
}

// A file in memory, of 16 pages.
template <class Machine>
int memory_file(Machine& m) {
  return static_cast<int>(m.task.insert(sim::file_ref(new sim::memory_file(0x10000))).value());
}
template <class Machine>
errc map_file(Machine& m, const numbers& n, std::uint64_t iova, std::uint32_t flags) {
  u::iommu_ioas_map_file c{};
  c.size = sizeof c;
  c.flags = flags | u::map_readable;
  c.ioas_id = n.ioas;
  c.fd = n.memory;
  c.length = 0x1000;
  c.iova = iova;
  return m.ioctl_at(n.iommufd, u::request_ioas_map_file, c);
}
template <class Machine>
void with_memory_file(Machine& m, numbers& n) {
  with_kvm_vfio(m, n);
  n.iommufd = m.open("/dev/iommu");
  n.ioas = new_ioas(m, n);
  n.cdev = m.open("/dev/vfio/devices/vfio0");
  REQUIRE(bind(m, n) == errc::ok);
  REQUIRE(attach(m, n, n.ioas) == errc::ok);
  n.memory = memory_file(m);
}
template <class Machine>
void with_mapped_file(Machine& m, numbers& n) {
  with_memory_file(m, n);
  REQUIRE(map_file(m, n, 0x10000, u::map_fixed_iova) == errc::ok);
}

template <class Machine>
errc alloc_fault_queue(Machine& m, numbers& n) {
  u::iommu_fault_alloc c{.size = sizeof c, .flags = 0, .out_fault_id = 0, .out_fault_fd = 0};
  const errc e = m.ioctl_at(n.iommufd, u::request_fault_queue_alloc, c);
  n.queue = static_cast<int>(c.out_fault_fd);
  return e;
}
// A container with version 2 of type 1, which tracks dirty pages.
template <class Machine>
void with_version_2(Machine& m, numbers& n) {
  with_container(m, n);
  REQUIRE(m.set_iommu(n.container) == errc::ok);
}
template <class Machine>
void with_version_2_mapping(Machine& m, numbers& n) {
  with_version_2(m, n);
  REQUIRE(map_dma(m, n.container, 0x10000, 0x4000) == errc::ok);
}
template <class Machine>
errc track_dirty_pages(Machine& m, const numbers& n) {
  std::uint32_t head[] = {8, VFIO_IOMMU_DIRTY_PAGES_FLAG_START};
  return m.ioctl_at(n.container, VFIO_IOMMU_DIRTY_PAGES, head);
}

// Requests that only Linux 7.3 has, and rarer ones.
template <class Machine>
const std::vector<request<Machine>>& rare_requests() {
  using M = Machine;
  static const std::vector<request<M>> all = {
      {"IOAS_MAP_FILE", with_memory_file<M>,
       [](M& m, numbers& n) { return map_file(m, n, 0x20000, u::map_fixed_iova); }},
      {"IOAS_MAP_FILE at a free address", with_mapped_file<M>,
       [](M& m, numbers& n) { return map_file(m, n, 0, 0); }},
      {"IOAS_MAP_FILE of a process with a limit",
       [](M& m, numbers& n) {
         with_mapped_file(m, n);
         m.task.memory_lock_limit(0x8000);
       },
       [](M& m, numbers& n) { return map_file(m, n, 0x20000, u::map_fixed_iova); }},
      {"IOAS_COPY of memory of a file", with_mapped_file<M>,
       [](M& m, numbers& n) { return copy_ioas(m, n); }},
      {"IOAS_CHANGE_PROCESS",
       [](M& m, numbers& n) {
         with_mapped_file(m, n);
         m.task.user(7);
         m.task.memory_lock_limit(0x8000);
       },
       [](M& m, numbers& n) {
         u::iommu_ioas_change_process c{.size = sizeof c, .reserved = 0};
         return m.ioctl_at(n.iommufd, u::request_ioas_change_process, c);
       }},
      {"IOAS_UNMAP of memory of a closed file",
       [](M& m, numbers& n) {
         with_mapped_file(m, n);
         REQUIRE(m.close(n.memory) == errc::ok);
       },
       [](M& m, numbers& n) { return unmap_ioas(m, n); }},
      {"IOAS_ALLOW_IOVAS", with_bound<M>,
       [](M& m, numbers& n) {
         const u::iommu_iova_range ranges[] = {{0x1000, 0x1fff}, {0x10000, 0x1ffff}};
         u::iommu_ioas_allow_iovas c{};
         c.size = sizeof c;
         c.ioas_id = n.ioas;
         c.num_iovas = 2;
         c.allowed_iovas = support::address_of(ranges);
         return m.ioctl_at(n.iommufd, u::request_ioas_allow_iovas, c);
       }},
      {"OPTION without huge pages", with_bound<M>,
       [](M& m, numbers& n) {
         u::iommu_option c{};
         c.size = sizeof c;
         c.option_id = u::option_huge_pages;
         c.op = u::option_set;
         c.object_id = n.ioas;
         return m.ioctl_at(n.iommufd, u::request_option, c);
       }},
      {"FAULT_QUEUE_ALLOC", with_attached<M>,
       [](M& m, numbers& n) { return alloc_fault_queue(m, n); }},
      {"FAULT_QUEUE_ALLOC with a number that is chosen", with_attached<M>,
       [](M& m, numbers& n) {
         m.task.next_descriptor(100);
         const errc e = alloc_fault_queue(m, n);
         m.task.next_descriptor(-1);
         return e;
       }},
      {"GET_HW_INFO", with_bound<M>,
       [](M& m, numbers& n) {
         u::iommu_hw_info c{};
         c.size = sizeof c;
         c.dev_id = n.devid;
         return m.ioctl_at(n.iommufd, u::request_get_hw_info, c);
       }},
      {"HWPT_ALLOC after an attachment", with_attached<M>,
       [](M& m, numbers& n) { return alloc_table(m, n); }},
      {"DESTROY", with_attached<M>,
       [](M& m, numbers& n) {
         // An object that exists only for this call, so that the state is as before.
         u::iommu_ioas_alloc alloc{};
         alloc.size = sizeof alloc;
         const errc e = m.ioctl_at(n.iommufd, u::request_ioas_alloc, alloc);
         if (e != errc::ok) return e;
         u::iommu_destroy c{.size = sizeof c, .id = alloc.out_ioas_id};
         return m.ioctl_at(n.iommufd, u::request_destroy, c);
       }},
      {"LOW_POWER_ENTRY_WITH_WAKEUP", with_msix<M>,
       [](M& m, numbers& n) {
         std::uint32_t c[4] = {sizeof c, VFIO_DEVICE_FEATURE_SET | 4,
                               static_cast<std::uint32_t>(n.event), 0};
         return m.ioctl_at(n.device, VFIO_DEVICE_FEATURE, c);
       }},
      {"SET_IRQS of an eventfd that unmasks INTx", with_device<M>,
       [](M& m, numbers& n) {
         irq_argument a = arm(VFIO_PCI_INTX_IRQ_INDEX, n.event);
         errc e = m.ioctl_at(n.device, VFIO_DEVICE_SET_IRQS, a);
         if (e != errc::ok) return e;
         a.words[1] = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK;
         e = m.ioctl_at(n.device, VFIO_DEVICE_SET_IRQS, a);
         // Takes the first step back, so that the state is as before.
         if (e != errc::ok) a = disarm(VFIO_PCI_INTX_IRQ_INDEX);
         if (e != errc::ok) REQUIRE(m.ioctl_at(n.device, VFIO_DEVICE_SET_IRQS, a) == errc::ok);
         return e;
       }},
      {"VFIO_IOMMU_DIRTY_PAGES", with_version_2_mapping<M>,
       [](M& m, numbers& n) { return track_dirty_pages(m, n); }},
      {"MAP_DMA while dirty pages are tracked",
       [](M& m, numbers& n) {
         with_version_2(m, n);
         REQUIRE(track_dirty_pages(m, n) == errc::ok);
       },
       [](M& m, numbers& n) { return map_dma(m, n.container, 0x20000, 0x1000); }},
      {"UNMAP_DMA with VADDR", with_version_2_mapping<M>,
       [](M& m, numbers& n) { return unmap_dma(m, n.container, 0x10000, 0x4000, 4); }},
      {"close of an iommufd with memory of a file",
       [](M& m, numbers& n) {
         with_mapped_file(m, n);
         REQUIRE(m.close(n.cdev) == errc::ok);
         REQUIRE(m.close(n.memory) == errc::ok);
       },
       [](M& m, numbers& n) { return m.close(n.iommufd); }},
      {"close of a fault queue",
       [](M& m, numbers& n) {
         with_attached(m, n);
         REQUIRE(alloc_fault_queue(m, n) == errc::ok);
       },
       [](M& m, numbers& n) { return m.close(n.queue); }},
  };
  return all;
}

template <class Machine>
const std::vector<request<Machine>>& power_requests() {
  using M = Machine;
  static const auto with_power = [](M& m, numbers& n) {
    with_container(m, n);
    REQUIRE(m.set_iommu(n.container, VFIO_SPAPR_TCE_IOMMU) == errc::ok);
    REQUIRE(m.ioctl(n.container, VFIO_IOMMU_ENABLE) == errc::ok);
    REQUIRE(map_dma(m, n.container, 0x10000, 0x4000) == errc::ok);
  };
  static const auto with_table = [](M& m, numbers& n) {
    with_power(m, n);
    REQUIRE(m.add(n.dev, n.group) == errc::ok);
    u::create_spapr_tce_64 c{};
    c.page_shift = 12;
    c.size = 1 << 18;
    n.table = static_cast<int>(
        m.task.ioctl(n.vm, u::request_create_spapr_tce_64, support::address_of(c)).value());
  };
  static const std::vector<request<M>> all = {
      {"SET_IOMMU", with_container<M>,
       [](M& m, numbers& n) { return m.set_iommu(n.container, VFIO_SPAPR_TCE_IOMMU); }},
      {"MAP_DMA inside of a mapping", [](M& m, numbers& n) { with_power(m, n); },
       [](M& m, numbers& n) { return map_dma(m, n.container, 0x11000, 0x1000); }},
      {"UNMAP_DMA inside of a mapping", [](M& m, numbers& n) { with_power(m, n); },
       [](M& m, numbers& n) { return unmap_dma(m, n.container, 0x11000, 0x1000); }},
      {"UNSET_CONTAINER", [](M& m, numbers& n) { with_power(m, n); },
       [](M& m, numbers& n) { return m.unset_container(n.group); }},
      {"KVM_CREATE_SPAPR_TCE_64", with_vm<M>,
       [](M& m, numbers& n) {
         u::create_spapr_tce_64 c{};
         c.page_shift = 12;
         c.size = 1 << 18;
         return m.ioctl_at(n.vm, u::request_create_spapr_tce_64, c);
       }},
      {"SET_SPAPR_TCE", [](M& m, numbers& n) { with_table(m, n); },
       [](M& m, numbers& n) { return m.set_spapr_tce(n.dev, n.group, n.table); }},
  };
  return all;
}

// What the observers of a call do, if there are any.
struct observers {
  trace::checker check;
  trace::timeline all;
};

// Closes everything while no allocation succeeds.
template <class Machine>
void close_all(Machine& m) {
  plan.arm(1, true);
  for (int fd = 0; fd < 128; ++fd) (void)m.task.close(fd);
  m.task.exit();
  plan.armed = false;
  CHECK(m.task.descriptors() == 0);
  CHECK(m.world.containers() == 0);
  CHECK(m.world.iommufds() == 0);
  const sim::snapshot s = m.kernel.look();
  CHECK(s.vms.empty());
  for (const sim::group_state& g : s.groups) {
    CHECK_FALSE(g.open);
    CHECK(g.viable);
    CHECK(g.vm.empty());
    for (const sim::device_state& d : g.devices) CHECK(d.open_count == 0);
  }
}

template <class Machine>
void check_requests(const std::vector<request<Machine>>& all, const sim::world_options& options,
                    bool observed) {
  for (const request<Machine>& r : all) {
    INFO(r.name);
    std::size_t refused = 0;
    for (std::size_t nth = 1, failed = 1; failed != 0; ++nth) {
      REQUIRE(nth < 1000);
      observers watch;
      Machine m(two_groups(), options);
      if (observed) {
        m.task.observe(watch.check);
        m.task.observe(watch.all);
      }
      numbers n;
      r.prepare(m, n);
      const sim::snapshot before = m.kernel.look();
      const std::size_t descriptors = m.task.descriptors();
      const std::uint64_t epoch = m.kernel.vfio.coherency_epoch();
      numbers used = n;
      plan.arm(nth);
      const errc e = r.call(m, used);
      plan.armed = false;
      failed = plan.failed;
      INFO("allocation " << nth);
      if (e != errc::ok) {
        ++refused;
        CHECK(e == errc::nomem);
        CHECK(failed == 1);
        CHECK(sim::difference(before, m.kernel.look()).empty());
        CHECK(m.task.descriptors() == descriptors);
        CHECK(m.kernel.vfio.coherency_epoch() == epoch);
        CHECK(m.task.mappings() == 0);
        used = n;
        CHECK(r.call(m, used) == errc::ok);
      }
      close_all(m);
    }
    const bool closes = std::string_view(r.name).starts_with("close");
    if (closes || std::string_view(r.name).starts_with("UNSET")) CHECK(refused == 0);
  }
}

// A VMM's life in steps, of which each may be made again after it had no memory.
template <class Machine>
using life = std::vector<errc (*)(Machine&, numbers&)>;

template <class Number>
errc keep(const kvm_vfio::result<Number>& made, int& number) {
  if (made) number = static_cast<int>(*made);
  return made.error();
}
template <class Machine>
const life<Machine>& start_of_vm() {
  using M = Machine;
  static const life<M> steps = {
      [](M& m, numbers& n) { return keep(m.task.open("/dev/kvm"), n.kvm); },
      [](M& m, numbers& n) { return keep(m.client::create_vm(n.kvm), n.vm); },
      [](M& m, numbers& n) { return keep(m.client::create_kvm_vfio(n.vm), n.dev); },
      [](M& m, numbers& n) { return keep(m.task.eventfd(), n.event); },
  };
  return steps;
}
template <class Machine>
const life<Machine>& life_in_container() {
  using M = Machine;
  static const life<M> steps = {
      [](M& m, numbers& n) { return keep(m.task.open("/dev/vfio/vfio"), n.container); },
      [](M& m, numbers& n) { return keep(m.task.open("/dev/vfio/1"), n.group); },
      [](M& m, numbers& n) { return m.set_container(n.group, n.container); },
      [](M& m, numbers& n) { return m.set_iommu(n.container, VFIO_TYPE1_IOMMU); },
      [](M& m, numbers& n) { return m.add(n.dev, n.group); },
      [](M& m, numbers& n) { return map_dma(m, n.container, 0x10000, 0x4000); },
      [](M& m, numbers& n) { return keep(m.task.open("/dev/vfio/2"), n.other_group); },
      [](M& m, numbers& n) { return m.set_container(n.other_group, n.container); },
      [](M& m, numbers& n) { return keep(m.device_fd(n.group, "0000:00:04.0"), n.device); },
      [](M& m, numbers& n) {
        irq_argument a = arm(VFIO_PCI_MSIX_IRQ_INDEX, n.event);
        return m.ioctl_at(n.device, VFIO_DEVICE_SET_IRQS, a);
      },
      [](M& m, numbers& n) { return map_dma(m, n.container, 0x20000, 0x1000); },
      [](M& m, numbers& n) { return unmap_dma(m, n.container, 0x10000, 0x4000); },
      [](M& m, numbers& n) { return m.del(n.dev, n.group); },
  };
  return steps;
}
template <class Machine>
const life<Machine>& life_in_iommufd() {
  using M = Machine;
  static const life<M> steps = {
      [](M& m, numbers& n) { return keep(m.task.open("/dev/iommu"), n.iommufd); },
      [](M& m, numbers& n) {
        u::iommu_ioas_alloc alloc{};
        alloc.size = sizeof alloc;
        const errc e = m.ioctl_at(n.iommufd, u::request_ioas_alloc, alloc);
        n.ioas = alloc.out_ioas_id;
        return e;
      },
      [](M& m, numbers& n) { return keep(m.task.open("/dev/vfio/devices/vfio0"), n.cdev); },
      [](M& m, numbers& n) { return m.add(n.dev, n.cdev); },
      [](M& m, numbers& n) { return map_ioas(m, n, 0x10000, 0x4000, u::map_fixed_iova); },
      [](M& m, numbers& n) { return bind(m, n); },
      [](M& m, numbers& n) { return attach(m, n, n.ioas); },
      [](M& m, numbers& n) { return map_ioas(m, n, 0x20000, 0x1000, u::map_fixed_iova); },
      [](M& m, numbers& n) {
        u::iommu_ioas_unmap unmap{};
        unmap.size = sizeof unmap;
        unmap.ioas_id = n.ioas;
        unmap.iova = 0x10000;
        unmap.length = 0x4000;
        return m.ioctl_at(n.iommufd, u::request_ioas_unmap, unmap);
      },
      [](M& m, numbers& n) {
        u::device_detach_iommufd_pt d{.argsz = sizeof d, .flags = 0};
        return m.ioctl_at(n.cdev, u::request_detach_iommufd_pt, d);
      },
  };
  return steps;
}

// What a life leaves, and how many of its allocations failed.
struct outcome {
  std::size_t failed;
  sim::snapshot after;
};
// Lives with the n-th allocation failing, and the m-th; 0 is none. A step without memory is made
// again.
template <class Machine>
outcome live(const life<Machine>& steps, std::size_t n, std::size_t m) {
  Machine machine(two_groups());
  numbers all;
  plan.arm_two(n, m);
  for (const auto* part : {&start_of_vm<Machine>(), &steps})
    for (const auto& step : *part) {
      std::size_t refused = 0;
      errc e = errc::nomem;
      for (; e == errc::nomem && refused != 3; ++refused) e = step(machine, all);
      plan.armed = false;
      REQUIRE(e == errc::ok);
      plan.armed = true;
    }
  plan.armed = false;
  outcome o{plan.failed, machine.kernel.look()};
  close_all(machine);
  return o;
}
// Afterwards the machine is as after a life with memory. Returns the number of pairs.
template <class Machine>
std::size_t check_pairs(const life<Machine>& steps) {
  const sim::snapshot after = live(steps, 0, 0).after;
  return support::each_pair([&](std::size_t n, std::size_t m) {
    INFO("the allocations " << n << " and " << m);
    const outcome o = live(steps, n, m);
    CHECK(sim::difference(after, o.after).empty());
    return o.failed;
  });
}

template <class Profile, class Iommu = sim::iommu>
void check_all(bool observed) {
  using machine = machine_under_test<Profile, Iommu>;
  if constexpr (std::is_same_v<Iommu, sim::iommu>) {
    check_requests(container_requests<machine>(), {}, observed);
    if constexpr (!std::is_same_v<Profile, kvm_vfio::linux_6_1>)
      check_requests(iommufd_requests<machine>(), {}, observed);
    if constexpr (std::is_same_v<Profile, kvm_vfio::linux_7_3>)
      check_requests(rare_requests<machine>(), {}, observed);
  } else {
    check_requests(power_requests<machine>(), {.iommu = sim::iommu_kind::spapr}, observed);
  }
}

}  // namespace

TEST_CASE("no memory: each request of Linux 6.1 fails with ENOMEM and changes nothing") {
  check_all<kvm_vfio::linux_6_1>(false);
}
TEST_CASE("no memory: each request of Linux 7.3 fails with ENOMEM and changes nothing") {
  check_all<kvm_vfio::linux_7_3>(false);
}
TEST_CASE("no memory: each request on POWER fails with ENOMEM and changes nothing") {
  check_all<kvm_vfio::linux_7_3, sim::kvm_spapr_tce>(false);
}
TEMPLATE_TEST_CASE("no memory twice in a VM's life: the steps made again lead to the same end", "",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_7_3) {
  using machine = machine_under_test<TestType>;
  CHECK(check_pairs(life_in_container<machine>()) > 500);
  if constexpr (!std::is_same_v<TestType, kvm_vfio::linux_6_1>)
    CHECK(check_pairs(life_in_iommufd<machine>()) > 500);
}
TEST_CASE("no memory for observers: they change no answer") {
  check_all<kvm_vfio::linux_6_1>(true);
  check_all<kvm_vfio::linux_7_3>(true);
}
