// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A process and its child share the files of VFIO: by fork(2), and by descriptors that they send
/// each other.

#include "family.hpp"

#include <linux/vfio.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device.
template <class Pair>
class two_processes {
  using System = typename Pair::system;

 public:
  two_processes(recorder<System>& on, Pair& pair, const machine& m)
      : m_(m), f_(on, pair), p_(f_.parent), c_(f_.child) {}

  void run(const target& t) {
    copies(t);
    sent(t);
    numbers(t);
    limit_of_descriptors(t);
    exits(t);
    interrupts(t);
    child_arms(t);
    bars(t);
    if (m_.iommufd && !t.cdev.empty()) {
      device_files(t);
      files_of_the_child(t);
    }
  }

 private:
  static constexpr std::uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
  static constexpr std::uint32_t none = VFIO_IRQ_SET_DATA_NONE | trigger;
  static constexpr std::uint32_t event = VFIO_IRQ_SET_DATA_EVENTFD | trigger;

  // A file lives until no process has a descriptor of it.
  void copies(const target& t) {
    f_.begin("copies by fork");
    const opened_device o = p_.open_device(t);
    f_.fork();
    c_.open("group of the parent", t.group);
    c_.status(o.group);
    p_.close("device", o.device);
    p_.unset_container(o.group);
    c_.unset_container(o.group);
    c_.close("device", o.device);
    c_.close("device", o.device);
    p_.close("group", o.group);
    p_.open("group of the child", t.group);
    c_.unset_container(o.group);
    c_.status(o.group);
    c_.set_container(o.group, o.container);
    p_.set_iommu(o.container);
    c_.set_iommu(o.container);
    p_.close("container", o.container);
    const int device = c_.get_device(o.group, t.device);
    c_.close("container", o.container);
    c_.status(o.group);
    c_.close("group", o.group);
    p_.open("group of an open device", t.group);
    c_.close("device", device);
    p_.open("free group", t.group);
    c_.open("group of the parent", t.group);
    f_.end();
  }

  // A file that was sent lives although no process has a descriptor of it.
  void sent(const target& t) {
    f_.begin("descriptors that are sent");
    f_.fork();
    const opened_device o = p_.open_device(t);
    for (const int fd : {o.group, o.container, o.device}) {
      p_.send("a file", fd);
      p_.close("the file", fd);
    }
    p_.open("group in between", t.group);
    const int group = c_.receive();
    const int container = c_.receive();
    c_.unset_container(group);
    const int device = c_.receive();
    c_.receive();
    c_.close("device", device);
    c_.unset_container(group);
    c_.send("group", group);
    c_.send("group", group);
    c_.close("group", group);
    const int back = p_.receive();
    const int again = p_.receive();
    p_.set_container(back, o.container);
    c_.send("container", container);
    p_.set_container(back, p_.receive());
    p_.status(again);
    p_.close("group", back);
    c_.open("group of the parent", t.group);
    p_.send("group", again);
    p_.close("group", again);
    c_.open("group in between", t.group);
    // The group is closed with the child, which does not receive it.
    f_.end_child();
    p_.open("free group", t.group);
    f_.end();
  }

  // Further numbers of a file, and a number that gets another file.
  void numbers(const target& t) {
    f_.begin("numbers");
    const opened_device o = p_.open_device(t);
    f_.fork();
    for (const int lowest : {700, 700, 650, 699, -1, 1 << 30}) {
      const auto fd = c_.sys().dup_from(o.device, lowest);
      c_.say("F_DUPFD", fd);
    }
    c_.say("F_DUPFD of a closed one", c_.sys().dup_from(800, 0));
    c_.say("dup2 to itself", c_.sys().dup2(o.group, o.group));
    c_.say("dup2 of a closed one", c_.sys().dup2(800, o.group));
    for (const char* const number : {"a free", "its other"})
      c_.say(std::string("dup2 to ") + number + " number", c_.sys().dup2(o.group, 720));
    c_.status(720);
    // The last descriptors of the device get another file.
    const int e = c_.eventfd();
    for (const int fd : {o.device, 700, 701, 650}) c_.say("dup2", c_.sys().dup2(e, fd));
    p_.close("device", o.device);
    p_.unset_container(o.group);
    c_.say("dup2", c_.sys().dup2(e, 702));
    p_.unset_container(o.group);
    c_.say("dup2", c_.sys().dup2(e, 699));
    p_.unset_container(o.group);
    p_.close("group", o.group);
    c_.say("dup2", c_.sys().dup2(o.container, o.group));
    p_.open("group at a further number", t.group);
    c_.say("dup2", c_.sys().dup2(o.container, 720));
    p_.open("free group", t.group);
    f_.end();
  }

