// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of memory.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <fcntl.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace kvm_vfio::trace {

namespace detail {

// Returns whether this program has memory from `at` to `end - 1` that can be read, or, if `write`
// is true, written. The list of the mappings is /proc/self/maps, which is sorted.
KVM_VFIO_INLINE bool mapped_here(std::uint64_t at, std::uint64_t end, bool write) noexcept {
  std::FILE* const list = std::fopen("/proc/self/maps", "re");
  if (!list) return true;
  char line[512];
  bool start_of_line = true;
  while (at < end && std::fgets(line, sizeof line, list)) {
    const bool skip = !start_of_line;
    start_of_line = std::strchr(line, '\n') != nullptr;
    if (skip) continue;
    char* next = line;
    const std::uint64_t first = std::strtoull(next, &next, 16);
    if (*next != '-') continue;
    const std::uint64_t behind = std::strtoull(next + 1, &next, 16);
    if (*next != ' ' || behind <= at) continue;
    const char access = next[write ? 2 : 1];  // of "rwxp"
    if (first > at || access == '-') break;
    at = behind;
  }
  (void)std::fclose(list);
  return at >= end;
}

// Copies from this program's memory at any address. The kernel makes the copy, so a bad address is
// no crash. A seccomp filter may forbid process_vm_readv(2); then the bytes go through a pipe.
KVM_VFIO_INLINE bool copied_here(void* from, void* to, std::size_t size) noexcept {
  const iovec there{from, size};
  const iovec here{to, size};
  if (::process_vm_readv(::getpid(), &here, 1, &there, 1, 0) == static_cast<ssize_t>(size))
    return true;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
  const auto all = static_cast<ssize_t>(size);
  const bool copied = ::write(ends[1], from, size) == all && ::read(ends[0], to, size) == all;
  (void)::close(ends[0]);
  (void)::close(ends[1]);
  return copied;
}

template <class Read>
errc string_from(Read read, std::uint64_t address, std::string& text) {
  constexpr std::size_t page = 4096;
  text.clear();
  for (char c = 0; text.size() < page; text.push_back(c)) {
    if (!read(address + text.size(), &c)) return errc::fault;
    if (c == 0) return errc::ok;
  }
  return errc::inval;
}

}  // namespace detail

KVM_VFIO_INLINE memory::memory() noexcept = default;

KVM_VFIO_INLINE memory::~memory() = default;

KVM_VFIO_INLINE bool memory::read(std::uint64_t from, void* to, std::size_t size) noexcept {
  if (size == 0) return true;
  if (!allowed(from, size, false)) return false;
  std::memcpy(to, pointer(from), size);
  return true;
}

KVM_VFIO_INLINE bool memory::peek(std::uint64_t from, void* to, std::size_t size) noexcept {
  if (size == 0) return true;
  return allowed(from, size, false) && detail::copied_here(pointer(from), to, size);
}

KVM_VFIO_INLINE bool memory::write(std::uint64_t to, const void* from, std::size_t size) noexcept {
  if (size == 0) return true;
  if (!allowed(to, size, true)) return false;
  std::memcpy(pointer(to), from, size);
  return true;
}

KVM_VFIO_INLINE void memory::forbid(const void* at, std::size_t size, bool readable) {
  forbidden_.push_back({reinterpret_cast<std::uintptr_t>(at), size, readable});
}

KVM_VFIO_INLINE bool memory::pinnable(std::uint64_t at, std::uint64_t size, bool write) noexcept {
  if (!check_dma_ || size == 0) return true;
  if (at + size < at || !allowed(at, kvm_vfio::detail::convert<std::size_t>(size), write))
    return false;
  return detail::mapped_here(at, at + size, write);
}

KVM_VFIO_INLINE void* memory::pointer(std::uint64_t address) noexcept {
  return reinterpret_cast<void*>(kvm_vfio::detail::convert<std::uintptr_t>(address));
}

KVM_VFIO_INLINE bool memory::allowed(std::uint64_t at, std::size_t size,
                                     bool write) const noexcept {
  if (at < first_page || at + size < at || at + size >= user_end) return false;
  for (const range& r : forbidden_)
    if (at < r.first + r.size && r.first < at + size && (write || !r.readable)) return false;
  return true;
}

KVM_VFIO_INLINE errc read_string(memory& from, std::uint64_t address, std::string& text) {
  return detail::string_from([&](std::uint64_t at, char* c) { return from.read(at, c, 1); },
                             address, text);
}

KVM_VFIO_INLINE errc peek_string(memory& from, std::uint64_t address, std::string& text) {
  return detail::string_from([&](std::uint64_t at, char* c) { return from.peek(at, c, 1); },
                             address, text);
}

}  // namespace kvm_vfio::trace
