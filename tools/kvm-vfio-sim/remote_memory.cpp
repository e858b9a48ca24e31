// SPDX-License-Identifier: BSL-1.0
#include "remote_memory.hpp"

#include <sys/uio.h>

#include <cinttypes>
#include <cstdio>

namespace kvm_vfio_sim {

bool remote_memory::read(std::uint64_t from, void* to, std::size_t size) noexcept {
  if (size == 0) return true;
  const iovec here{to, size};
  const iovec there{reinterpret_cast<void*>(from), size};
  return ::process_vm_readv(process_, &here, 1, &there, 1, 0) == static_cast<ssize_t>(size);
}

bool remote_memory::peek(std::uint64_t from, void* to, std::size_t size) noexcept {
  return read(from, to, size);
}

bool remote_memory::write(std::uint64_t to, const void* from, std::size_t size) noexcept {
  if (size == 0) return true;
  const iovec here{const_cast<void*>(from), size};
  const iovec there{reinterpret_cast<void*>(to), size};
  return ::process_vm_writev(process_, &here, 1, &there, 1, 0) == static_cast<ssize_t>(size);
}

bool remote_memory::pinnable(std::uint64_t at, std::uint64_t size, bool write) noexcept {
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
