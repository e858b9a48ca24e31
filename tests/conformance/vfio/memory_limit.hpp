// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The limit on locked memory (RLIMIT_MEMLOCK) of a real and of a simulated process, and memory
/// that meets it.

#include <kvm_vfio/sim/process.hpp>

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <system_error>

namespace vfio_lockstep {

/// The limit of this program, which runs as root. The destructor restores the limit and
/// CAP_IPC_LOCK.
class real_limit {
 public:
  real_limit() { check(::getrlimit(RLIMIT_MEMLOCK, &before_) == 0); }
  real_limit(const real_limit&) = delete;
  real_limit& operator=(const real_limit&) = delete;
  ~real_limit() {
    (void)::setrlimit(RLIMIT_MEMLOCK, &before_);
    (void)set_capable(true);
  }
  /// Sets the limit in bytes.
  static void limit(std::uint64_t bytes) {
    const rlimit r{.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    check(::setrlimit(RLIMIT_MEMLOCK, &r) == 0);
  }
  /// Takes CAP_IPC_LOCK, or gives it up.
  static void capable(bool yes) { check(set_capable(yes)); }

 private:
  static bool set_capable(bool yes) {
    __user_cap_header_struct head{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
    if (::syscall(SYS_capget, &head, data) != 0) return false;
    const std::uint32_t bit = 1U << CAP_IPC_LOCK;
    data[0].effective = yes ? data[0].effective | bit : data[0].effective & ~bit;
    return ::syscall(SYS_capset, &head, data) == 0;
  }
  static void check(bool holds) {
    if (!holds) throw std::system_error(errno, std::generic_category(), "limit on locked memory");
  }
  rlimit before_{};
};

/// The limit of a simulated process.
class simulated_limit {
 public:
  explicit simulated_limit(kvm_vfio::sim::process& task) noexcept : task_(task) {}
  void limit(std::uint64_t bytes) { task_.memory_lock_limit(bytes); }
  void capable(bool yes) { task_.cap_ipc_lock(yes); }

 private:
  kvm_vfio::sim::process& task_;
};

/// Sixteen pages, all of them touched. The last four are not accessible.
class locked_memory_pages {
 public:
  locked_memory_pages() {
    void* const at =
        ::mmap(nullptr, 16 * page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    std::memset(at, 1, 16 * page());
    (void)::mprotect(static_cast<unsigned char*>(at) + 12 * page(), 4 * page(), PROT_NONE);
    at_ = at;
  }
  locked_memory_pages(const locked_memory_pages&) = delete;
  locked_memory_pages& operator=(const locked_memory_pages&) = delete;
  ~locked_memory_pages() { ::munmap(at_, 16 * page()); }
  /// The address of a page.
  [[nodiscard]] std::uint64_t address(std::uint64_t n) const noexcept {
    return reinterpret_cast<std::uintptr_t>(at_) + n * page();
  }
  static std::size_t page() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

 private:
  void* at_ = nullptr;
};

}  // namespace vfio_lockstep
