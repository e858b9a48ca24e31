// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's type 1 IOMMU, versions 1 and 2: mappings, and domains with or without snoop control.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/iommu_driver.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// drivers/vfio/vfio_iommu_type1.c
class type1_iommu final : public iommu_driver {
 public:
  /// \param v2 unmapping never bisects
  type1_iommu(const vfio_state& state, bool v2) noexcept;

  /// What CHECK_EXTENSION says before there is an instance.
  [[nodiscard]] static bool has_unopened(const linux_release& release,
                                         std::uint64_t extension) noexcept;
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept override;
  [[nodiscard]] errc attach(vfio_group& group) override;
  void detach(vfio_group& group) noexcept override;
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  [[nodiscard]] const std::vector<std::unique_ptr<domain>>& domains() const noexcept override;
  [[nodiscard]] const dma_map& mappings() const noexcept override;
  [[nodiscard]] const char* name() const noexcept override { return v2_ ? "type1v2" : "type1"; }

 private:
  static std::vector<iova_range> everything() { return {{0, ~std::uint64_t{0}}}; }
  [[nodiscard]] std::vector<iova_range> narrowed(const vfio_group& group) const;
  // Every domain enforces it; there being none, nothing is in the way.
  [[nodiscard]] bool coherent() const noexcept;
  void pick_page_sizes() noexcept;
  [[nodiscard]] std::uint64_t page() const noexcept { return page_sizes_ & (~page_sizes_ + 1); }

  answer get_info(process& task, std::uint64_t argument);

  answer map(process& task, std::uint64_t argument);

  answer unmap(process& task, std::uint64_t argument);

  // Nothing tracks dirty pages; but the bitmap's struct is looked at before that is found out.
  static errc refuse_bitmap(process& task, std::uint64_t argument,
                            const vfio_iommu_type1_dma_unmap& u);
  // VFIO_DMA_MAP_FLAG_VADDR: a mapping whose address was taken away gets another.
  errc set_address(const vfio_iommu_type1_dma_map& m) noexcept;
  // VFIO_DMA_UNMAP_FLAG_VADDR: all of them or, if one has lost its address before, none.
  errc forget_addresses(std::uint64_t first, std::uint64_t last, std::uint64_t& done) noexcept;
  [[nodiscard]] bool stale() const noexcept;

  const vfio_state& state_;
  bool v2_;
  std::uint32_t available_;
  int mediated_ = 0;
  std::uint64_t page_sizes_ = ~std::uint64_t{0} << 12;
  bool tells_ranges_ = false;  // since its first domain
  std::vector<iova_range> ranges_ = everything();
  std::vector<std::unique_ptr<domain>> domains_;
  dma_map maps_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/type1.hpp>
#endif
