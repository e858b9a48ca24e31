// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Advice for users whose machine or account has no KVM.

#include <kvm_vfio/errc.hpp>

#include <grp.h>
#include <sys/stat.h>

#include <string>

namespace compare {

/// Returns advice for the error of opening this file. Each sentence is on a line of its own.
inline std::string remedy(const std::string& path, kvm_vfio::errc why) {
  using kvm_vfio::errc;
  if (why == errc::access) {
    struct stat file = {};
    const bool group_may = ::stat(path.c_str(), &file) == 0 && (file.st_mode & 060) == 060;
    const group* const owners = group_may && file.st_gid != 0 ? ::getgrgid(file.st_gid) : nullptr;
    if (owners)
      return "This user has no permission to open it. The group " + std::string(owners->gr_name) +
             " has permission. Join this group:\n  sudo usermod -aG " + owners->gr_name +
             " \"$(id -un)\"\nThen log in again.\n";
    return "Neither this user nor a group has permission to open it. Run this as root, or:\n"
           "  sudo setfacl -m \"u:$(id -un):rw\" " +
           path + "\n";
  }
  if (why == errc::perm)
    return "This user has permission, but a container or a security module forbids to open it.\n"
           "To give KVM to a container, start it with: docker run --device /dev/kvm\n";
  return "This kernel has no KVM. To get it:\n"
         "- on a machine of your own, enable virtualization (VT-x, AMD-V) in the firmware, and "
         "load\n"
         "  the module: sudo modprobe kvm_intel, or kvm_amd\n"
         "- in a VM, enable nested virtualization on the host (with KVM: the parameter nested=1 "
         "of\n"
         "  kvm_intel or kvm_amd, and a VM with the host's processor model)\n"
         "- in a container, start the container with: docker run --device /dev/kvm\n";
}

}  // namespace compare
