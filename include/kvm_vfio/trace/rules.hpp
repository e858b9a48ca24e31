// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The rules that the checker checks. A VMM that breaks a rule makes a mistake with kvm-vfio or
/// VFIO. Most of these mistakes make no call fail.

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
  unset_while_open,      ///< VFIO_GROUP_UNSET_CONTAINER while a device of the group is open (EBUSY)
  unmapped_less,         ///< an UNMAP removed no mapping, or less than the VMM asked for
  closed_while_tracking,  ///< the kvm-vfio is closed while a device that it tracks is in use
  attr_after_close,       ///< FILE_ADD or FILE_DEL on the number of a closed kvm-vfio
  mappings_lost,          ///< the VMM uses a mapping that went with the container's last group
  ignored_error,          ///< a call needs an earlier call that failed
  mapped_outside,         ///< a MAP outside the ranges that the IOMMU has (EINVAL)
};
/// The number of rules.
inline constexpr std::size_t rule_count = static_cast<std::size_t>(rule::mapped_outside) + 1;

/// Whether breaking a rule is harmless in most cases, because Linux undoes what the VMM left
/// behind. But then no call tells the VMM of an error.
[[nodiscard]] constexpr bool is_note(rule r) noexcept {
  return r == rule::left_in_container || r == rule::irqs_armed;
}

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
              "FILE_ADD was called for a group whose container has no IOMMU driver yet. Up to "
              "Linux 6.1 a group without a container counts as coherent, and kvm-vfio does not ask "
              "again when the group gets one",
              "call VFIO_GROUP_SET_CONTAINER and VFIO_SET_IOMMU first, then FILE_ADD"};
    case rule::open_before_add:
      return {"open-before-add",
              "VFIO_GROUP_GET_DEVICE_FD was called on a group that no VM tracks: the device's "
              "driver does not learn the VM when it opens the device",
              "call FILE_ADD for the group before VFIO_GROUP_GET_DEVICE_FD"};
    case rule::bind_before_add:
      return {"bind-before-add",
              "VFIO_DEVICE_BIND_IOMMUFD was called on a device file that no VM tracks: the "
              "device's driver does not learn the VM when it opens the device",
              "call FILE_ADD for the device file before VFIO_DEVICE_BIND_IOMMUFD"};
    case rule::close_without_del:
      return {"close-without-del",
              "the last descriptor of a tracked file was closed: kvm-vfio still holds the file, so "
              "the group or the device stays in use",
              "call FILE_DEL before close on every path, also if a later step of the plug fails"};
    case rule::reopen_while_tracked:
      return {"reopen-while-tracked",
              "opening the group failed with EBUSY: the VMM closed this group before, but a "
              "kvm-vfio device still holds it",
              "call FILE_DEL before closing the group; now only closing that kvm-vfio device "
              "releases the group"};
    case rule::file_in_two_vms:
      return {"file-in-two-vms",
              "FILE_ADD was called for a file that another kvm-vfio device tracks: the later VM "
              "replaces the earlier one, and closing either kvm-vfio device clears the VM for both",
              "call FILE_DEL on the first kvm-vfio device before FILE_ADD on the second"};
    case rule::add_repeated:
      return {
          "add-repeated", "FILE_ADD failed with EEXIST: the file is already tracked",
          "add a group only once, however many of its devices are plugged, and count its users"};
    case rule::del_untracked:
      return {
          "del-untracked",
          "FILE_DEL failed with ENOENT: the file is not tracked. kvm-vfio identifies a file by its "
          "open file description, not by its path: a second open of the path gives another file",
          "call FILE_DEL once, with the descriptor that was added or a dup of it"};
    case rule::left_in_container:
      return {"left-in-container",
              "the last descriptor of a group was closed while the group was in a container",
              "call VFIO_GROUP_UNSET_CONTAINER before close, so that the VMM sees an error"};
    case rule::irqs_armed:
      return {"irqs-armed",
              "the last descriptor of a device was closed while interrupts were armed",
              "disarm them with VFIO_DEVICE_SET_IRQS, flag DATA_NONE and count 0, so that no event "
              "arrives after the unplug"};
    case rule::second_kvm_vfio:
      return {"second-kvm-vfio",
              "KVM_CREATE_DEVICE failed with EBUSY: the VM already has a kvm-vfio device. The "
              "failed call gave no descriptor, so a file added through it is not tracked",
              "create one kvm-vfio device for each VM, and use it for all passed-through devices"};
    case rule::test_create_closed:
      return {"test-create-closed",
              "the VMM closed the number in the `fd` of a KVM_CREATE_DEVICE "
              "with the TEST flag. Such a call makes no descriptor, so the "
              "number belongs to an unrelated file (0 is standard input)",
              "do not use the `fd` of a KVM_CREATE_DEVICE with the TEST flag as a descriptor"};
    case rule::unset_while_open:
      return {"unset-while-open",
              "VFIO_GROUP_UNSET_CONTAINER failed with EBUSY: a device of the group is still open, "
              "so the group stays in the container. A dup, a child process or an mmap of a BAR "
              "keeps a device open after the VMM has closed its own descriptor",
              "first munmap each BAR and close each descriptor of each device of the group, then "
              "call VFIO_GROUP_UNSET_CONTAINER again"};
    case rule::unmapped_less:
      return {"unmapped-less",
              "an UNMAP removed no mapping, or fewer bytes than the VMM asked for. "
              "VFIO_IOMMU_UNMAP_DMA succeeds in this case, and only `size` tells it. Memory that "
              "the VMM takes for unmapped may be open to the device's DMA",
              "compare `size` (iommufd: `length`) after the call with the size before it, and "
              "unmap with the IOVA and the size of the MAP"};
    case rule::closed_while_tracking:
      return {"closed-while-tracking",
              "the last descriptor of a kvm-vfio was closed while a device that it tracked was "
              "in use, and the VMM went on with the device: KVM has forgotten the device's "
              "noncoherent DMA, and the device has lost its VM",
              "close the devices first, call FILE_DEL for each tracked file, and close the "
              "kvm-vfio last; to move a file to another VM, call FILE_ADD there at once"};
    case rule::attr_after_close:
      return {"attr-after-close",
              "FILE_ADD or FILE_DEL was called on the number of a kvm-vfio that the VMM has closed "
              "already. Closing the kvm-vfio has removed each file, and now the number may belong "
              "to an unrelated file",
              "keep the kvm-vfio open as long as the VM, and call FILE_DEL before its close"};
    case rule::mappings_lost:
      return {"mappings-lost",
              "the VMM unmaps memory, or gives it a new address, as if the container still had the "
              "mapping. All mappings went when the last group left the container",
              "after the next VFIO_SET_IOMMU, call VFIO_IOMMU_MAP_DMA again for all memory, before "
              "the device starts DMA"};
    case rule::ignored_error:
      return {"ignored-error",
              "the VMM made a call that needs an earlier call, but the earlier call failed",
              "check the error of the earlier call, and undo the steps before it instead of going "
              "on"};
    case rule::mapped_outside:
      return {"mapped-outside",
              "a MAP was refused: its range is not inside one of the ranges that the IOMMU has. "
              "The kernel had told the VMM these ranges",
              "lay out the memory of the VM so that each MAP lies inside one range that "
              "VFIO_IOMMU_GET_INFO or IOMMU_IOAS_IOVA_RANGES names, and leave out the rest"};
  }
  return {"", "", ""};
}

/// The name of a rule, `rule_text::id`.
[[nodiscard]] constexpr const char* to_string(rule r) noexcept { return text_of(r).id; }

}  // namespace kvm_vfio::trace
