// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The file of a fault queue, which IOMMU_FAULT_QUEUE_ALLOC makes. No simulated device reports
/// faults, so a queue is always empty.

#include <kvm_vfio/sim/system/file.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

class iommufd_file;

/// The file of a fault queue. It holds a reference on its iommufd, and its object is in use while
/// the file is open.
class fault_queue final : public file {
 public:
  /// \param of the iommufd, on which the new file takes a reference
  explicit fault_queue(iommufd_file& of) noexcept;
  /// Sets the number of the queue's object. Before this call the queue has none.
  void belongs_to(std::uint32_t id) noexcept { id_ = id; }
  [[nodiscard]] const char* name() const noexcept override { return "[iommufd-pgfault]"; }
  /// \par Errors
  /// - `errc::spipe`: always
  answer pread(void*, std::size_t, std::uint64_t) override;
  /// \par Errors
  /// - `errc::spipe`: always
  answer pwrite(const void*, std::size_t, std::uint64_t) override;
  /// Reads no fault.
  /// \return 0
  /// \par Errors
  /// - `errc::spipe`: the size is not that of a number of faults
  answer read(void*, std::size_t size) override;
  /// Answers no fault, because there is none.
  /// \return 0
  /// \par Errors
  /// - `errc::spipe`: the size is not that of a number of answers
  /// - `errc::inval`: there is an answer
  answer write(const void*, std::size_t size) override;

 private:
  ~fault_queue() override = default;
  void release() noexcept override;

  iommufd_file& of_;
  std::uint32_t id_ = 0;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommufd/impl/fault_queue.hpp>
#endif
