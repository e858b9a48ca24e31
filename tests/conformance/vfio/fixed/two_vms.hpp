// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A VM and its kvm-vfio in the hands of two processes. They answer only the process that made the
/// VM.

#include "family.hpp"

#include <linux/kvm.h>
#include <linux/vfio.h>

#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device.
template <class Pair>
class two_vms {
  using System = typename Pair::system;

 public:
  two_vms(recorder<System>& on, Pair& pair) : f_(on, pair), p_(f_.parent), c_(f_.child) {}

  void run(const target& t) {
    vm_of_the_parent(t);
    vm_of_the_child(t);
  }

 private:
  /// Makes requests of a VM and of its kvm-vfio. A process with another memory gets EIO for all.
  void ask(one_of_two<System>& who, int vm, int tracker, int group) {
    who.ioctl("VM CHECK_EXTENSION", vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY);
    who.ioctl("unknown request", vm, VFIO_GET_API_VERSION);
    who.ioctl("CREATE_DEVICE of null", vm, KVM_CREATE_DEVICE);
    who.create_kvm_vfio(vm, KVM_CREATE_DEVICE_TEST);
    who.create_kvm_vfio(vm);
    who.ioctl("CREATE_IRQCHIP", vm, KVM_CREATE_IRQCHIP);
    who.ioctl("IRQFD of null", vm, KVM_IRQFD);
    who.ioctl("IOEVENTFD of null", vm, KVM_IOEVENTFD);
    who.ioctl("SET_USER_MEMORY_REGION of null", vm, KVM_SET_USER_MEMORY_REGION);
    for (const std::uint64_t attr : {0U, 1U, 2U, 9U})
      who.attribute("HAS_ATTR " + std::to_string(attr), tracker, KVM_HAS_DEVICE_ATTR, attr, group);
    who.attribute("GET_ATTR", tracker, KVM_GET_DEVICE_ATTR, 1, group);
    who.attribute("SET_ATTR 9", tracker, KVM_SET_DEVICE_ATTR, 9, group);
    who.ioctl("unknown request", tracker, VFIO_GET_API_VERSION);
    who.ioctl("SET_ATTR of null", tracker, KVM_SET_DEVICE_ATTR);
    who.add("the group", tracker, group);
    who.del("the group", tracker, group);
    who.del("nothing", tracker, -1);
  }
  // One file has several numbers in several processes.
  void vm_of_the_parent(const target& t) {
    f_.begin("VM of the parent");
    const opened_device o = p_.open_device(t);
    const int vm = f_.open_vm(p_);
    const int tracker = p_.create_kvm_vfio(vm);
    p_.add("the group", tracker, o.group);
    f_.fork();
    ask(c_, vm, tracker, o.group);
    ask(p_, vm, tracker, o.group);
    p_.add("the group", tracker, o.group);
    p_.add("its copy", tracker, p_.dup(o.group));
    c_.send("group", o.group);
    c_.send("container", o.container);
    const int received = p_.receive();
    p_.add("the group of the child", tracker, received);
    p_.del("the container of the child", tracker, p_.receive());
    p_.del("the group of the child", tracker, received);
    p_.add("the group of the child", tracker, received);
    p_.add("the group", tracker, o.group);
    // The VM of the child tracks the group, too.
    const int second = f_.open_vm(c_);
    const int of_child = c_.create_kvm_vfio(second);
    c_.add("the group", of_child, o.group);
    c_.send("VM", second);
    c_.send("kvm-vfio", of_child);
    const int his_vm = p_.receive();
    ask(p_, his_vm, p_.receive(), o.group);
    // kvm-vfio holds the file that it tracks.
    for (const int fd : {o.device, o.group}) c_.close("a file", fd);
    c_.del("a closed file", of_child, o.group);
    p_.del("the group", tracker, received);
    f_.end();
    p_.open("free group", t.group);
    f_.end();
  }
  // The VM of a process that has ended answers nobody.
  void vm_of_the_child(const target& t) {
    f_.begin("VM of a child that has ended");
    f_.fork();
    const int tracked = c_.open("group", t.group);
    const int guest = f_.open_vm(c_);
    const int tracker = c_.create_kvm_vfio(guest);
    c_.add("the group", tracker, tracked);
    c_.send("group", tracked);
    c_.send("VM", guest);
    c_.send("kvm-vfio", tracker);
    const int mine = p_.receive();
    const int his_vm = p_.receive();
    const int his_tracker = p_.receive();
    f_.end_child();
    ask(p_, his_vm, his_tracker, mine);
    const int own = f_.open_vm(p_);
    const int own_tracker = p_.create_kvm_vfio(own);
    p_.add("the group", own_tracker, mine);
    p_.del("the group", own_tracker, mine);
    p_.close("group", mine);
    p_.open("tracked group", t.group);
    p_.close("VM", his_vm);
    p_.open("tracked group", t.group);
    p_.close("kvm-vfio", his_tracker);
    p_.open("free group", t.group);
    f_.end();
  }

  family<Pair> f_;
  one_of_two<System>& p_;
  one_of_two<System>& c_;
};

}  // namespace vfio_lockstep::fixed