  // The limit is about the numbers. It holds for new descriptors only.
  void limit_of_descriptors(const target& t) {
    f_.begin("limit on descriptors");
    const int group = p_.open("group", t.group);
    const int container = p_.open("container", "/dev/vfio/vfio");
    f_.fork();
    const int vm = f_.open_vm(c_);
    c_.say("F_DUPFD", c_.sys().dup_from(group, 600));
    c_.say("F_DUPFD", c_.sys().dup_from(group, 600));
    c_.say("F_DUPFD", c_.sys().dup_from(group, 600));
    const auto lowest = c_.sys().dup_from(group, 0);
    const int last = lowest ? *lowest : 0;
    c_.sys().limit_descriptors(static_cast<std::uint64_t>(last) + 1);
    c_.dup(group);
    c_.say("F_DUPFD", c_.sys().dup_from(group, 0).error());
    c_.eventfd();
    c_.open("container", "/dev/vfio/vfio");
    c_.say("F_DUPFD", c_.sys().dup_from(group, last).error());
    c_.say("F_DUPFD", c_.sys().dup_from(group, last + 1).error());
    c_.status(600);
    c_.set_container(group, container);
    c_.set_iommu(container);
    c_.get_device(group, t.device);
    c_.create_kvm_vfio(vm);
    c_.create_kvm_vfio(vm);
    f_.open_vm(c_);
    c_.close("group", last);
    // The group can be opened once. The number is looked for before the device is.
    c_.get_device(group, t.device);
    c_.get_device(group, t.device);
    p_.eventfd();
    f_.end();
  }

  // A process that ends closes its files, but not those that another process has, too.
  void exits(const target& t) {
    f_.begin("exit");
    f_.fork();
    const opened_device o = c_.open_device(t);
    c_.send("container", o.container);
    p_.open("group of the child", t.group);
    const int container = p_.receive();
    f_.end_child();
    p_.ioctl("CHECK_EXTENSION", container, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU);
    p_.set_iommu(container);
    const int group = p_.open("free group", t.group);
    p_.set_container(group, container);
    p_.set_iommu(container);
    f_.end();

    f_.begin("exit, and the device stays");
    f_.fork();
    const opened_device again = c_.open_device(t);
    c_.send("device", again.device);
    const int device = p_.receive();
    f_.end_child();
    p_.open("group of an open device", t.group);
    info(p_, device);
    p_.close("device", device);
    p_.open("free group", t.group);
    f_.end();
  }
  void info(one_of_two<System>& who, int device) {
    vfio_device_info i{};
    i.argsz = sizeof i;
    who.ioctl_at("GET_INFO", device, VFIO_DEVICE_GET_INFO, i);
    who.say("flags", kvm_vfio::errc::ok, i.flags);
    who.say("pread", who.sys().pread(device, who.more(), 4, config_space));
  }

  // The numbers of SET_IRQS are those of the process that makes the call.
  void interrupts(const target& t) {
    f_.begin("interrupts");
    const std::uint32_t index =
        t.pci.msi_vectors != 0 ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX;
    const opened_device o = p_.open_device(t);
    const int mine = p_.eventfd();
    f_.fork();
    const int of_child = c_.eventfd();
    p_.set_irq("with an eventfd of the child", o.device, index, event, 1, of_child);
    c_.set_irq("with an eventfd of the child", o.device, index, event, 1, of_child);
    p_.set_irq("triggers", o.device, index, none, 1);
    c_.signals(of_child);
    c_.set_irq("triggers", o.device, index, none, 1);
    c_.signals(of_child);
    // The device keeps an eventfd that its process has closed.
    c_.send("eventfd", of_child);
    c_.close("eventfd", of_child);
    p_.set_irq("triggers", o.device, index, none, 1);
    p_.signals(p_.receive());
    // The same number is another file in each process.
    p_.close("eventfd", mine);
    p_.open("a container at its number", "/dev/vfio/vfio");
    p_.set_irq("with the number of a container", o.device, index, event, 1, mine);
    c_.set_irq("with the number of an eventfd", o.device, index, event, 1, mine);
    p_.set_irq("triggers", o.device, index, none, 1);
    c_.signals(mine);
    c_.send("eventfd", mine);
    const int received = p_.receive();
    f_.end_child();
    p_.set_irq("triggers", o.device, index, none, 1);
    p_.signals(received);
    p_.set_irq("disarms", o.device, index, none, 0);
    p_.set_irq("triggers", o.device, index, none, 1);
    p_.signals(received);
    f_.end();
  }

