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

// For processes that may not call kcmp(2). A byte-range lock of the kind that an open file
// description owns (F_OFD_SETLK) never conflicts with itself: one is taken through `a` on a byte
// that no file has, and `b` is asked whether it would conflict. Nothing waits, and the lock is gone
// at the end; meanwhile /proc/locks shows it. The byte is this thread's, so that others that
// compare at the same time do not answer for us. (A lock of the file's own up to the end of all
// bytes would lose this one.) Where a third party's lock is in the way, or the file cannot be
// locked, it counts as the same when its inode is: true of VFIO groups, open once at the most.
class lock_probe {
 public:
  explicit lock_probe(short type) noexcept {
    constexpr off_t far_off = off_t{1} << (8 * sizeof(off_t) - 2);
    byte_.l_whence = SEEK_SET;
    byte_.l_start = far_off - static_cast<off_t>(::syscall(SYS_gettid));
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
  if (others || !probe.lock(a)) return true;
  const bool same = !probe.conflicts(b);
  probe.unlock(a);
  return same;
}

}  // namespace detail

/// Whether both descriptors are open and refer to the same open file description: exact, by
/// kcmp(2), and by a momentary lock where a seccomp filter forbids that. Equal numbers are the same
/// without a system call, also when they are not open. Does not allocate.
[[nodiscard]] inline bool same_file(int a, int b) noexcept {
  if (a == b) return true;
  if (a < 0 || b < 0) return false;
  const long pid = ::getpid();
  const long order = ::syscall(SYS_kcmp, pid, pid, KCMP_FILE, a, b);
  if (order >= 0) return order == 0;
  return errno != EBADF && detail::same_file_by_lock(a, b);
}

}  // namespace kvm_vfio::native
