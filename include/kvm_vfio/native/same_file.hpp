// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Whether two descriptors refer to the same open file description.

#include <kvm_vfio/native/system.hpp>

#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace kvm_vfio::native {

namespace detail {

// fcntl(2)'s F_DUPFD_QUERY (Linux 6.10), which the C library's headers may lack.
inline constexpr int dupfd_query = 1024 + 3;

// For processes that may call neither. A byte-range lock of the kind that an open file description
// owns (F_OFD_SETLK) never conflicts with itself: one is taken through `a` on a byte that no file
// has, and `b` is asked whether it would conflict. Nothing waits, and the lock is gone at the end;
// meanwhile /proc/locks shows it. The byte is this thread's, so that others that compare at the
// same time do not answer for us. (A lock of the file's own up to the end of all bytes would lose
// this one.)
class lock_probe {
 public:
  explicit lock_probe(short type) noexcept {
    constexpr off_t far_off = off_t{1} << (8 * sizeof(off_t) - 2);
    byte_.l_whence = SEEK_SET;
    byte_.l_start = far_off - off_t{sys::thread_id()};
    byte_.l_len = 1;
    byte_.l_type = type;
  }
  // Whether somebody else than this open file has a lock on the byte.
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

// Undecided where a third party's lock is in the way, or the file cannot be locked. Every process
// of the machine can lock the inode that all anonymous files share, so an inode proves something of
// a device node only, and there it errs: two opens of one node would be the same.
[[nodiscard]] inline bool same_file_by_lock(int a, int b) noexcept {
  struct stat inode_a{};
  struct stat inode_b{};
  if (::fstat(a, &inode_a) != 0 || ::fstat(b, &inode_b) != 0) return false;
  if (inode_a.st_dev != inode_b.st_dev || inode_a.st_ino != inode_b.st_ino) return false;
  const int flags = ::fcntl(a, F_GETFL);
  if (flags != ::fcntl(b, F_GETFL)) return false;

  lock_probe probe((flags & O_ACCMODE) == O_WRONLY ? F_WRLCK : F_RDLCK);
  const bool others = probe.conflicts(a);
  if (others != probe.conflicts(b)) return false;  // one of the two has the lock
  if (others || !probe.lock(a)) return S_ISCHR(inode_a.st_mode);
  const bool same = !probe.conflicts(b);
  probe.unlock(a);
  return same;
}

[[nodiscard]] inline bool is_open(int fd) noexcept { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace detail

/// Whether both descriptors are open, of this thread's table, and refer to the same open file
/// description: exact, by F_DUPFD_QUERY (Linux 6.10) or by kcmp(2). Where a seccomp filter answers
/// both with an error, by a momentary lock: then one file may count as two, and two opens of one
/// device node as one, while another process locks it on purpose. Equal numbers are the same
/// without a system call, also when they are not open. Does not allocate.
[[nodiscard]] inline bool same_file(int a, int b) noexcept {
  if (a == b) return true;
  if (a < 0 || b < 0) return false;
  if (const int same = ::fcntl(a, detail::dupfd_query, b); same >= 0) return same == 1;
  // Before Linux 6.10 of an open file, too, if that was opened with O_PATH.
  if (errno == EBADF && !(detail::is_open(a) && detail::is_open(b))) return false;
  const long task = sys::thread_id();
  const long order = ::syscall(SYS_kcmp, task, task, KCMP_FILE, a, b);
  if (order >= 0) return order == 0;
  return errno != EBADF && detail::same_file_by_lock(a, b);
}

}  // namespace kvm_vfio::native
