// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Finds out whether two descriptors refer to the same open file description.

#include <kvm_vfio/native/host.hpp>

#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace kvm_vfio::native {

namespace detail {

// The number of F_DUPFD_QUERY for fcntl(2) (from Linux 6.10 on). Older C libraries do not define
// it.
inline constexpr int dupfd_query = 1024 + 3;

// Compares two files with a lock, for processes that may call neither fcntl's query nor kcmp. The
// lock is a byte-range lock that belongs to the open file description (F_OFD_SETLK). Such a lock
// never conflicts with itself. So the probe takes a lock through `a`, and asks whether `b`
// conflicts with it. The call never waits. The lock is visible in /proc/locks until the probe
// releases it.
//
// The byte lies behind the end of every file. Each thread uses another byte, so that threads that
// compare at the same time do not disturb each other. (If the open file behind `a` holds a lock up
// to the last possible byte, the probe takes this byte out of that lock.)
class lock_probe {
 public:
  explicit lock_probe(short type) noexcept {
    constexpr off_t far_off = off_t{1} << (8 * sizeof(off_t) - 2);
    byte_.l_whence = SEEK_SET;
    byte_.l_start = far_off - off_t{sys::thread_id()};
    byte_.l_len = 1;
    byte_.l_type = type;
  }
  // Returns true if another open file holds a lock on the byte.
  [[nodiscard]] bool conflicts(int fd) const noexcept {
    struct flock asked = byte_;
    asked.l_type = F_WRLCK;
    return ::fcntl(fd, F_OFD_GETLK, &asked) == 0 && asked.l_type != F_UNLCK;
  }
  [[nodiscard]] bool lock(int fd) noexcept { return ::fcntl(fd, F_OFD_SETLK, &byte_) == 0; }
  void unlock(int fd) noexcept {
    byte_.l_type = F_UNLCK;
    (void)::fcntl(fd, F_OFD_SETLK, &byte_);
  }

 private:
  struct flock byte_{};
};

// Compares two files by a lock. The lock answers nothing if another process already holds one on
// this byte, or if the file cannot be locked. Then the inodes decide, but only for device nodes,
// because all anonymous files of a host share one inode. Even for a device node this can be wrong:
// two separate opens of the node count as one file.
[[nodiscard]] inline bool same_file_by_lock(int a, int b) noexcept {
  struct stat inode_a{};
  struct stat inode_b{};
  if (::fstat(a, &inode_a) != 0 || ::fstat(b, &inode_b) != 0) return false;
  if (inode_a.st_dev != inode_b.st_dev || inode_a.st_ino != inode_b.st_ino) return false;
  const int flags = ::fcntl(a, F_GETFL);
  if (flags != ::fcntl(b, F_GETFL)) return false;

  lock_probe probe((flags & O_ACCMODE) == O_WRONLY ? F_WRLCK : F_RDLCK);
  const bool others = probe.conflicts(a);
  if (others != probe.conflicts(b)) return false;  // only one of the two holds the lock
  if (others || !probe.lock(a)) return S_ISCHR(inode_a.st_mode);
  const bool same = !probe.conflicts(b);
  probe.unlock(a);
  return same;
}

[[nodiscard]] inline bool is_open(int fd) noexcept { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace detail

/// Returns true if two descriptors of this thread refer to the same open file description.
///
/// The answer is exact with F_DUPFD_QUERY (from Linux 6.10 on) or kcmp(2). If a seccomp filter
/// refuses both, a short lock on the file decides. The answer can then be wrong, but only if the
/// file cannot be locked or another process holds such a lock. In that case one file may count as
/// two, or two opens of a device node as one. Equal numbers count as the same file, without a
/// system call and even if they are not open. Allocates nothing.
[[nodiscard]] inline bool same_file(int a, int b) noexcept {
  if (a == b) return true;
  if (a < 0 || b < 0) return false;
  if (const int same = ::fcntl(a, detail::dupfd_query, b); same >= 0) return same == 1;
  // Before Linux 6.10, fcntl also returns EBADF for an open descriptor with O_PATH.
  if (errno == EBADF && !(detail::is_open(a) && detail::is_open(b))) return false;
  const long task = sys::thread_id();
  const long order = ::syscall(SYS_kcmp, task, task, long{KCMP_FILE}, long{a}, long{b});
  if (order >= 0) return order == 0;
  return errno != EBADF && detail::same_file_by_lock(a, b);
}

}  // namespace kvm_vfio::native
