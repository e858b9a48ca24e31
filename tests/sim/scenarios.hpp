// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a VMM does with VFIO and KVM, call by call, on any system: the simulator, or real system
/// calls. Each scenario writes what the calls answered; equal transcripts mean equal systems.

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include "registers.hpp"
#include "support/vmm.hpp"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace scenarios {

/// What there is to play with.
struct target {
  std::string group = "/dev/vfio/1";
  std::string device = "0000:00:04.0";  ///< in that group; PCI, not needed by the host
  std::string device_file{};            ///< its character device; empty: there is none
};

/// What the calls answered: "label: 0", "label: EBUSY", "label: fd".
class transcript {
 public:
  explicit transcript(std::vector<std::string>& lines) noexcept : lines_(lines) {}
  /// What a call answered that makes nothing: 0, or an error.
  void value(const std::string& label, kvm_vfio::errc answer) {
    (void)value(label, long{kvm_vfio::kernel_return(answer)});
  }
  long value(const std::string& label, long answer) {
    lines_.push_back(label + ": " + (answer < 0 ? error(answer) : std::to_string(answer)));
    return answer;
  }
  /// A descriptor, whose number does not matter. \return the descriptor, or -1
  int fd(const std::string& label, const kvm_vfio::result<int>& answer) {
    return fd(label, answer ? long{*answer} : long{kvm_vfio::kernel_return(answer.error())});
  }
  int fd(const std::string& label, long answer) {
    lines_.push_back(label + ": " + (answer < 0 ? error(answer) : "fd"));
    return answer < 0 ? -1 : static_cast<int>(answer);
  }
  void hex(const std::string& label, std::uint64_t number) {
    char text[20];
    static constexpr char digits[] = "0123456789abcdef";
    std::size_t n = sizeof text;
    do text[--n] = digits[number & 15];
    while (number >>= 4);
    lines_.push_back(label + " = 0x" + std::string(text + n, sizeof text - n));
  }

 private:
  static std::string error(long answer) {
    const auto e = static_cast<int>(-answer);
    const char* const name = ::strerrorname_np(e);
    return name ? name : std::to_string(answer);
  }
  std::vector<std::string>& lines_;
};

/// The address of an ioctl's argument.
template <class T>
[[nodiscard]] std::uintptr_t at(T& object) noexcept {
  return support::address_of(object);
}

/// What most scenarios start with, call by call; closed at the end, in reverse.
template <support::system System>
class client {
 public:
  client(System& system, const target& on, std::vector<std::string>& lines)
      : sys(system), calls(system), to(on), say(lines) {}
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() {
    for (const int fd : {device, group, container, kvm_vfio, vm, kvm})
      if (fd >= 0) (void)sys.close(fd);
  }

  void open_group() { group = say.fd("open group", sys.open(to.group.c_str())); }
  void open_container() { container = say.fd("open container", sys.open("/dev/vfio/vfio")); }
  void set_container() { say.value("SET_CONTAINER", calls.set_container(group, container)); }
  void set_iommu(unsigned long type = VFIO_TYPE1v2_IOMMU) {
    say.value("SET_IOMMU", calls.set_iommu(container, type));
  }
  void open_device() {
    device = say.fd("GET_DEVICE_FD", calls.device_fd(group, to.device.c_str()));
  }
  void open_all() {
    open_group();
    open_container();
    set_container();
    set_iommu();
    open_device();
  }
  void create_vm() {
    kvm = say.fd("open /dev/kvm", sys.open("/dev/kvm"));
    vm = say.fd("CREATE_VM", calls.create_vm(kvm));
  }
  long create_device(kvm_create_device& create) {
    return sys.ioctl(vm, KVM_CREATE_DEVICE, at(create));
  }
  void create_kvm_vfio() {
    const kvm_vfio::result<int> made = calls.create_kvm_vfio(vm);
    say.value("CREATE_DEVICE", made.error());
    if (made) kvm_vfio = *made;
  }
  void add(const char* label, int fd) { say.value(label, calls.add(kvm_vfio, fd)); }
  void del(const char* label, int fd) { say.value(label, calls.del(kvm_vfio, fd)); }
  void shut(const char* label, int& fd) {
    say.value(label, sys.close(fd));
    fd = -1;
  }

  System& sys;
  support::vmm<System> calls;
  const target& to;
  transcript say;
  int kvm = -1, vm = -1, kvm_vfio = -1, container = -1, group = -1, device = -1;
};

