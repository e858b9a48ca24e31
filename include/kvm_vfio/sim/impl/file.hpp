// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of file.hpp.

#include <kvm_vfio/sim/file.hpp>

#include <cerrno>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void file::put() noexcept {
  if (!references_.put()) return;
  release();
  unwatch();
}

KVM_VFIO_INLINE void file::unwatch() noexcept {
  if (memory_.put()) delete this;
}

KVM_VFIO_INLINE answer file::ioctl(process&, std::uint32_t /*request*/,
                                   std::uint64_t /*argument*/) {
  return errc::notty;
}

KVM_VFIO_INLINE answer file::pread(void*, std::size_t, std::uint64_t /*offset*/) {
  return errc::inval;
}

KVM_VFIO_INLINE answer file::pwrite(const void*, std::size_t, std::uint64_t /*offset*/) {
  return errc::inval;
}

KVM_VFIO_INLINE event_file* file::as_event() noexcept { return nullptr; }

KVM_VFIO_INLINE void file::release() noexcept {}

KVM_VFIO_INLINE file_ref& file_ref::operator=(file_ref&& other) noexcept {
  if (this != &other) reset(other.take());
  return *this;
}

KVM_VFIO_INLINE void file_ref::reset(file* owned) noexcept {
  file* const old = file_;
  file_ = owned;
  if (old) old->put();
}

KVM_VFIO_INLINE file* file_ref::take() noexcept {
  file* const f = file_;
  file_ = nullptr;
  return f;
}

KVM_VFIO_INLINE result<file*> counted_files::get_file(file* const& f) noexcept {
  f->get();
  return f;
}

KVM_VFIO_INLINE result<file*> watched_files::get_file(file* const& f) noexcept {
  f->watch();
  return f;
}

KVM_VFIO_INLINE event_file* event_file::as_event() noexcept { return this; }

KVM_VFIO_INLINE void event_file::signal() noexcept {
  __atomic_add_fetch(&count_, 1, __ATOMIC_ACQ_REL);
}

KVM_VFIO_INLINE answer event_file::pread(void* to, std::size_t size, std::uint64_t) {
  if (size < sizeof(std::uint64_t)) return errc::inval;
  const std::uint64_t n = __atomic_exchange_n(&count_, 0, __ATOMIC_ACQ_REL);
  if (n == 0) return errc::again;
  __builtin_memcpy(to, &n, sizeof n);
  return answer(static_cast<std::int64_t>(sizeof n));
}

}  // namespace kvm_vfio::sim
