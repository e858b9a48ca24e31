// SPDX-License-Identifier: BSL-1.0
// A whole machine without hardware. The IOMMU of a group cannot enforce coherency. The VMM plugs a
// device of this group into a VM, prints the state, and makes the mistake that leaves the group
// busy.
#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/trace/checker.hpp>

#include <cstdint>
#include <cstdio>
#include <string_view>

namespace {
namespace kv = kvm_vfio;
namespace sim = kvm_vfio::sim;
namespace trace = kvm_vfio::trace;

/// The calls of a VMM, with the errors that it would see.
struct vmm {
  sim::process& task;

  int open(const char* path) { return static_cast<int>(task.open(path).value()); }
  template <class T>
  sim::answer ioctl(int fd, unsigned long request, T& argument) {
    return task.ioctl(fd, request, reinterpret_cast<std::uintptr_t>(&argument));
  }
  kv::errc file(int device, std::uint64_t what, int fd) {
    std::int32_t argument = fd;
    kvm_device_attr attr{.flags = 0,
                         .group = kv::uapi::dev_vfio_file,
                         .attr = what,
                         .addr = reinterpret_cast<std::uintptr_t>(&argument)};
    return ioctl(device, KVM_SET_DEVICE_ATTR, attr).error();
  }
};
}  // namespace

int main(int argc, char** argv) {
  sim::topology machine;
  machine.iommus[0].snoop_control = false;
  machine.groups.push_back({.number = 7, .devices = {{.name = "0000:aa:00.0"}}});

  sim::kernel<> kernel(machine);  // VFIO and KVM of Linux 7.3
  sim::memory memory;
  sim::process task(kernel, memory);
  trace::checker checker;
  task.observe(checker);
  vmm v{task};

  const auto vm = static_cast<int>(task.ioctl(v.open("/dev/kvm"), KVM_CREATE_VM, 0).value());
  kvm_create_device create{.type = KVM_DEV_TYPE_VFIO, .fd = 0, .flags = 0};
  if (!v.ioctl(vm, KVM_CREATE_DEVICE, create)) return 1;
  const auto device = static_cast<int>(create.fd);

  int group = v.open("/dev/vfio/7");
  int container = v.open("/dev/vfio/vfio");
  if (!v.ioctl(group, VFIO_GROUP_SET_CONTAINER, container)) return 1;
  if (!task.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) return 1;
  if (v.file(device, kv::uapi::dev_vfio_file_add, group) != kv::errc::ok) return 1;
  const char name[] = "0000:aa:00.0";
  const sim::answer opened = v.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
  if (!opened) return 1;

  const sim::snapshot seen = kernel.look();
  const std::string_view form = argc > 1 ? argv[1] : "text";
  if (form == "json" || form == "dot") {
    std::fputs((form == "json" ? to_json(seen) : to_dot(seen)).c_str(), stdout);
    return 0;
  }
  std::printf(
      "On a simulated machine, the device 0000:aa:00.0 of the VFIO group 7 is plugged into a VM.\n"
      "Its IOMMU cannot enforce coherent DMA, so KVM must register noncoherent DMA. The state of\n"
      "the simulated kernel:\n\n"
      "%s\n",
      to_text(seen).c_str());

  // The VMM unplugs the device without FILE_DEL, so kvm-vfio still holds the group.
  (void)task.close(static_cast<int>(*opened));
  (void)task.ioctl(group, VFIO_GROUP_UNSET_CONTAINER, 0);
  (void)task.close(group);
  const kv::errc again = task.open("/dev/vfio/7").error();
  std::printf(
      "Then the VMM closes the device and the group, and forgets FILE_DEL. When it opens the\n"
      "group again, the call fails with %s. The checker has seen all calls. It reports:\n\n%s",
      kv::name(again), checker.text().c_str());
  return again == kv::errc::busy && checker.reports().size() == 2 ? 0 : 1;
}
