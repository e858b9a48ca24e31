// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Files in memory, as memfd_create(2) makes them.

#include <kvm_vfio/sim/system/file.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// A file in memory, of which the simulator knows only the size. An iommufd can map it
/// (IOMMU_IOAS_MAP_FILE). A process gets a descriptor of it with
/// `process.insert(file_ref(new memory_file(size)))`.
class memory_file : public file {
 public:
  /// \param size the size in bytes, less than 2^63
  explicit memory_file(std::uint64_t size) noexcept : file(file_kind::other), size_(size) {}
  [[nodiscard]] const char* name() const noexcept override { return "/memfd:"; }
  [[nodiscard]] std::uint64_t pinnable_bytes() const noexcept override;
  /// Changes the size (ftruncate(2)). A mapping that a page table translates keeps its memory. Any
  /// thread may call this function.
  /// \param size the size in bytes, less than 2^63
  void resize(std::uint64_t size) noexcept { __atomic_store_n(&size_, size, __ATOMIC_RELEASE); }

 private:
  alignas(8) std::uint64_t size_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/memory_file.hpp>
#endif
