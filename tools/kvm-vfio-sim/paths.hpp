// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Which paths of a program belong to the simulated host. The preloaded object uses this file, too,
/// so nothing here allocates memory.

#include <climits>
#include <cstddef>
#include <cstring>

namespace kvm_vfio_sim {

/// Whether a text starts with another text.
inline bool starts(const char* text, const char* with) {
  return std::strncmp(text, with, std::strlen(with)) == 0;
}

/// Removes "//" and "/./" from an absolute path.
/// \param path the path; may be null
/// \param to   PATH_MAX bytes
/// \return false: the path is relative or too long
inline bool tidy(const char* path, char* to) {
  if (!path || path[0] != '/') return false;
  std::size_t n = 0;
  for (const char* p = path; *p;) {
    if (p[0] == '/' && (p[1] == '/' || (p[1] == '.' && (p[2] == '/' || p[2] == 0)))) {
      p += p[1] == '/' ? 1 : 2;
      continue;
    }
    if (n + 1 >= PATH_MAX) return false;
    to[n++] = *p++;
  }
  if (n == 0) to[n++] = '/';
  while (n > 1 && to[n - 1] == '/') --n;
  to[n] = 0;
  return true;
}

/// Where a program finds the file of a path.
enum class place {
  real,          ///< in the real file system
  view,          ///< in the directory of the run
  view_or_real,  ///< in the directory of the run if it has the path, else in the real file system
};

/// Where a program finds the file of a path that `tidy` made.
inline place place_of(const char* path) {
  // Names without an end stand for all names with this start.
  constexpr const char* own_parts[] = {"/sys/bus/pci",     "/sys/kernel/iommu_groups",
                                       "/sys/class/vfio",  "/sys/class/iommu",
                                       "/sys/devices/pci", "/sys/devices/virtual/vfio",
                                       "/sys/module/vfio", "/sys/module/iommufd",
                                       "/dev/vfio",        "/dev/iommu"};
  for (const char* const part : own_parts)
    if (starts(path, part)) return place::view;
  // Links such as /sys/dev/char/10:196, which only the simulated host has.
  if (starts(path, "/sys/dev/char/") || starts(path, "/sys/class/misc/"))
    return place::view_or_real;
  return place::real;
}

/// Whether the simulated host opens the file of a path that `tidy` made. Numbers of groups that do
/// not exist count, and are ENOENT.
/// \param kvm whether the simulated host answers for /dev/kvm
inline bool opens_simulated(const char* path, bool kvm) {
  if (std::strcmp(path, "/dev/kvm") == 0) return kvm;
  if (std::strcmp(path, "/dev/iommu") == 0 || std::strcmp(path, "/dev/vfio/vfio") == 0) return true;
  return starts(path, "/dev/vfio/") && std::strcmp(path, "/dev/vfio/devices") != 0;
}

}  // namespace kvm_vfio_sim