  // The interrupts of a device end with its last descriptor.
  void child_arms(const target& t) {
    f_.begin("interrupts of a child that exits");
    const std::uint32_t index =
        t.pci.msi_vectors != 0 ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX;
    for (const bool keeps : {false, true}) {
      f_.fork();
      const opened_device o = c_.open_device(t);
      const int e = c_.eventfd();
      c_.set_irq("arms", o.device, index, event, 1, e);
      c_.send("eventfd", e);
      const int received = p_.receive();
      if (keeps) c_.send("device", o.device);
      const int kept = keeps ? p_.receive() : -1;
      f_.end_child();
      if (keeps) p_.set_irq("triggers", kept, index, none, 1);
      p_.signals(received);
      if (keeps) p_.close("device", kept);
      const opened_device mine = p_.open_device(t);
      p_.set_irq("triggers", mine.device, index, none, 1);
      p_.signals(received);
      p_.set_irq("arms", mine.device, index, event, 1, received);
      p_.set_irq("triggers", mine.device, index, none, 1);
      p_.signals(received);
      f_.end();
    }
  }

  // A child has the mappings of its parent. Each of them keeps the device open.
  void bars(const target& t) {
    for (const bool exits : {false, true}) {
      f_.begin("mapped BARs");
      const opened_device o = p_.open_device(t);
      void* const at = o.device < 0 ? nullptr : p_.map_bar(t, o.device, m_.page);
      if (!at) return f_.end();
      f_.fork();
      void* const further = c_.map_bar(t, o.device, m_.page);
      p_.close("device", o.device);
      c_.close("device", o.device);
      c_.map_dma("of a BAR by the child", o.container, 0x100000,
                 reinterpret_cast<std::uintptr_t>(at), m_.page);
      p_.unmap_bar(at, m_.page);
      p_.unset_container(o.group);
      if (exits) {
        f_.end_child();
      } else {
        c_.unmap_bar(at, m_.page);
        p_.unset_container(o.group);
        if (further) c_.unmap_bar(further, m_.page);
      }
      p_.unset_container(o.group);
      f_.end();
    }
  }

  // A device that one process has bound is bound for all.
  void device_files(const target& t) {
    f_.begin("device files");
    const int iommufd = p_.open("iommufd", "/dev/iommu");
    const int device = p_.open("device file", t.cdev);
    p_.bind("by the parent", device, iommufd);
    f_.fork();
    const int second = c_.open("iommufd", "/dev/iommu");
    c_.bind("of a bound device", device, second);
    const int again = c_.open("device file again", t.cdev);
    c_.bind("of a device of the parent", again, second);
    c_.bind("of a device of the parent", again, iommufd);
    c_.open("group of a bound device", t.group);
    const std::uint32_t space = c_.alloc_ioas(iommufd);
    c_.attach("by the child", device, space);
    p_.attach("by the parent", device, space);
    p_.close("iommufd", iommufd);
    p_.close("device file", device);
    c_.bind("of a device of the parent", again, second);
    info(c_, device);
    c_.close("device file", device);
    c_.bind("of a free device", again, second);
    p_.open("group of a bound device", t.group);
    f_.end_child();
    p_.open("free group", t.group);
    f_.end();
  }
  // The child is gone, and the parent has its device, which has an iommufd.
  void files_of_the_child(const target& t) {
    f_.begin("device file of a child that exits");
    f_.fork();
    const int vm = f_.open_vm(c_);
    const int tracker = c_.create_kvm_vfio(vm);
    const int iommufd = c_.open("iommufd", "/dev/iommu");
    const int device = c_.open("device file", t.cdev);
    c_.add("the device", tracker, device);
    c_.bind("by the child", device, iommufd);
    c_.send("device file", device);
    const int mine = p_.receive();
    f_.end_child();
    info(p_, mine);
    p_.attach("to an address space that is not there", mine, 1);
    p_.open("group of a bound device", t.group);
    const int own = f_.open_vm(p_);
    p_.add("the device", p_.create_kvm_vfio(own), mine);
    p_.close("device file", mine);
    p_.open("group of a tracked device", t.group);
    f_.end();
  }

  const machine& m_;
  family<Pair> f_;
  one_of_two<System>& p_;
  one_of_two<System>& c_;
};

}  // namespace vfio_lockstep::fixed
