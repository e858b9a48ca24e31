// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The files whose memory is mapped for DMA (IOMMU_IOAS_MAP_FILE).

#include <kvm_vfio/sim/system/file.hpp>

#include <memory>

namespace kvm_vfio::sim {

/// A file whose memory is mapped. The mapping of a call and its copies share this object.
struct mapped_file {
  /// The reference on the file. The file stays open while a mapping exists.
  file_ref open{};
  /// The next file in `unmapped_files`.
  mapped_file* next = nullptr;
};

/// Files that no mapping has any more, but whose references are not yet given back: the release of
/// a file may take the world's lock, which the caller of an unmap holds.
class unmapped_files {
 public:
  unmapped_files() = default;
  unmapped_files(const unmapped_files&) = delete;
  unmapped_files& operator=(const unmapped_files&) = delete;
  /// Gives the references back. \pre the caller does not hold the world's lock
  ~unmapped_files();
  /// Makes an object that comes into this list with its last owner. This list must outlive it.
  /// Without memory it throws std::bad_alloc.
  [[nodiscard]] std::shared_ptr<mapped_file> make();
  /// Moves the files of another list into this one, which is empty.
  void take_from(unmapped_files& other) noexcept;

 private:
  mapped_file* first_ = nullptr;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommu/impl/mapped_file.hpp>
#endif
