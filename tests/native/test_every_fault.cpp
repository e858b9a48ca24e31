// SPDX-License-Identifier: BSL-1.0
// A VMM gives a device to a VM, uses the device and ends, with the classes of native/ on a
// simulated process. Each system call fails in turn, and each pair of them. The VMM learns of each
// failure that a function can report, and nothing of the VM is left.
#include "../sim/fixture.hpp"
#include "support/catch.hpp"
#include "support/every_fault.hpp"

#include <kvm_vfio/native/armed_irqs.hpp>
#include <kvm_vfio/native/dma_guard.hpp>
#include <kvm_vfio/native/event.hpp>
#include <kvm_vfio/native/ioas.hpp>
#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/native/irqfd.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/mapped_region.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/sim/machine.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kv = kvm_vfio;
namespace native = kv::native;
namespace vfio = native::vfio;
namespace sim = kv::sim;
using kv::errc;

namespace {

alignas(4096) unsigned char memory[4096];
const vfio::dma_mapping mapping{
    .iova = 0x100000, .memory = memory, .size = sizeof memory, .writable = true};

// Uses an open device: reads and writes its registers, maps its BAR, and lets its interrupt reach
// the VM.
errc use(const vfio::basic_device<sim::process_ref>& device,
         const native::basic_vm<sim::process_ref>& vm, const sim::process_ref& sys) {
  const auto config = device.region(VFIO_PCI_CONFIG_REGION_INDEX);
  if (!config) return config.error();
  std::uint16_t command = 0;
  if (const errc e = device.read(*config, PCI_COMMAND, &command, sizeof command); e != errc::ok)
    return e;
  command |= PCI_COMMAND_MEMORY;
  if (const errc e = device.write(*config, PCI_COMMAND, &command, sizeof command); e != errc::ok)
    return e;
  const auto bar = device.region(VFIO_PCI_BAR0_REGION_INDEX);
  if (!bar) return bar.error();
  auto registers = device.map(*bar, 0, 0x1000);
  if (!registers) return registers.error();
  const auto event = native::basic_event_ref<sim::process_ref>::make(sys);
  if (!event) return event.error();
  auto connected = vm.irqfd(event->fd(), 24);
  if (!connected) return connected.error();
  const int fd = event->fd();
  auto armed = device.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, &fd, 1);
  if (!armed) return armed.error();
  if (const errc e = device.trigger(VFIO_PCI_MSI_IRQ_INDEX); e != errc::ok) return e;
  if (const errc e = device.reset(); e != errc::ok) return e;
  if (const errc e = armed->disarm(); e != errc::ok) return e;
  if (const errc e = connected->deassign(); e != errc::ok) return e;
  return registers->unmap();
}

struct vm_parts {
  native::basic_vm<sim::process_ref> vm;
  native::basic_kvm_vfio_device<sim::process_ref> files;
};
kv::result<vm_parts> make_vm(const sim::process_ref& sys) {
  const auto kvm = native::basic_kvm_ref<sim::process_ref>::open("/dev/kvm", sys);
  if (!kvm) return kvm.error();
  auto vm = kvm->create_vm();
  if (!vm) return vm.error();
  if (const auto made = sys.ioctl(vm->fd(), KVM_CREATE_IRQCHIP, 0); !made) return made.error();
  auto files = vm->create_kvm_vfio_device();
  if (!files) return files.error();
  return vm_parts{std::move(*vm), std::move(*files)};
}

errc life_by_group(const sim::process_ref& sys) {
  const auto parts = make_vm(sys);
  if (!parts) return parts.error();
  const auto container = vfio::basic_container_ref<sim::process_ref>::open("/dev/vfio/vfio", sys);
  if (!container) return container.error();
  const auto group = vfio::basic_group_ref<sim::process_ref>::open(7, sys);
  if (!group) return group.error();
  if (const auto viable = group->viable(); !viable) return viable.error();
  if (const errc e = group->set_container(container->borrow()); e != errc::ok) return e;
  if (const errc e = container->set_iommu(); e != errc::ok) return e;
  auto attached = parts->files.attach(group->fd());
  if (!attached) return attached.error();
  auto mapped = vfio::map_dma(*container, mapping);
  if (!mapped) return mapped.error();
  {
    const auto device = group->get_device("0000:00:04.0");
    if (!device) return device.error();
    if (const errc e = use(*device, parts->vm, sys); e != errc::ok) return e;
  }
  if (const errc e = mapped->unmap(); e != errc::ok) return e;
  if (const errc e = attached->detach(); e != errc::ok) return e;
  return group->unset_container();
}

