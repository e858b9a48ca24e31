// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What somebody can do whose machine, or user, has no KVM.

#include <kvm_vfio/errc.hpp>

#include <grp.h>
#include <sys/stat.h>

#include <string>

namespace compare {

/// Of the error that opening this file gave. Sentences, one a line.
inline std::string remedy(const std::string& path, kvm_vfio::errc why) {
  using kvm_vfio::errc;
  if (why == errc::access) {
    struct stat file = {};
    const bool group_may = ::stat(path.c_str(), &file) == 0 && (file.st_mode & 060) == 060;
    const group* const owners = group_may && file.st_gid != 0 ? ::getgrgid(file.st_gid) : nullptr;
    if (owners)
      return "This user may not open it. The group " + std::string(owners->gr_name) +
             " may; to join it:\n  sudo usermod -aG " + owners->gr_name +
             " \"$(id -un)\"\nand log in again.\n";
    return "This user may not open it, and no group may. Run this as root, or:\n"
           "  sudo setfacl -m \"u:$(id -un):rw\" " +
           path + "\n";
  }
  if (why == errc::perm)
    return "This user could open it, but a container or a security module forbids it.\n"
           "A container gets KVM from whoever starts it: docker run --device /dev/kvm\n";
  return "This kernel offers no KVM. What that takes:\n"
         "- on a machine of one's own: virtualization (VT-x, AMD-V) enabled in its firmware, and\n"
         "  the module loaded: sudo modprobe kvm_intel, or kvm_amd\n"
         "- in a VM: nested virtualization, which its host enables (on KVM: the parameter "
         "nested=1\n"
         "  of kvm_intel or kvm_amd, and a processor of the host's model)\n"
         "- in a container: the device, from whoever starts it: docker run --device /dev/kvm\n";
}

}  // namespace compare
