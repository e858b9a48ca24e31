// SPDX-License-Identifier: BSL-1.0
#include "remote_memory.hpp"

#include "run.hpp"

#include <sys/types.h>
#include <sys/uio.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <string>
#include <utility>

namespace kvm_vfio_sim {

namespace {

// Whether a whole transfer was made. Says once why the memory of a program cannot be reached,
// because every call fails then.
bool is_whole(ssize_t done, std::size_t wanted, pid_t of) {
  static bool told = false;
  if (done < 0 && errno == EPERM && !std::exchange(told, true))
    (void)complain("the memory of process " + std::to_string(of) +
                   " cannot be reached, so that its calls fail with EFAULT. The process must have "
                   "the user of kvm-vfio-sim, be dumpable (PR_SET_DUMPABLE), and with Yama "
                   "(kernel.yama.ptrace_scope) be below kvm-vfio-sim in the tree of processes");
  return done == static_cast<ssize_t>(wanted);
}

}  // namespace

bool remote_memory::read(std::uint64_t from, void* to, std::size_t size) noexcept {
  if (size == 0) return true;
  const iovec here{to, size};
  const iovec there{reinterpret_cast<void*>(from), size};
  return is_whole(::process_vm_readv(process_, &here, 1, &there, 1, 0), size, process_);
}

bool remote_memory::peek(std::uint64_t from, void* to, std::size_t size) noexcept {
  return read(from, to, size);
}

bool remote_memory::write(std::uint64_t to, const void* from, std::size_t size) noexcept {
  if (size == 0) return true;
  const iovec here{const_cast<void*>(from), size};
  const iovec there{reinterpret_cast<void*>(to), size};
  return is_whole(::process_vm_writev(process_, &here, 1, &there, 1, 0), size, process_);
}

bool remote_memory::pinnable(std::uint64_t at, std::uint64_t size, bool write) noexcept {
  // No memory of a program ends with the last address.
  if (size != 0 && at + size <= at) return false;
  char path[40];
  (void)std::snprintf(path, sizeof path, "/proc/%d/maps", static_cast<int>(process_));
  std::FILE* const maps = std::fopen(path, "re");
  if (!maps) return false;
  std::uint64_t next = at;
  const std::uint64_t end = at + size;
  char line[512];
  while (next < end && std::fgets(line, sizeof line, maps)) {
    std::uint64_t first = 0;
    std::uint64_t behind = 0;
    char access[5] = {};
    if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &first, &behind, access) != 3) continue;
    if (behind <= next) continue;
    if (first > next || access[0] != 'r' || (write && access[1] != 'w')) break;
    next = behind;
  }
  (void)std::fclose(maps);
  return next >= end;
}

}  // namespace kvm_vfio_sim