/// Opening, status, the way into a container and out of it.
template <support::system System>
void groups(System& sys, const target& on, std::vector<std::string>& lines) {
  client<System> c(sys, on, lines);
  c.open_container();
  c.say.value("GET_API_VERSION", sys.ioctl(c.container, VFIO_GET_API_VERSION, 0));
  c.say.value("has type1", sys.ioctl(c.container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
  c.say.value("has type1v2", sys.ioctl(c.container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU));
  c.say.value("has cc", sys.ioctl(c.container, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU));
  c.say.value("has 99", sys.ioctl(c.container, VFIO_CHECK_EXTENSION, 99));
  c.set_iommu();
  c.open_group();
  c.say.fd("open group again", sys.open(on.group.c_str()));
  vfio_group_status status{.argsz = sizeof status, .flags = 99};
  c.say.value("GET_STATUS", sys.ioctl(c.group, VFIO_GROUP_GET_STATUS, at(status)));
  c.say.hex("flags", status.flags);
  status.argsz = 4;
  c.say.value("GET_STATUS, short", sys.ioctl(c.group, VFIO_GROUP_GET_STATUS, at(status)));
  c.say.value("GET_STATUS, null", sys.ioctl(c.group, VFIO_GROUP_GET_STATUS, 0));
  c.say.value("UNSET_CONTAINER, in none", sys.ioctl(c.group, VFIO_GROUP_UNSET_CONTAINER, 0));
  c.open_device();
  std::int32_t fd = -1;
  c.say.value("SET_CONTAINER -1", sys.ioctl(c.group, VFIO_GROUP_SET_CONTAINER, at(fd)));
  fd = 9999;
  c.say.value("SET_CONTAINER closed", sys.ioctl(c.group, VFIO_GROUP_SET_CONTAINER, at(fd)));
  fd = c.group;
  c.say.value("SET_CONTAINER group", sys.ioctl(c.group, VFIO_GROUP_SET_CONTAINER, at(fd)));
  c.say.value("SET_CONTAINER null", sys.ioctl(c.group, VFIO_GROUP_SET_CONTAINER, 0));
  c.set_container();
  c.set_container();
  c.say.value("GET_INFO, no IOMMU", sys.ioctl(c.container, VFIO_IOMMU_GET_INFO, at(status)));
  c.open_device();
  c.set_iommu(99);
  c.set_iommu();
  c.set_iommu();
  status.argsz = sizeof status;
  c.say.value("GET_STATUS", sys.ioctl(c.group, VFIO_GROUP_GET_STATUS, at(status)));
  c.say.hex("flags", status.flags);
  c.say.value("group: unknown ioctl", sys.ioctl(c.group, VFIO_DEVICE_RESET, 0));
  c.say.value("container: unknown ioctl", sys.ioctl(c.container, VFIO_DEVICE_RESET, 0));
  c.say.fd("GET_DEVICE_FD nosuch", c.calls.device_fd(c.group, "nosuch"));
  c.say.fd("GET_DEVICE_FD null", c.calls.device_fd(c.group, nullptr));
  c.open_device();
  c.say.value("UNSET_CONTAINER, in use", sys.ioctl(c.group, VFIO_GROUP_UNSET_CONTAINER, 0));
  c.shut("close device", c.device);
  c.say.value("UNSET_CONTAINER", sys.ioctl(c.group, VFIO_GROUP_UNSET_CONTAINER, 0));
  c.say.value("GET_INFO, IOMMU gone", sys.ioctl(c.container, VFIO_IOMMU_GET_INFO, at(status)));
}

/// Who keeps what alive.
template <support::system System>
void lifetimes(System& sys, const target& on, std::vector<std::string>& lines) {
  client<System> c(sys, on, lines);
  c.open_all();
  c.shut("close group", c.group);
  c.say.fd("open group, its device is open", sys.open(on.group.c_str()));
  int copy = c.say.fd("dup device", sys.dup(c.device));
  c.shut("close device", c.device);
  c.say.fd("open group, the copy is open", sys.open(on.group.c_str()));
  c.shut("close copy", copy);
  c.open_group();
  c.set_container();
  c.shut("close container", c.container);
  c.say.value("UNSET_CONTAINER", sys.ioctl(c.group, VFIO_GROUP_UNSET_CONTAINER, 0));
  c.shut("close group", c.group);

  c.open_all();
  c.create_vm();
  c.create_kvm_vfio();
  c.add("FILE_ADD group", c.group);
  c.shut("close device", c.device);
  c.shut("close group, tracked", c.group);
  c.say.fd("open group, tracked", sys.open(on.group.c_str()));
  c.shut("close kvm-vfio", c.kvm_vfio);
  c.open_group();
}

/// The kvm-vfio device with VFIO behind it.
template <support::system System>
void tracking(System& sys, const target& on, std::vector<std::string>& lines) {
  client<System> c(sys, on, lines);
  c.create_vm();
  kvm_create_device test = support::create_argument(KVM_CREATE_DEVICE_TEST);
  test.fd = 7;
  c.say.value("CREATE_DEVICE, test", c.create_device(test));
  c.say.value("fd", static_cast<long>(test.fd));
  c.create_kvm_vfio();
  kvm_create_device second = support::create_argument();
  c.say.value("CREATE_DEVICE again", c.create_device(second));
  c.open_all();
  c.add("FILE_ADD -1", -1);
  c.add("FILE_ADD kvm", c.kvm);
  c.add("FILE_ADD container", c.container);
  c.add("FILE_ADD kvm-vfio", c.kvm_vfio);
  c.del("FILE_DEL group, untracked", c.group);
  c.add("FILE_ADD group", c.group);
  c.add("FILE_ADD group again", c.group);
  int copy = c.say.fd("dup group", sys.dup(c.group));
  c.add("FILE_ADD copy", copy);
  c.del("FILE_DEL copy", copy);
  c.del("FILE_DEL group", c.group);
  c.shut("close copy", copy);
  c.add("FILE_ADD device", c.device);
  c.del("FILE_DEL device", c.device);
  c.del("FILE_DEL kvm", c.kvm);
  c.shut("close vm", c.vm);
  c.add("FILE_ADD group, vm closed", c.group);
  c.del("FILE_DEL group, vm closed", c.group);
}

/// What VFIO says about cache coherency, before and after there is an IOMMU.
template <support::system System>
void coherency(System& sys, const target& on, std::vector<std::string>& lines) {
  client<System> c(sys, on, lines);
  const auto ask = [&](const char* label) {
    c.say.value(label, sys.ioctl(c.container, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU));
  };
  c.open_container();
  ask("empty container");
  c.open_group();
  c.set_container();
  ask("no IOMMU");
  c.set_iommu();
  ask("an IOMMU");
  c.say.value("UNSET_CONTAINER", sys.ioctl(c.group, VFIO_GROUP_UNSET_CONTAINER, 0));
  ask("no group any more");
}

/// Mapping and unmapping, version 2 and version 1.
template <support::system System>
void dma(System& sys, const target& on, std::vector<std::string>& lines) {
  alignas(4096) static char memory[4 * 4096];
  constexpr std::uint64_t page = 4096;
  constexpr std::uint64_t iova = 0x100000;
  for (const unsigned long type : {3UL, 1UL}) {  // VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU
    client<System> c(sys, on, lines);
    const auto map = [&](const char* label, std::uint64_t where, std::uint64_t size,
                         std::uint32_t flags = VFIO_DMA_MAP_FLAG_READ) {
      vfio_iommu_type1_dma_map m{.argsz = sizeof m,
                                 .flags = flags,
                                 .vaddr = reinterpret_cast<std::uintptr_t>(memory),
                                 .iova = where,
                                 .size = size};
      c.say.value(label, sys.ioctl(c.container, VFIO_IOMMU_MAP_DMA, at(m)));
    };
    const auto unmap = [&](const char* label, std::uint64_t where, std::uint64_t size,
                           std::uint32_t flags = 0) {
      vfio_iommu_type1_dma_unmap u{};
      u.argsz = sizeof u;
      u.flags = flags;
      u.iova = where;
      u.size = size;
      if (c.say.value(label, sys.ioctl(c.container, VFIO_IOMMU_UNMAP_DMA, at(u))) == 0)
        c.say.hex("size", u.size);
    };
    c.open_group();
    c.open_container();
    c.set_container();
    c.set_iommu(type);
    vfio_iommu_type1_info info{};
    info.argsz = 8;
    c.say.value("GET_INFO, short", sys.ioctl(c.container, VFIO_IOMMU_GET_INFO, at(info)));
    info.argsz = sizeof info;
    c.say.value("GET_INFO", sys.ioctl(c.container, VFIO_IOMMU_GET_INFO, at(info)));
    c.say.hex("flags", info.flags);
    c.say.value("wants more", info.argsz > sizeof info);
    map("map", iova, 2 * page);
    map("map again", iova, page);
    map("map over the end", iova + page, 2 * page);
    map("map after", iova + 2 * page, page);
    map("map nothing", iova + 8 * page, 0);
    map("map unaligned", iova + 8 * page + 1, page);
    map("map without access", iova + 8 * page, page, 0);
    map("map wrapping", ~std::uint64_t{0} & ~(page - 1), 2 * page);
    map("map the interrupt range", 0xfee00000, page);
    unmap("unmap nothing there", iova + 64 * page, page);
    unmap("unmap the second half", iova + page, page);
    unmap("unmap the first half", iova, page);
    map("map", iova, 2 * page);
    unmap("unmap unaligned", iova + 1, page);
    unmap("unmap size 0", iova, 0);
    unmap("unmap wrapping", ~std::uint64_t{0} & ~(page - 1), 2 * page);
    unmap("unmap more than both", iova, 16 * page);
    map("map", iova, page);
    unmap("unmap all, with a size", 0, page, VFIO_DMA_UNMAP_FLAG_ALL);
    unmap("unmap all", 0, 0, VFIO_DMA_UNMAP_FLAG_ALL);
    unmap("unmap, unknown flag", iova, page, 1U << 31);
  }
}

/// A PCI function: its regions, BAR sizing, reads and writes, capabilities.
template <support::system System>
void device(System& sys, const target& on, std::vector<std::string>& lines) {
  client<System> c(sys, on, lines);
  c.open_all();
  vfio_device_info info{};
  info.argsz = 8;
  c.say.value("GET_INFO, short", sys.ioctl(c.device, VFIO_DEVICE_GET_INFO, at(info)));
  info.argsz = sizeof info;
  c.say.value("GET_INFO", sys.ioctl(c.device, VFIO_DEVICE_GET_INFO, at(info)));
  c.say.value("regions", static_cast<long>(info.num_regions));
  c.say.value("irqs", static_cast<long>(info.num_irqs));
  vfio_region_info config{};
  for (std::uint32_t i = 0; i <= VFIO_PCI_NUM_REGIONS; ++i) {
    vfio_region_info region{};
    region.argsz = sizeof region;
    region.index = i;
    c.say.value("region " + std::to_string(i),
                sys.ioctl(c.device, VFIO_DEVICE_GET_REGION_INFO, at(region)));
    c.say.hex("flags", region.flags);
    c.say.hex("size", region.size);
    if (i == VFIO_PCI_CONFIG_REGION_INDEX) config = region;
  }
  for (std::uint32_t i = 0; i <= VFIO_PCI_NUM_IRQS; ++i) {
    vfio_irq_info irq{.argsz = sizeof irq, .flags = 0, .index = i, .count = 0};
    const long a = sys.ioctl(c.device, VFIO_DEVICE_GET_IRQ_INFO, at(irq));
    c.say.value("irq " + std::to_string(i), a);
    if (a == 0) c.say.hex("flags", irq.flags);
    if (a == 0) c.say.hex("count", irq.count);
  }
  const auto get = [&](std::uint64_t where) {
    std::uint32_t v = 0;
    (void)sys.pread(c.device, &v, 4, config.offset + where);
    return registers::little_endian(v);
  };
  const auto put = [&](std::uint64_t where, std::uint32_t v, std::size_t size = 4) {
    v = registers::little_endian(v);
    (void)sys.pwrite(c.device, &v, size, config.offset + where);
  };
  const std::uint32_t bar = get(0x10);
  put(0x10, ~0U);
  c.say.value("BAR 0 can be sized", (get(0x10) & ~0xfU) != 0 && (get(0x10) & 0xff0) == 0);
  put(0x10, bar);
  c.say.value("BAR 0 is back", get(0x10) == bar);
  const std::uint32_t id = get(0);
  put(0, ~id);
  c.say.value("the IDs cannot be written", get(0) == id);
  put(0x3c, 11, 1);
  c.say.value("interrupt line", static_cast<long>(get(0x3c) & 0xff));
  std::uint32_t v = 0;
  c.say.value("read past config", sys.pread(c.device, &v, 4, config.offset + config.size));
  c.say.value("read past every region",
              sys.pread(c.device, &v, 4, std::uint64_t{VFIO_PCI_NUM_REGIONS} << 40));
  put(0x04, 0, 2);
  c.say.value("read BAR 0, memory off", sys.pread(c.device, &v, 4, 0));
  put(0x04, 2, 2);
  c.say.value("read BAR 0, memory on", sys.pread(c.device, &v, 4, 0));
  c.say.value("RESET", sys.ioctl(c.device, VFIO_DEVICE_RESET, 0));
  c.say.value("unknown ioctl", sys.ioctl(c.device, VFIO_GET_API_VERSION, 0));
}

/// SET_IRQS: arming, triggering by loopback, the ways to get it wrong.
template <support::system System>
void interrupts(System& sys, const target& on, std::vector<std::string>& lines) {
  client<System> c(sys, on, lines);
  c.open_all();
  int event = c.say.fd("eventfd", sys.eventfd());
  const auto set = [&](const char* label, std::uint32_t index, std::uint32_t flags,
                       std::uint32_t start, std::uint32_t count, std::int32_t fd = -1) {
    const std::uint32_t argsz = (flags & VFIO_IRQ_SET_DATA_EVENTFD) ? 24 : 20;
    const std::uint32_t argument[] = {argsz, flags, index,
                                      start, count, static_cast<std::uint32_t>(fd)};
    c.say.value(label, sys.ioctl(c.device, VFIO_DEVICE_SET_IRQS, at(argument)));
  };
  const auto events = [&] {
    std::uint64_t n = 0;
    c.say.value("read event", sys.read_event(event, n));
    c.say.hex("events", n);
  };
  constexpr std::uint32_t msi = VFIO_PCI_MSI_IRQ_INDEX;
  constexpr std::uint32_t connect = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  constexpr std::uint32_t fire = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
  set("fire, not armed", msi, fire, 0, 1);
  set("arm, not an open descriptor", msi, connect, 0, 1, 9999);
  set("arm, not an event", msi, connect, 0, 1, c.group);
  set("arm", msi, connect, 0, 1, event);
  set("fire", msi, fire, 0, 1);
  set("fire", msi, fire, 0, 1);
  events();
  events();
  set("arm INTx beside it", VFIO_PCI_INTX_IRQ_INDEX, connect, 0, 1, event);
  set("mask", msi, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1);
  set("past the end", msi, fire, 1000, 1);
  set("two data types", msi, fire | VFIO_IRQ_SET_DATA_BOOL, 0, 1);
  set("no such index", VFIO_PCI_NUM_IRQS, fire, 0, 1);
  set("disarm", msi, fire, 0, 0);
  set("fire, disarmed", msi, fire, 0, 1);
  set("request: arm", VFIO_PCI_REQ_IRQ_INDEX, connect, 0, 1, event);
  set("request: fire", VFIO_PCI_REQ_IRQ_INDEX, fire, 0, 1);
  events();
  set("error: arm", VFIO_PCI_ERR_IRQ_INDEX, connect, 0, 1, event);
  set("error: fire", VFIO_PCI_ERR_IRQ_INDEX, fire, 0, 1);
  set("error: disarm", VFIO_PCI_ERR_IRQ_INDEX, connect, 0, 1, -1);
  set("error: fire, disarmed", VFIO_PCI_ERR_IRQ_INDEX, fire, 0, 1);
  c.shut("close event", event);
}

/// The character device and iommufd.
template <support::system System>
void iommufd(System& sys, const target& on, std::vector<std::string>& lines) {
  namespace u = kvm_vfio::uapi;
  client<System> c(sys, on, lines);
  if (on.device_file.empty()) return;
  int fd = c.say.fd("open /dev/iommu", sys.open("/dev/iommu"));
  c.device = c.say.fd("open device file", sys.open(on.device_file.c_str()));
  if (fd < 0 || c.device < 0) return;
  c.create_vm();
  c.create_kvm_vfio();
  c.add("FILE_ADD, unbound", c.device);
  c.add("FILE_ADD iommufd", fd);
  vfio_device_info info{};
  info.argsz = sizeof info;
  c.say.value("GET_INFO, unbound", sys.ioctl(c.device, VFIO_DEVICE_GET_INFO, at(info)));
  u::device_bind_iommufd bind{.argsz = sizeof bind, .flags = 0, .iommufd = -1, .out_devid = 0};
  const auto bind_to = [&](const char* label, int to, std::uint32_t flags = 0) {
    bind.iommufd = to;
    bind.flags = flags;
    c.say.value(label, sys.ioctl(c.device, u::request_bind_iommufd, at(bind)));
  };
  bind_to("BIND -1", -1);
  bind_to("BIND closed", 9999);
  bind_to("BIND vm", c.vm);
  bind_to("BIND, flags", fd, 1U << 31);
  bind_to("BIND", fd);
  bind_to("BIND again", fd);
  c.say.value("GET_INFO", sys.ioctl(c.device, VFIO_DEVICE_GET_INFO, at(info)));
  c.say.fd("open group, bound", sys.open(on.group.c_str()));
  u::iommu_ioas_alloc alloc{.size = sizeof alloc, .flags = 0, .out_ioas_id = 0};
  c.say.value("IOAS_ALLOC", sys.ioctl(fd, u::request_ioas_alloc, at(alloc)));
  u::device_attach_iommufd_pt attach{.argsz = sizeof attach, .flags = 0, .pt_id = 9999};
  c.say.value("ATTACH nothing", sys.ioctl(c.device, u::request_attach_iommufd_pt, at(attach)));
  attach.pt_id = alloc.out_ioas_id;
  c.say.value("ATTACH", sys.ioctl(c.device, u::request_attach_iommufd_pt, at(attach)));
  c.say.value("a page table of its own", attach.pt_id != alloc.out_ioas_id);
  u::iommu_ioas_iova_ranges ranges{};
  ranges.size = sizeof ranges;
  ranges.ioas_id = alloc.out_ioas_id;
  c.say.value("IOVA_RANGES, no room", sys.ioctl(fd, u::request_ioas_iova_ranges, at(ranges)));
  alignas(4096) static char memory[4096];
  u::iommu_ioas_map map{.size = sizeof map,
                        .flags = u::map_fixed_iova | u::map_readable | u::map_writeable,
                        .ioas_id = alloc.out_ioas_id,
                        .reserved = 0,
                        .user_va = reinterpret_cast<std::uintptr_t>(memory),
                        .length = sizeof memory,
                        .iova = 0x100000};
  c.say.value("IOAS_MAP", sys.ioctl(fd, u::request_ioas_map, at(map)));
  c.say.value("IOAS_MAP again", sys.ioctl(fd, u::request_ioas_map, at(map)));
  u::iommu_ioas_unmap unmap{
      .size = sizeof unmap, .ioas_id = alloc.out_ioas_id, .iova = 0x100000, .length = 4096};
  c.say.value("IOAS_UNMAP", sys.ioctl(fd, u::request_ioas_unmap, at(unmap)));
  c.say.value("IOAS_UNMAP again", sys.ioctl(fd, u::request_ioas_unmap, at(unmap)));
  const auto destroy = [&](const char* label, std::uint32_t id) {
    u::iommu_destroy d{.size = sizeof d, .id = id};
    c.say.value(label, sys.ioctl(fd, u::request_destroy, at(d)));
  };
  destroy("DESTROY ioas, in use", alloc.out_ioas_id);
  destroy("DESTROY device", bind.out_devid);
  destroy("DESTROY nothing", 9999);
  u::device_detach_iommufd_pt detach{.argsz = sizeof detach, .flags = 0};
  c.say.value("DETACH", sys.ioctl(c.device, u::request_detach_iommufd_pt, at(detach)));
  destroy("DESTROY ioas", alloc.out_ioas_id);
  c.say.value("unknown ioctl", sys.ioctl(fd, VFIO_DEVICE_RESET, 0));
  c.shut("close iommufd", fd);
  c.say.value("GET_INFO, still bound", sys.ioctl(c.device, VFIO_DEVICE_GET_INFO, at(info)));
  c.del("FILE_DEL", c.device);
  c.shut("close device file", c.device);
  c.open_group();
}

/// All of them.
inline constexpr const char* names[] = {"groups", "lifetimes", "tracking",   "coherency",
                                        "dma",    "device",    "interrupts", "iommufd"};

/// One by its name; empty: there is none, or it cannot run on this target.
template <support::system System>
[[nodiscard]] std::vector<std::string> run(System& sys, const std::string& name, const target& on) {
  std::vector<std::string> lines;
  if (name == "groups") groups(sys, on, lines);
  else if (name == "lifetimes") lifetimes(sys, on, lines);
  else if (name == "tracking") tracking(sys, on, lines);
  else if (name == "coherency") coherency(sys, on, lines);
  else if (name == "dma") dma(sys, on, lines);
  else if (name == "device") device(sys, on, lines);
  else if (name == "interrupts") interrupts(sys, on, lines);
  else if (name == "iommufd") iommufd(sys, on, lines);
  return lines;
}

}  // namespace scenarios
