// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What kind of VFIO file a descriptor is, found out without touching the file.

#include <kvm_vfio/native/path.hpp>
#include <kvm_vfio/native/system.hpp>

#include <sys/stat.h>

namespace kvm_vfio::native {

/// A descriptor, as VFIO would see it.
enum class vfio_file_kind : unsigned char {
  none,     ///< not a VFIO file
  group,    ///< /dev/vfio/N
  device,   ///< /dev/vfio/devices/vfioN, or a device that a group handed out
  unknown,  ///< a file that may be one: /sys or /proc is not there to tell
};

namespace detail {

// The numbers in a dev_t, as the C libraries pack them. Theirs are macros in <sys/sysmacros.h>
// that are called major and minor, which would be forced on every user.
[[nodiscard]] constexpr unsigned major_of(dev_t device) noexcept {
  return static_cast<unsigned>((device >> 8 & 0xfff) | (device >> 32 & 0xfffff000));
}
[[nodiscard]] constexpr unsigned minor_of(dev_t device) noexcept {
  return static_cast<unsigned>((device & 0xff) | (device >> 12 & 0xffffff00));
}

/// A symbolic link's target, cut to fit; empty: cannot be read.
class link_target {
 public:
  explicit link_target(const char* path) noexcept {
    const ssize_t n = ::readlink(path, text_, sizeof text_ - 1);
    text_[n < 0 ? 0 : n] = '\0';
    found_ = n > 0;
  }
  [[nodiscard]] explicit operator bool() const noexcept { return found_; }
  [[nodiscard]] bool is(const char* text) const noexcept { return equal(text_, text); }
  /// Whether what follows the last slash is `name`.
  [[nodiscard]] bool ends_in(const char* name) const noexcept {
    const char* last = text_;
    for (const char* c = text_; *c; ++c)
      if (*c == '/') last = c + 1;
    return equal(last, name);
  }

 private:
  static bool equal(const char* a, const char* b) noexcept {
    for (; *a && *a == *b; ++a) ++b;
    return *a == *b;
  }
  char text_[256];
  bool found_ = false;
};

}  // namespace detail

/// The kind of file behind an open descriptor, by what sysfs says of its character device and by
/// the name of its anonymous inode. Reads two links at the most; allocates nothing.
[[nodiscard]] inline vfio_file_kind vfio_kind_of(int fd) noexcept {
  struct stat inode{};
  if (fd < 0 || ::fstat(fd, &inode) != 0) return vfio_file_kind::none;
  if (S_ISCHR(inode.st_mode)) {
    path subsystem;
    subsystem << "/sys/dev/char/" << detail::major_of(inode.st_rdev) << ":"
              << detail::minor_of(inode.st_rdev) << "/subsystem";
    const detail::link_target device_class(subsystem.get());
    if (device_class.ends_in("vfio")) return vfio_file_kind::group;
    if (device_class.ends_in("vfio-dev")) return vfio_file_kind::device;
    // Some devices have no class; but no answer at all means no sysfs.
    if (device_class || ::access("/sys/dev/char", F_OK) == 0) return vfio_file_kind::none;
    return vfio_file_kind::unknown;
  }
  if (S_ISDIR(inode.st_mode) || S_ISBLK(inode.st_mode) || S_ISFIFO(inode.st_mode) ||
      S_ISSOCK(inode.st_mode) || S_ISLNK(inode.st_mode))
    return vfio_file_kind::none;
  // Not /proc/self: that is the main thread, which may be gone or have another table.
  path self;
  self << "/proc/thread-self/fd/" << static_cast<unsigned>(fd);
  const detail::link_target target(self.get());
  if (!target) return vfio_file_kind::unknown;
  return target.is("anon_inode:[vfio-device]") ? vfio_file_kind::device : vfio_file_kind::none;
}

/// Whether VFIO is loaded, or built in: its device classes are there.
[[nodiscard]] inline bool vfio_is_loaded() noexcept {
  return ::access("/sys/class/vfio", F_OK) == 0 || ::access("/sys/class/vfio-dev", F_OK) == 0;
}

}  // namespace kvm_vfio::native
