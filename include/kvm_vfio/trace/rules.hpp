// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The rules that the checker checks: mistakes of a VMM with kvm-vfio and VFIO. Most of them make
/// no call fail.

#include <cstddef>

namespace kvm_vfio::trace {

/// A rule of the contract between a VMM and kvm-vfio or VFIO. Each name is the mistake.
enum class rule : unsigned char {
  add_before_iommu,      ///< FILE_ADD of a group whose container has no IOMMU driver
  open_before_add,       ///< VFIO_GROUP_GET_DEVICE_FD on a group that no VM tracks
  bind_before_add,       ///< VFIO_DEVICE_BIND_IOMMUFD on a device file that no VM tracks
  close_without_del,     ///< the last descriptor of a tracked file is closed
  reopen_while_tracked,  ///< a group is opened that is closed but still tracked (EBUSY)
  file_in_two_vms,       ///< FILE_ADD of a file that another VM tracks
  add_repeated,          ///< FILE_ADD of a file that is tracked already (EEXIST)
  del_untracked,         ///< FILE_DEL of a file that is not tracked (ENOENT)
  left_in_container,     ///< the last descriptor of a group in a container is closed
  irqs_armed,            ///< the last descriptor of a device with armed interrupts is closed
  second_kvm_vfio,       ///< a second kvm-vfio is created for a VM (EBUSY)
  test_create_closed,    ///< the `fd` of a KVM_CREATE_DEVICE with the TEST flag is closed
};
/// The number of rules.
inline constexpr std::size_t rule_count = static_cast<std::size_t>(rule::test_create_closed) + 1;

/// The texts of a rule. All strings live as long as the program.
struct rule_text {
  /// A name that never changes, for suppressions and searches ("add-before-iommu").
  const char* id;
  /// What the VMM did, and what follows from it.
  const char* what;
  /// What the VMM must do instead.
  const char* fix;
};

/// The texts of a rule.
[[nodiscard]] constexpr rule_text text_of(rule r) noexcept {
  switch (r) {
    case rule::add_before_iommu:
      return {"add-before-iommu",
              "FILE_ADD of a group whose container has no IOMMU yet: up to Linux 6.1 the group "
              "without a container reads as coherent and nobody asks again",
              "SET_CONTAINER and SET_IOMMU first, then FILE_ADD"};
    case rule::open_before_add:
      return {"open-before-add",
              "GET_DEVICE_FD on a group that no VM tracks: the driver's open does not see the VM",
              "FILE_ADD the group before GET_DEVICE_FD"};
    case rule::bind_before_add:
      return {"bind-before-add",
              "BIND_IOMMUFD of a device file that no VM tracks: the driver's open does not see the "
              "VM",
              "FILE_ADD the device file before BIND_IOMMUFD"};
    case rule::close_without_del:
      return {"close-without-del",
              "the last descriptor of a tracked file was closed: kvm-vfio holds the file, the "
              "device or group stays in use",
              "FILE_DEL before close, on every path, also when a later step of the plug failed"};
    case rule::reopen_while_tracked:
      return {"reopen-while-tracked",
              "EBUSY: the VMM has closed this group, and a kvm-vfio still holds it",
              "FILE_DEL before the group is closed; now only closing that kvm-vfio helps"};
    case rule::file_in_two_vms:
      return {"file-in-two-vms",
              "the file is tracked by another kvm-vfio: the last one wins, and either one's close "
              "clears the VM for both",
              "FILE_DEL from the one before FILE_ADD to the other"};
    case rule::add_repeated:
      return {"add-repeated", "FILE_ADD of a file that is tracked already: EEXIST",
              "add a group once, however many of its devices are plugged; count its users"};
    case rule::del_untracked:
      return {"del-untracked",
              "FILE_DEL of a file that is not tracked: ENOENT. Identity is the open file, not the "
              "path: another open of it is another file",
              "delete the descriptor that was added, or a dup of it, once"};
    case rule::left_in_container:
      return {"left-in-container",
              "the group's last descriptor was closed with the group in its "
              "container",
              "UNSET_CONTAINER before close, so that a failure can be seen"};
    case rule::irqs_armed:
      return {"irqs-armed", "the device's last descriptor was closed with interrupts armed",
              "disarm by SET_IRQS with DATA_NONE and count 0, so that no event comes after the "
              "unplug"};
    case rule::second_kvm_vfio:
      return {"second-kvm-vfio",
              "KVM_CREATE_DEVICE of a second kvm-vfio: EBUSY. What is added through the "
              "descriptor that was not made is tracked by nobody",
              "create one kvm-vfio per VM and use it for every device"};
    case rule::test_create_closed:
      return {"test-create-closed",
              "close of the number in a KVM_CREATE_DEVICE_TEST's fd: that call makes no "
              "descriptor, the number is an unrelated one (0: standard input)",
              "do not own the fd of a test create"};
  }
  return {"", "", ""};
}

}  // namespace kvm_vfio::trace
