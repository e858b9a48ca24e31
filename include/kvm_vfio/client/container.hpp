// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A container that all groups of a VM share.

#include <kvm_vfio/client/dma_space.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <new>

namespace kvm_vfio::client {

/// A container that any number of groups share. The descriptor stays open until this object, every
/// group in the container and every mapping are gone. Move-only.
template <system System = native::host>
class container : public dma_space<System> {
 public:
  container() = default;

  /// Opens a new container.
  /// \par Errors
  /// - `errc::nomem`: no memory
  /// - each error of `native::vfio::basic_container_ref::open`
  [[nodiscard]] static result<container> open(const System& on = native::detail::only<System>(),
                                              const char* at = "/dev/vfio/vfio") noexcept {
    auto file = native::vfio::basic_container_ref<System>::open(at, on);
    if (!file) return file.error();
    return adopt(static_cast<native::vfio::basic_container<System>&&>(*file));
  }
  /// Takes over a container that has no IOMMU driver. Groups that are in the container already are
  /// adopted after it (`group_in_container::adopt`). Makes no call.
  /// \param file the container. After an error `file` still owns the descriptor.
  /// \par Errors
  /// - `errc::nomem`: no memory
  [[nodiscard]] static result<container> adopt(
      native::vfio::basic_container<System>&& file) noexcept {
    container made;
    made.state_ = typename container::state_ref(new (std::nothrow) typename container::state(
        static_cast<native::vfio::basic_container<System>&&>(file)));
    if (!made.state_) return errc::nomem;
    return made;
  }
  /// Takes over a container that has an IOMMU driver, for example one that was set before
  /// execve(2). Adopt each group that is in the container after it, and each mapping that this
  /// program will remove (`adopt_mapping`). For a TYPE1 driver, one call asks whether the container
  /// has it.
  /// \param file the container. After an error `file` still owns the descriptor.
  /// \param type the IOMMU driver that the container has
  /// \par Errors
  /// - `errc::inval`: the container has no IOMMU driver
  /// - `errc::nomem`: no memory
  /// - each other error of `native::vfio::basic_type1_info_ref::iommu_info`
  [[nodiscard]] static result<container> adopt(native::vfio::basic_container<System>&& file,
                                               unsigned long type) noexcept {
    if (type == VFIO_TYPE1v2_IOMMU || type == VFIO_TYPE1_IOMMU)
      if (const errc e = file.iommu_info().error(); e != errc::ok) return e;
    auto made = adopt(static_cast<native::vfio::basic_container<System>&&>(file));
    if (made) made->state_->adopt_iommu(type);
    return made;
  }

  /// Returns the number of groups in the container.
  [[nodiscard]] int groups() const noexcept { return this->state_ ? this->state_->groups() : 0; }
  /// Returns true if the container has an IOMMU driver. It loses the driver when its last group
  /// leaves.
  [[nodiscard]] bool has_iommu() const noexcept {
    return this->state_ && this->state_->has_iommu();
  }
  /// Returns the first mapping that the container's IOMMU driver does not have. After an error of
  /// `group_in_container::set_iommu` in VFIO_IOMMU_MAP_DMA, this is the mapping that failed. Takes
  /// linear time.
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - `errc::noent`: the driver has every mapping, or the container has no driver
  [[nodiscard]] result<dma_mapping> refused() const noexcept {
    if (!this->state_) return errc::badf;
    return this->state_->refused();
  }
  /// Returns a view of the container's descriptor.
  [[nodiscard]] native::vfio::basic_container_ref<System> view() const noexcept {
    return this->state_ ? this->state_->container().borrow()
                        : native::vfio::basic_container_ref<System>();
  }
  /// Gives the descriptor to the caller, who must close it. Groups stay in the container, until
  /// their own objects undo that. Mappings stay in effect, and their objects no longer remove them.
  /// The function makes no call. This object is empty afterwards.
  [[nodiscard]] native::vfio::basic_container_ref<System> release() noexcept {
    const auto file = view();
    if (this->state_) this->state_->release();
    this->state_ = {};
    return file;
  }

 private:
  template <system>
  friend class group_file;
  template <system>
  friend class group_in_container;
  template <system>
  friend class group_with_iommu;
  template <system>
  friend class attached_group;
};

}  // namespace kvm_vfio::client
