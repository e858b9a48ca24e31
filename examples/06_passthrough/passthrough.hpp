// SPDX-License-Identifier: BSL-1.0
// The part of a VMM that gives devices to its VM. It is written once, for any system: the running
// kernel in production, a simulated machine in tests.
#pragma once
#include <kvm_vfio/client/address_space.hpp>
#include <kvm_vfio/client/container.hpp>
#include <kvm_vfio/client/device.hpp>
#include <kvm_vfio/client/plug.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/native/event.hpp>
#include <kvm_vfio/native/kvm.hpp>

#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace vmm {

namespace kv = kvm_vfio;
using kv::errc;

// A VM with its memory, and the devices that it uses.
template <kv::system System>
class passthrough {
 public:
  explicit passthrough(const System& sys) : system_(sys) {}

  // Makes the VM and its kvm-vfio device.
  errc start() {
    auto kvm = kv::native::basic_kvm_ref<System>::open("/dev/kvm", system_);
    if (!kvm) return kvm.error();
    auto vm = kvm->create_vm();
    if (!vm) return vm.error();
    return keep(files_, kv::client::vm_files<System>::create(*vm));
  }
  // Names the memory of the VM, which its devices may access, and its address in the VM.
  void set_memory(void* memory, std::size_t size, std::uint64_t address) {
    memory_ = {.iova = address, .memory = memory, .size = size, .writable = true};
  }

  // Plugs the one device of the VM, from a group. Nothing is left behind after an error.
  errc plug_from_group(int number, const char* name) {
    return device_ ? errc::busy : whole(from_group(number, name));
  }
  // Plugs a device that has a file of its own. Nothing is left behind after an error.
  errc plug_device_file(int number) {
    return device_ ? errc::busy : whole(from_device_file(number));
  }
  // Unplugs the device. The VM keeps its kvm-vfio device.
  errc unplug() {
    event_ = {};
    const errc e = device_.close();
    mapping_ = {};
    container_ = {};
    space_ = {};
    return e;
  }

  // The vendor and the device number of the device, from its configuration space.
  kv::result<std::uint32_t> identity() const {
    const auto config = device_.view().region(VFIO_PCI_CONFIG_REGION_INDEX);
    if (!config) return config.error();
    return device_.view().template read_le<std::uint32_t>(*config, PCI_VENDOR_ID);
  }
  // Lets VFIO raise the interrupt, as the device would.
  errc raise() const { return device_.view().trigger(VFIO_PCI_MSI_IRQ_INDEX); }
  // How often the device has raised its interrupt since the last call.
  kv::result<std::uint64_t> interrupts() const { return event_.take(); }
  const kv::client::device<System>& device() const { return device_; }

 private:
  errc whole(errc plugged) {
    if (plugged != errc::ok) (void)unplug();
    return plugged;
  }
  errc from_group(int number, const char* name) {
    if (const errc e = need(container_); e != errc::ok) return e;
    return take(kv::client::plug_from_group(number, name, container_, files_));
  }
  errc from_device_file(int number) {
    if (const errc e = need(space_); e != errc::ok) return e;
    return take(kv::client::plug_device_file(number, space_, files_));
  }
  template <class T>
  static errc keep(T& where, kv::result<T> made) {
    if (!made) return made.error();
    where = std::move(*made);
    return errc::ok;
  }
  // Opens the container or the address space of the VM, with the memory of the VM.
  template <class Space>
  errc need(Space& space) {
    if (space) return errc::ok;
    auto made = Space::open(system_);
    if (!made) return made.error();
    auto mapped = made->map(memory_);
    if (!mapped) return mapped.error();
    mapping_ = std::move(*mapped);
    space = std::move(*made);
    return errc::ok;
  }
  // Arms the interrupt of a new device and keeps the device.
  errc take(kv::result<kv::client::device<System>> plugged) {
    if (!plugged) return plugged.error();
    auto event = kv::native::basic_event_ref<System>::make(system_);
    if (!event) return event.error();
    const int fd = event->fd();
    if (const errc e = plugged->arm(VFIO_PCI_MSI_IRQ_INDEX, 0, &fd, 1); e != errc::ok) return e;
    event_ = std::move(*event);
    device_ = std::move(*plugged);
    return errc::ok;
  }

  System system_;
  kv::client::vm_files<System> files_;
  kv::client::container<System> container_;
  kv::client::address_space<System> space_;
  kv::native::vfio::dma_mapping memory_;
  kv::client::mapping<System> mapping_;
  kv::native::basic_event<System> event_;
  kv::client::device<System> device_;
};

}  // namespace vmm
