// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Finds out what kind of VFIO file a descriptor refers to. Makes no call on the file itself.

#include <kvm_vfio/native/path.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace kvm_vfio::native {

/// The kinds of file that VFIO distinguishes.
enum class vfio_file_kind : unsigned char {
  none,     ///< not a VFIO file
  group,    ///< a group, /dev/vfio/N
  device,   ///< a device file: /dev/vfio/devices/vfioN, or one that a group handed out
  unknown,  ///< perhaps a VFIO file: without /sys or /proc this is not known
};

namespace detail {

// The two numbers in a dev_t, as the C libraries store them. <sys/sysmacros.h> has macros with the
// names major and minor. Each user of this header would get these macros, too.
[[nodiscard]] constexpr unsigned major_of(dev_t device) noexcept {
  return static_cast<unsigned>((device >> 8 & 0xfff) | (device >> 32 & 0xfffff000));
}
[[nodiscard]] constexpr unsigned minor_of(dev_t device) noexcept {
  return static_cast<unsigned>((device & 0xff) | (device >> 12 & 0xffffff00));
}

/// The target of a symbolic link, cut to fit. Empty if the link cannot be read.
class link_target {
 public:
  explicit link_target(const char* path) noexcept {
    const ssize_t n = ::readlink(path, text_, sizeof text_ - 1);
    text_[n < 0 ? 0 : n] = '\0';
    found_ = n > 0;
  }
  [[nodiscard]] explicit operator bool() const noexcept { return found_; }
  [[nodiscard]] bool is(const char* text) const noexcept { return equal(text_, text); }
  /// Returns true if the part after the last slash is `name`.
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

/// Returns the kind of file behind an open descriptor. For a character device, sysfs tells the
/// kind. For another file, the name of its anonymous inode tells it. Reads at most two links and
/// allocates nothing.
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
    // Some devices have no class. But if sysfs has no entry at all, it is not mounted.
    if (device_class || ::access("/sys/dev/char", F_OK) == 0) return vfio_file_kind::none;
    return vfio_file_kind::unknown;
  }
  if (S_ISDIR(inode.st_mode) || S_ISBLK(inode.st_mode) || S_ISFIFO(inode.st_mode) ||
      S_ISSOCK(inode.st_mode) || S_ISLNK(inode.st_mode))
    return vfio_file_kind::none;
  // /proc/self would be the main thread, which may have ended or may have other descriptors.
  path self;
  self << "/proc/thread-self/fd/" << static_cast<unsigned>(fd);
  const detail::link_target target(self.get());
  if (!target) return vfio_file_kind::unknown;
  return target.is("anon_inode:[vfio-device]") ? vfio_file_kind::device : vfio_file_kind::none;
}

/// Returns true if VFIO is loaded or built in: sysfs has a class of its devices.
[[nodiscard]] inline bool vfio_is_loaded() noexcept {
  return ::access("/sys/class/vfio", F_OK) == 0 || ::access("/sys/class/vfio-dev", F_OK) == 0;
}

}  // namespace kvm_vfio::native
