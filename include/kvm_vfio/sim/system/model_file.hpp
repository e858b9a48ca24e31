// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The open files of objects that the model made.

#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// An open file for an object that the model made: a device of a VM.
class model_file final : public file {
 public:
  /// Makes the file.
  /// \param made the object of the model, which is released when the file is released
  explicit model_file(open_file<process>& made) noexcept : file(file_kind::kvm), made_(made) {}
  [[nodiscard]] const char* name() const noexcept override { return made_.name(); }
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  /// Fails: these files have no position.
  /// \par Errors
  /// - `errc::spipe`: always
  answer pread(void*, std::size_t, std::uint64_t) override;
  /// Fails: these files have no position.
  /// \par Errors
  /// - `errc::spipe`: always
  answer pwrite(const void*, std::size_t, std::uint64_t) override;

 private:
  void release() noexcept override;
  open_file<process>& made_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/model_file.hpp>
#endif
