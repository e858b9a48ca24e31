// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The policies for references on simulated files. The model has one, and observers have another.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/system/file.hpp>

namespace kvm_vfio::sim {

/// The policy by which `kvm_vfio::device` holds references on simulated files.
struct counted_files {
  /// Takes one more reference on an open file. Never fails.
  result<file*> get_file(file* const& f) noexcept;
  /// Gives one reference on an open file back.
  void fput(file* const& f) noexcept { f->put(); }
};
static_assert(file_references<counted_files, file*>);

/// The policy by which observers hold simulated files: a file is kept in memory, but not open.
struct watched_files {
  /// Keeps the file in memory once more. Never fails.
  result<file*> get_file(file* const& f) noexcept;
  /// No longer keeps the file in memory.
  void fput(file* const& f) noexcept { f->unwatch(); }
};
static_assert(file_references<watched_files, file*>);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/file_references.hpp>
#endif