errc life_by_file(const sim::process_ref& sys) {
  const auto parts = make_vm(sys);
  if (!parts) return parts.error();
  const auto iommufd = vfio::basic_iommufd_ref<sim::process_ref>::open("/dev/iommu", sys);
  if (!iommufd) return iommufd.error();
  const auto ioas = iommufd->alloc_ioas();
  if (!ioas) return ioas.error();
  const vfio::basic_ioas_ref<sim::process_ref> space(iommufd->borrow(), *ioas);
  auto mapped = vfio::map_dma(space, mapping);
  if (!mapped) return mapped.error();
  const auto device = vfio::basic_device_ref<sim::process_ref>::open(0, sys);
  if (!device) return device.error();
  auto attached = parts->files.attach(device->fd());
  if (!attached) return attached.error();
  if (const auto id = device->bind_iommufd(iommufd->borrow()); !id) return id.error();
  if (const errc e = device->attach_iommufd_pt(*ioas); e != errc::ok) return e;
  if (const errc e = use(*device, parts->vm, sys); e != errc::ok) return e;
  if (const errc e = device->detach_iommufd_pt(); e != errc::ok) return e;
  if (const errc e = attached->detach(); e != errc::ok) return e;
  if (const errc e = mapped->unmap(); e != errc::ok) return e;
  return iommufd->destroy(*ioas);
}

using life = errc (*)(const sim::process_ref&);

// A life in which the n-th call fails, and the m-th if m is not 0.
struct outcome {
  errc error;
  std::size_t left;    // how many of the faults no call met
  std::string failed;  // the name of the n-th call
};
template <class Profile>
outcome live(life all, std::size_t n, std::size_t m) {
  sim::machine<Profile> machine(support::edu(true));
  sim::process& task = machine.process();
  task.fail_call(n, errc::nomem);
  if (m != 0) task.fail_call(m, errc::io);
  const errc e = all(sim::process_ref(task));
  INFO("the calls " << n << " and " << m);
  CHECK(task.descriptors() == 0);
  // A region whose munmap(2) failed stays mapped, and holds its device, until the process ends.
  const auto calls = machine.timeline().calls();
  const auto stays = std::count_if(calls.begin(), calls.end(), [](const kv::trace::call& c) {
    return c.kind == kv::trace::call_kind::munmap && c.error != errc::ok;
  });
  CHECK(task.mappings() == static_cast<std::size_t>(stays));
  if (stays != 0) task.exit();
  CHECK(difference(sim::machine<Profile>(support::edu(true)).look(), machine.look()) == "");
  return {e, task.faults_left(),
          n <= calls.size() ? support::name_of(calls[n - 1]) : std::string()};
}

template <class Profile>
void check_each_call(life all) {
  std::size_t n = 1;
  for (;; ++n) {
    const outcome o = live<Profile>(all, n, 0);
    INFO("call " << n << ", " << o.failed);
    if (o.left != 0) {
      CHECK(o.error == errc::ok);
      break;
    }
    // Only destructors close descriptors. They cannot tell.
    CHECK(o.error == (o.failed == "close" ? errc::ok : errc::nomem));
  }
  CHECK(n > 30);
}

// Returns the number of pairs of which a life met both.
template <class Profile>
std::size_t check_each_pair(life all) {
  return support::each_pair(
      [all](std::size_t n, std::size_t m) { return 2 - live<Profile>(all, n, m).left; });
}

}  // namespace

TEMPLATE_TEST_CASE("each system call of a group's life fails, and nothing is left", "[native]",
                   kv::linux_6_1, kv::linux_6_12, kv::linux_7_3) {
  check_each_call<TestType>(life_by_group);
}
TEMPLATE_TEST_CASE("each system call of a device file's life fails, and nothing is left",
                   "[native]", kv::linux_6_12, kv::linux_7_3) {
  check_each_call<TestType>(life_by_file);
}
TEMPLATE_TEST_CASE("each pair of system calls of a life fails, and nothing is left", "[native]",
                   kv::linux_6_1, kv::linux_6_12, kv::linux_7_3) {
  CHECK(check_each_pair<TestType>(life_by_group) > 200);
  if (!std::is_same_v<TestType, kv::linux_6_1>)
    CHECK(check_each_pair<TestType>(life_by_file) > 190);
}
