// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An address space of an iommufd (an IOAS) that all device files of a VM share.

#include <kvm_vfio/client/dma_space.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/ioas.hpp>
#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <new>

namespace kvm_vfio::client {

/// An iommufd with one IOAS, which any number of devices share. When this object, every device in
/// the address space and every mapping are gone, the IOAS is destroyed and the iommufd closed.
/// Move-only.
template <system System = native::host>
class address_space : public dma_space<System> {
 public:
  address_space() = default;

  /// Opens an iommufd and makes an IOAS.
  /// \par Errors
  /// - `errc::noent`: the kernel has no iommufd
  /// - `errc::nomem`: no memory
  /// - each other error of open(2) and IOMMU_IOAS_ALLOC
  [[nodiscard]] static result<address_space> open(const System& on = native::detail::only<System>(),
                                                  const char* at = "/dev/iommu") noexcept {
    auto file = native::vfio::basic_iommufd_ref<System>::open(at, on);
    if (!file) return file.error();
    return adopt(static_cast<native::vfio::basic_iommufd<System>&&>(*file));
  }
  /// Takes over an iommufd, for example one that a management program passed, and makes an IOAS.
  /// \param file the iommufd. After an error `file` still owns the descriptor.
  /// \par Errors
  /// - `errc::nomem`: no memory
  /// - each other error of IOMMU_IOAS_ALLOC
  [[nodiscard]] static result<address_space> adopt(
      native::vfio::basic_iommufd<System>&& file) noexcept {
    const auto id = file.alloc_ioas();
    if (!id) return id.error();
    auto made = make(file, *id);
    if (!made) (void)file.destroy(*id);
    return made;
  }
  /// Takes over an iommufd and an IOAS of it, for example those that were made before execve(2).
  /// Adopt each device that is attached to the IOAS after it (`device::adopt`), and each mapping
  /// that this program will remove (`adopt_mapping`). One call asks whether the IOAS exists
  /// (IOMMU_IOAS_IOVA_RANGES).
  /// \param file the iommufd. After an error `file` still owns the descriptor.
  /// \param ioas the number of the IOAS, which is destroyed at the end
  /// \par Errors
  /// - `errc::noent`: the iommufd has no such IOAS
  /// - `errc::nomem`: no memory
  /// - each other error of `native::vfio::basic_ioas_ref::iova_ranges`
  [[nodiscard]] static result<address_space> adopt(native::vfio::basic_iommufd<System>&& file,
                                                   native::vfio::ioas_id ioas) noexcept {
    const native::vfio::basic_ioas_ref<System> asked(file, ioas);
    if (const errc e = asked.iova_ranges(nullptr, 0).error(); e != errc::ok) return e;
    return make(file, ioas);
  }

  /// Returns a view of the iommufd.
  [[nodiscard]] native::vfio::basic_iommufd_ref<System> view() const noexcept {
    return this->state_ ? this->state_->iommufd().borrow()
                        : native::vfio::basic_iommufd_ref<System>();
  }
  /// Returns the number of the IOAS.
  [[nodiscard]] native::vfio::ioas_id id() const noexcept {
    return this->state_ ? this->state_->ioas() : native::vfio::ioas_id{};
  }
  /// Gives the iommufd to the caller, who must close it. The IOAS is not destroyed. Devices stay in
  /// it, until their own objects undo that. Mappings stay in effect, and their objects no longer
  /// remove them. The function makes no call. This object is empty afterwards: ask for `id`
  /// before.
  [[nodiscard]] native::vfio::basic_iommufd_ref<System> release() noexcept {
    const auto file = view();
    if (this->state_) this->state_->release();
    this->state_ = {};
    return file;
  }

 private:
  template <system>
  friend class attached_device_file;
  template <system>
  friend class bound_device;
  template <system>
  friend class device;

  [[nodiscard]] static result<address_space> make(native::vfio::basic_iommufd<System>& file,
                                                  native::vfio::ioas_id id) noexcept {
    address_space made;
    made.state_ =
        typename address_space::state_ref(new (std::nothrow) typename address_space::state(
            static_cast<native::vfio::basic_iommufd<System>&&>(file), id));
    if (!made.state_) return errc::nomem;
    return made;
  }
};

}  // namespace kvm_vfio::client
