// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of process_ref.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/system/file.hpp>

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <new>

namespace kvm_vfio::sim {

namespace detail {
template <class Value>
[[nodiscard]] result<Value> value_as(const answer& a) noexcept {
  if (!a) return a.error();
  return static_cast<Value>(*a);
}
}  // namespace detail

template <class Function>
answer process_ref::made(Function call, errc without) const noexcept {
  if (!process_) return without;
  try {
    return call(*process_);
  } catch (const std::bad_alloc&) {
    return errc::nomem;
  }
}

KVM_VFIO_INLINE result<int> process_ref::open(const char* path, int flags) const noexcept {
  return detail::value_as<int>(
      made([&](process& p) { return p.open(path, flags | O_CLOEXEC); }, errc::nosys));
}

KVM_VFIO_INLINE errc process_ref::close(int fd) const noexcept {
  return made([&](process& p) { return p.close(fd); }).error();
}

KVM_VFIO_INLINE result<int> process_ref::dup(int fd) const noexcept {
  constexpr int lowest = 3;
  const answer a = made([&](process& p) { return p.dup(fd, lowest); });
  // EINVAL means that the limit on descriptors is not above `lowest`.
  if (a.error() == errc::inval) return errc::mfile;
  return detail::value_as<int>(a);
}

KVM_VFIO_INLINE result<int> process_ref::ioctl(int fd, unsigned long request,
                                               std::uintptr_t argument) const noexcept {
  return detail::value_as<int>(made([&](process& p) { return p.ioctl(fd, request, argument); }));
}

KVM_VFIO_INLINE result<std::size_t> process_ref::read(int fd, void* to,
                                                      std::size_t size) const noexcept {
  return detail::value_as<std::size_t>(made([&](process& p) { return p.read(fd, to, size); }));
}

KVM_VFIO_INLINE result<std::size_t> process_ref::write(int fd, const void* from,
                                                       std::size_t size) const noexcept {
  return detail::value_as<std::size_t>(made([&](process& p) { return p.write(fd, from, size); }));
}

KVM_VFIO_INLINE result<std::size_t> process_ref::pread(int fd, void* to, std::size_t size,
                                                       std::uint64_t offset) const noexcept {
  return detail::value_as<std::size_t>(
      made([&](process& p) { return p.pread(fd, to, size, offset); }));
}

KVM_VFIO_INLINE result<std::size_t> process_ref::pwrite(int fd, const void* from, std::size_t size,
                                                        std::uint64_t offset) const noexcept {
  return detail::value_as<std::size_t>(
      made([&](process& p) { return p.pwrite(fd, from, size, offset); }));
}

KVM_VFIO_INLINE result<void*> process_ref::mmap(std::size_t size, int protection, int fd,
                                                std::uint64_t offset) const noexcept {
  const answer a = made([&](process& p) { return p.mmap(size, protection, fd, offset); });
  if (!a) return a.error();
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(*a));
}

KVM_VFIO_INLINE errc process_ref::munmap(void* address, std::size_t size) const noexcept {
  return made([&](process& p) { return p.munmap(address, size); }, errc::nosys).error();
}

KVM_VFIO_INLINE result<int> process_ref::eventfd() const noexcept {
  return detail::value_as<int>(made([](process& p) { return p.eventfd(); }, errc::nosys));
}

}  // namespace kvm_vfio::sim
