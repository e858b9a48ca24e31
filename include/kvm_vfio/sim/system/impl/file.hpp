// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of file.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

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

KVM_VFIO_INLINE answer file::read(void*, std::size_t) { return errc::inval; }

KVM_VFIO_INLINE std::size_t file::read_before_error(std::size_t /*size*/,
                                                    const std::uint64_t* /*offset*/) noexcept {
  return 0;
}

KVM_VFIO_INLINE void file::move_back(std::uint64_t /*bytes*/) noexcept {}

KVM_VFIO_INLINE answer file::write(const void*, std::size_t) { return errc::inval; }

KVM_VFIO_INLINE result<void*> file::mmap(std::uint64_t /*size*/, int /*protection*/,
                                         std::uint64_t /*offset*/) {
  return errc::nodev;
}

KVM_VFIO_INLINE std::uint64_t file::pinnable_bytes() const noexcept { return 0; }

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

KVM_VFIO_INLINE trace::file_type type_of(const file& f) noexcept {
  switch (f.kind()) {
    case file_kind::container: return trace::file_type::container;
    case file_kind::group: return trace::file_type::group;
    case file_kind::device: return trace::file_type::device;
    case file_kind::iommufd: return trace::file_type::iommufd;
    default: break;
  }
  const std::string_view name = f.kind() == file_kind::kvm ? f.name() : "";
  if (name == "kvm-vfio") return trace::file_type::kvm_vfio;
  return name == "kvm-vm" ? trace::file_type::vm : trace::file_type::other;
}

}  // namespace kvm_vfio::sim
