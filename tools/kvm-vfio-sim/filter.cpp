// SPDX-License-Identifier: BSL-1.0
#include "filter.hpp"

#include "system_calls.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace kvm_vfio_sim {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_AARCH64;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr std::uint32_t architecture = AUDIT_ARCH_RISCV64;
#else
constexpr std::uint32_t architecture = 0;  // no architecture has this number
#endif

// These calls are reported whatever their arguments are. A filter cannot know which descriptors are
// simulated, so it reports every read(2).
constexpr std::uint32_t reported[] = {
#ifdef SYS_open
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_dup2, SYS_fork, SYS_vfork,
#endif
    SYS_openat, SYS_openat2, SYS_newfstatat, SYS_fstat, SYS_statx, SYS_faccessat, SYS_faccessat2,
    SYS_readlinkat, SYS_statfs, SYS_fstatfs, SYS_close, SYS_close_range, SYS_dup, SYS_dup3,
    SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_read,
    SYS_write, SYS_readv, SYS_writev, SYS_lseek, SYS_munmap, SYS_mremap, SYS_execve, SYS_execveat,
    SYS_clone3, SYS_sendfile, SYS_splice, SYS_tee, SYS_vmsplice, SYS_copy_file_range, SYS_ftruncate,
    SYS_fallocate, SYS_io_uring_setup, SYS_io_uring_register,
    // Calls on sockets, because a simulated descriptor is one.
    SYS_sendto, SYS_recvfrom, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg, SYS_shutdown, SYS_getsockopt,
    SYS_setsockopt, SYS_getsockname, SYS_getpeername, SYS_connect, SYS_bind, SYS_listen, SYS_accept,
    SYS_accept4};

// Writes the filter, which has jumps forward only.
class writer {
 public:
  void load(std::uint32_t offset) { put(BPF_LD | BPF_W | BPF_ABS, offset); }
  // The low half of an argument.
  void load_argument(unsigned n) {
    const std::uint32_t low = std::endian::native == std::endian::little ? 0 : 4;
    load(static_cast<std::uint32_t>(offsetof(seccomp_data, args)) + 8 * n + low);
  }
  void mask(std::uint32_t bits) { put(BPF_ALU | BPF_AND | BPF_K, bits); }
  void end(std::uint32_t action) { put(BPF_RET | BPF_K, action); }
  void report_if(std::uint32_t value) {
    put(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    end(SECCOMP_RET_USER_NOTIF);
  }
  void pass_if(std::uint32_t value) {
    put(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    end(SECCOMP_RET_ALLOW);
  }
  void pass_unless(std::uint32_t value) {
    put(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
    end(SECCOMP_RET_ALLOW);
  }
  // Starts a part that is executed if the value is `value`; `close` ends the part.
  std::size_t open(std::uint32_t value) {
    put(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0);
    return code_.size();
  }
  void close(std::size_t start) {
    code_[start - 1].jf = static_cast<std::uint8_t>(code_.size() - start);
  }
  [[nodiscard]] std::vector<sock_filter>& code() { return code_; }

 private:
  void put(unsigned code, std::uint32_t k, std::uint8_t jt = 0, std::uint8_t jf = 0) {
    code_.push_back({static_cast<std::uint16_t>(code), jt, jf, k});
  }
  std::vector<sock_filter> code_;
};

std::vector<sock_filter> filter_for(kvm_calls calls) {
  writer w;
  w.load(offsetof(seccomp_data, arch));
  w.pass_unless(architecture);
  w.load(offsetof(seccomp_data, nr));

  const std::size_t ioctl = w.open(SYS_ioctl);
  w.load_argument(1);
  // KVM_RUN is frequent, so requests of the real KVM are named one by one.
  if (calls == kvm_calls::of_kvm_vfio)
    for (const unsigned long request : {static_cast<unsigned long>(KVM_CREATE_DEVICE),
                                        static_cast<unsigned long>(KVM_SET_DEVICE_ATTR),
                                        static_cast<unsigned long>(KVM_GET_DEVICE_ATTR),
                                        static_cast<unsigned long>(KVM_HAS_DEVICE_ATTR)})
      w.report_if(static_cast<std::uint32_t>(request));
  w.mask(0xff00);
  w.report_if(VFIO_TYPE << 8);
  if (calls == kvm_calls::all) w.report_if(KVMIO << 8);
  w.end(SECCOMP_RET_ALLOW);
  w.close(ioctl);

  const std::size_t mmap = w.open(SYS_mmap);
  w.load_argument(3);
  w.mask(MAP_ANONYMOUS);
  w.report_if(0);
  // Memory at a fixed address can replace a mapping of a BAR.
  w.load_argument(3);
  w.mask(MAP_FIXED);
  w.report_if(MAP_FIXED);
  w.end(SECCOMP_RET_ALLOW);
  w.close(mmap);

  // A new process, and not a new thread. The flags of clone3 are in memory, which no filter sees.
  const std::size_t clone = w.open(SYS_clone);
  w.load_argument(0);
  w.mask(CLONE_THREAD);
  w.report_if(0);
  w.end(SECCOMP_RET_ALLOW);
  w.close(clone);

  const std::size_t fcntl = w.open(SYS_fcntl);
  w.load_argument(1);
  w.report_if(F_DUPFD);
  w.report_if(F_DUPFD_CLOEXEC);
  w.end(SECCOMP_RET_ALLOW);
  w.close(fcntl);

  const std::size_t send = w.open(SYS_sendmsg);
  w.load_argument(2);
  w.pass_if(static_cast<std::uint32_t>(unreported_flags));
  w.end(SECCOMP_RET_USER_NOTIF);
  w.close(send);

  for (const std::uint32_t number : reported) w.report_if(number);
  w.end(SECCOMP_RET_ALLOW);
  return w.code();
}

}  // namespace

int install_filter(kvm_calls calls) {
  if (architecture == 0) return -ENOSYS;
  std::vector<sock_filter> code = filter_for(calls);
  sock_fprog program{};
  program.len = static_cast<unsigned short>(code.size());
  program.filter = code.data();
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  // Without the second flag, a signal would end the wait of a call, and the call would be made
  // again after the simulated host has executed it.
  const long listener = system_call(
      SYS_seccomp, SECCOMP_SET_MODE_FILTER,
      SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
  return listener < 0 ? -errno : static_cast<int>(listener);
}

}  // namespace kvm_vfio_sim
