// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Paths that nearly name a file, and odd arguments of VMs, eventfds and devices.

#include "odd_calls.hpp"

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device.
template <class System>
class odd_arguments : odd_calls<System> {
  using base = odd_calls<System>;
  using base::ask;
  using base::cut;
  using base::m_;
  using base::memory_;
  using base::on_;
  using base::page_;
  using base::pair;
  using base::read_only;

 public:
  odd_arguments(recorder<System>& on, const machine& m, const dma_memory& memory)
      : base(on, m, memory) {}

  void run(const target& t) {
    paths();
    virtual_machines();
    events();
    device(t);
    on_.close_all();
  }

 private:
  using typename base::numbers;

  void paths() {
    const auto open = [&](const std::string& path, int flags) {
      const auto fd = on_.sys().open(path.c_str(), flags);
      on_.say("open " + path.substr(0, 40), fd.error());
      if (fd) (void)on_.sys().close(*fd);
    };
    for (const char* const path :
         {"/dev/vfio/0", "/dev/vfio/01", "/dev/vfio/-1", "/dev/vfio/1:", "/dev/vfio/9999999999",
          "/dev/vfio/99999999999", "/dev/vfio/vfio/x", "/dev/vfio/devices/vfio",
          "/dev/vfio/devices/vfio00", "/dev/vfio/devices/noiommu-vfio0", "/dev/vfio/noiommu-1",
          "/dev/iommu/x", "/dev/kvm/x"})
      open(path, O_RDWR);
    for (const char* const path : {"/dev/vfio/vfio", "/dev/iommu", "/dev/vfio/none"})
      open(path, O_PATH);
    const target& first = m_.targets.front();
    if (!first.cdev.empty()) {
      open(first.cdev, O_PATH);
      open(first.cdev + "/x", O_RDWR);
    }
    // A folder can be opened, but not for writing.
    for (const char* const path : {"/", "/dev", "/dev/", "/dev/vfio", "/dev/vfio/",
                                   "/dev/vfio/devices", "none", "/dev/vfio/vfio/"})
      open(path, O_RDWR);
    open("/dev/vfio/none", O_RDONLY);
    open(first.group, O_PATH);
    open(first.group + "/x", O_RDWR);
    open("/" + std::string(5000, 'x'), O_RDWR);
    // Volatile: a compiler that sees the null pointer warns, because open(2) is declared nonnull.
    const char* volatile const nothing = nullptr;
    on_.say("open nothing", on_.sys().open(nothing, O_RDWR).error());
  }
  void virtual_machines() {
    const int kvm = on_.open("kvm", "/dev/kvm");
    on_.ioctl("CREATE_VM of a type", kvm, KVM_CREATE_VM, 99);
    const int vm = on_.make("CREATE_VM", kvm, KVM_CREATE_VM);
    for (const int fd : {kvm, vm})
      for (const int which :
           {KVM_CAP_IRQCHIP, KVM_CAP_USER_MEMORY, KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
            KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, KVM_CAP_IRQFD, KVM_CAP_IRQFD_RESAMPLE,
            KVM_CAP_IOEVENTFD, KVM_CAP_IOEVENTFD_NO_LENGTH, KVM_CAP_IOEVENTFD_ANY_LENGTH,
            KVM_CAP_READONLY_MEM, KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_DEVICE_CTRL, 99999})
        on_.ioctl("CHECK_EXTENSION " + std::to_string(which), fd, KVM_CHECK_EXTENSION,
                  static_cast<std::uintptr_t>(which));
    const auto slot = [&](std::uint32_t flags, std::uint64_t at, std::uint64_t size,
                          std::uint64_t memory) {
      ask("SET_USER_MEMORY_REGION", vm, KVM_SET_USER_MEMORY_REGION,
          {pair(0, flags), at, size, memory});
    };
    slot(0, 0, page_, (std::uint64_t{1} << 47) - page_);
    slot(0, 0, page_, memory_.there);
    slot(KVM_MEM_READONLY, 0, page_, memory_.there);
    slot(0, 0, page_, memory_.there + page_);
    slot(0, 0, page_, memory_.there);
    slot(0, 0, 0, 0);
    const int event = on_.eventfd();
    const auto watch = [&](std::uint64_t match, std::uint32_t flags) {
      const numbers c{match, 0x1000, pair(4, static_cast<std::uint32_t>(event)), flags, 0, 0, 0, 0};
      on_.ioctl_of("IOEVENTFD", vm, KVM_IOEVENTFD, c);
    };
    watch(1, KVM_IOEVENTFD_FLAG_DATAMATCH);
    watch(2, KVM_IOEVENTFD_FLAG_DATAMATCH);
    watch(1, KVM_IOEVENTFD_FLAG_DATAMATCH);
    watch(3, KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_DEASSIGN);
    watch(1, KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_DEASSIGN);
    // The device stays if the kernel cannot write the number of its descriptor: it is the next one.
    const int next = on_.eventfd();
    on_.close("next", next);
    read_only("CREATE_DEVICE", vm, KVM_CREATE_DEVICE, {pair(KVM_DEV_TYPE_VFIO, 0), 0});
    on_.close("device", next);
    // Eight bytes are less than the struct has.
    cut("CREATE_DEVICE", vm, KVM_CREATE_DEVICE, {pair(KVM_DEV_TYPE_VFIO, 0), 0}, 8);
    on_.close_all();
  }
  void events() {
    const int event = on_.eventfd();
    unsigned char bytes[16] = {1};
    auto* const absent = reinterpret_cast<unsigned char*>(memory_.absent);
    auto* const high = reinterpret_cast<unsigned char*>(~std::uintptr_t{0} - 3);
    auto* const kernels = reinterpret_cast<unsigned char*>(std::uintptr_t{1} << 63);
    on_.say("short read", on_.sys().read(event, bytes, 4));
    on_.say("short write", on_.sys().write(event, bytes, 4));
    on_.say("long write", on_.sys().write(event, bytes, 16));
    on_.say("long read", on_.sys().read(event, bytes, 16));
    for (unsigned char* const at : {absent, high, kernels})
      for (const std::size_t size : {4U, 8U}) {
        on_.say("write from odd memory", on_.sys().write(event, at, size));
        on_.say("read to odd memory", on_.sys().read(event, at, size));
      }
    std::memset(bytes, 0xff, 8);
    on_.say("the largest number", on_.sys().write(event, bytes, 8));
    on_.close_all();
  }
  void device(const target& t) {
    const opened_device o = on_.open_device(t);
    auto* const absent = reinterpret_cast<unsigned char*>(memory_.absent);
    for (unsigned char* const at :
         {absent, absent - 2, reinterpret_cast<unsigned char*>(~std::uintptr_t{0} - 3),
          reinterpret_cast<unsigned char*>(std::uintptr_t{1} << 63)}) {
      on_.say("read to odd memory", on_.sys().pread(o.device, at, 4, config_space));
      on_.say("write from odd memory", on_.sys().pwrite(o.device, at, 4, config_space + 0x3c));
      on_.say("read(2) to odd memory", on_.sys().read(o.device, at, 4));
    }
    std::vector<unsigned char> all(300);
    on_.say("a long read", on_.sys().pread(o.device, all.data(), all.size(), config_space));
    on_.say("the end", on_.sys().pread(o.device, all.data(), 4, config_space + (1 << 20)));
    on_.say("mmap of too much", on_.sys().mmap(~std::size_t{0}, 1, o.device, 0).error());
    on_.say("munmap", on_.sys().munmap(reinterpret_cast<void*>(1), 4096));
    on_.say("munmap of nothing", on_.sys().munmap(absent, 0));
    const int event = on_.eventfd();
    const auto irqs = [&](const std::string& what, std::uint32_t flags, std::uint32_t index,
                          std::uint32_t count, int fd) {
      auto c = words({24, flags, index, 0, count, static_cast<std::uint32_t>(fd)});
      on_.ioctl_of("SET_IRQS " + what, o.device, VFIO_DEVICE_SET_IRQS, c);
    };
    constexpr std::uint32_t files = VFIO_IRQ_SET_DATA_EVENTFD;
    constexpr std::uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
    irqs("nothing", VFIO_IRQ_SET_DATA_BOOL | trigger, 0, 0, 0);
    irqs("an eventfd", files | trigger, 0, 1, event);
    irqs("two actions", files | trigger | VFIO_IRQ_SET_ACTION_MASK, 0, 1, event);
    irqs("mask nothing", VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 0, 0);
    irqs("no descriptor", files | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, 9999);
    irqs("no eventfd", files | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, o.group);
    for (const std::uint32_t index : {0U, 3U, 4U})
      for (const int fd : {-2, 9999, o.group})
        irqs("odd descriptor", files | trigger, index, 1, fd);
    cut("SET_IRQS", o.device, VFIO_DEVICE_SET_IRQS, {pair(24, files | trigger), pair(4, 0), 1}, 20);
    for (const std::uint64_t request :
         {std::uint64_t{VFIO_DEVICE_GET_INFO}, std::uint64_t{VFIO_DEVICE_GET_IRQ_INFO},
          std::uint64_t{VFIO_DEVICE_GET_REGION_INFO},
          std::uint64_t{VFIO_DEVICE_GET_PCI_HOT_RESET_INFO}}) {
      for (const std::size_t size : {4U, 8U, 12U, 16U, 20U, 24U, 32U})
        cut("device request " + std::to_string(request & 0xff), o.device, request,
            {pair(64, 0), 0, 0, 0}, size);
      read_only("device request " + std::to_string(request & 0xff), o.device, request,
                {pair(32, 0), 0, 0, 0});
    }
    // Options of the kernel's build decide about low power (3 to 5) and about giving the memory of
    // a BAR to others (11).
    for (std::uint32_t feature = 0; feature < 14; ++feature) {
      if ((feature >= 3 && feature <= 5) || feature == 11) continue;
      ask("FEATURE " + std::to_string(feature), o.device, VFIO_DEVICE_FEATURE,
          {pair(8, feature | VFIO_DEVICE_FEATURE_PROBE)});
    }
    ask("FEATURE, unknown flag", o.device, VFIO_DEVICE_FEATURE, {pair(8, 1U << 30)});
    cut("HOT_RESET", o.device, VFIO_DEVICE_PCI_HOT_RESET, {pair(16, 0), pair(1, 0)}, 12);
    on_.close_all();
  }
};

}  // namespace vfio_lockstep::fixed
