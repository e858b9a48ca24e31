// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO containers: groups that share an IOMMU. A container lives as long as its file or a group
/// in it, so that it outlives close(2).

#include <kvm_vfio/sim/spapr.hpp>
#include <kvm_vfio/sim/type1.hpp>

namespace kvm_vfio::sim {

/// struct vfio_container. Everything with the world's lock held.
class container {
 public:
  /// An empty container, with one reference: its file's.
  explicit container(vfio_system& system) : system_(system) { ++system_.open_containers; }
  container(const container&) = delete;
  container& operator=(const container&) = delete;

  /// One reference more: the file has one, and each group.
  void get() noexcept { ++references_; }
  /// One reference less; at the last the container goes.
  void put() noexcept {
    if (--references_ == 0) delete this;
  }

  /// VFIO_GROUP_SET_CONTAINER.
  /// \return perm: the host or somebody else owns the group's DMA · as the driver's attach
  [[nodiscard]] errc attach(vfio_group& group) {
    if (const errc e = group.claim_dma(&group); e != errc::ok) return e;
    if (driver_) {
      if (const errc e = driver_->attach(group); e != errc::ok) {
        group.release_dma();
        return e;
      }
    }
    groups_.push_back(&group);
    group.in = this;
    group.container_users = 1;
    get();
    system_.container_changed();
    return errc::ok;
  }
  /// A group leaves; the last takes the IOMMU with it.
  void detach(vfio_group& group) noexcept {
    if (driver_) driver_->detach(group);
    group.release_dma();
    group.in = nullptr;
    group.container_users = 0;
    std::erase(groups_, &group);
    if (groups_.empty()) driver_.reset();
    system_.container_changed();
    put();
  }
  /// The container's ioctls (vfio_fops_unl_ioctl); others are the IOMMU driver's, inval without
  /// one.
  answer ioctl(process& from, std::uint32_t request, std::uint64_t argument) {
    switch (request) {
      case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
      case VFIO_CHECK_EXTENSION: return has(argument) ? 1 : 0;
      case VFIO_SET_IOMMU: return to_answer(set_iommu(argument));
      default: return driver_ ? driver_->ioctl(from, request, argument) : answer(errc::inval);
    }
  }
  /// VFIO_CHECK_EXTENSION. VFIO_DMA_CC_IOMMU is no while there is no IOMMU.
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept {
    if (driver_) return driver_->has(extension);
    return system_.options.iommu == iommu_kind::type1
               ? type1_iommu::has_unopened(system_.release, extension)
               : spapr_iommu_driver::has_unopened(extension);
  }
  /// Its IOMMU, or null.
  [[nodiscard]] const iommu_driver* driver() const noexcept { return driver_.get(); }
  /// The groups in it, in the order in which they came.
  [[nodiscard]] const std::vector<vfio_group*>& groups() const noexcept { return groups_; }

 private:
  ~container() { --system_.open_containers; }

  // inval: no group, or an IOMMU already · nodev: no driver of that type · as attach
  errc set_iommu(std::uint64_t type) {
    if (groups_.empty() || driver_) return errc::inval;
    std::unique_ptr<iommu_driver> made;
    if (system_.options.iommu == iommu_kind::spapr) {
      if (type == VFIO_SPAPR_TCE_IOMMU) made = std::make_unique<spapr_iommu_driver>(system_);
    } else if (type == VFIO_TYPE1_IOMMU || type == VFIO_TYPE1v2_IOMMU) {
      made = std::make_unique<type1_iommu>(system_, type == VFIO_TYPE1v2_IOMMU);
    }
    // Whatever a driver calls an extension leads to it. (No IOMMU here can nest.)
    if (!made) return has(type) ? errc::inval : errc::nodev;
    // The last that joined is the first.
    for (std::size_t i = groups_.size(); i-- > 0;) {
      const errc e = made->attach(*groups_[i]);
      if (e == errc::ok) continue;
      while (++i < groups_.size()) made->detach(*groups_[i]);
      return e;
    }
    driver_ = std::move(made);
    system_.container_changed();
    return errc::ok;
  }

  vfio_system& system_;
  int references_ = 1;
  std::vector<vfio_group*> groups_;
  std::unique_ptr<iommu_driver> driver_;
};

/// An open /dev/vfio/vfio.
class container_file final : public file {
 public:
  /// A new container of its own.
  explicit container_file(vfio_system& system)
      : file(file_kind::container), system_(system), container_(new container(system)) {}
  [[nodiscard]] const char* name() const noexcept override { return "/dev/vfio/vfio"; }
  /// The container behind the file.
  [[nodiscard]] container& get_container() const noexcept { return *container_; }
  answer ioctl(process& from, std::uint32_t request, std::uint64_t argument) override {
    const guard held(system_.lock);
    return container_->ioctl(from, request, argument);
  }

 private:
  void release() noexcept override {
    const guard held(system_.lock);
    container_->put();
  }
  vfio_system& system_;
  container* container_;
};

}  // namespace kvm_vfio::sim
