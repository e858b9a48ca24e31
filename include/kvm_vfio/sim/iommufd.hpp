// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// iommufd: address spaces, page tables and bound devices by number; busy while in use. Bound
/// devices hold a reference on the open file, so that it outlives close(2).

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/ioas.hpp>
#include <kvm_vfio/sim/iommu_driver.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace kvm_vfio::sim {

/// What an iommufd's number names.
struct iommufd_object {
  /// What there is.
  enum class type : unsigned char { ioas, hwpt, device };
  /// Which of them it is.
  type kind = type::ioas;
  int users = 0;                            ///< DESTROY says busy
  ioas space{};                             ///< ioas
  iommufd_object* address_space = nullptr;  ///< hwpt: the ioas whose mappings it translates
  iommufd_object* attached_to = nullptr;    ///< device: an ioas, or a hwpt
  bool automatic = false;                   ///< hwpt: made by an attach, goes with the last
  domain pages{};                           ///< hwpt: its domain
  vfio_device* device = nullptr;            ///< device
};

/// An open /dev/iommu.
class iommufd_file final : public file {
 public:
  /// An iommufd without objects.
  explicit iommufd_file(vfio_state& state) noexcept;
  [[nodiscard]] const char* name() const noexcept override { return "/dev/iommu"; }

  /// \return fault · inval: the struct is too short · opnotsupp: a field is set that has no meaning
  ///         here · toobig: a longer struct, not zero behind its end · noent: no such object ·
  ///         busy: the object is in use · what the address space answers
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;

  // What a device file asks, with the world's lock held.

  /// VFIO_DEVICE_BIND_IOMMUFD: the device's number. \return perm: somebody else owns its DMA
  result<std::uint32_t> bind(vfio_device& device);
  /// The device is closed: detached, and its number free.
  void unbind(std::uint32_t id) noexcept;
  /// ATTACH_IOMMUFD_PT: to an address space, then through a page table of its own, or to a page
  /// table. Attaching again replaces.
  /// \param pt in: what to attach to; out: the page table
  /// \return noent · inval: neither, or the group's other devices are elsewhere · EADDRINUSE:
  ///         a mapping is where the device cannot be, or not aligned to its pages
  [[nodiscard]] errc attach(std::uint32_t id, std::uint32_t& pt);
  /// DETACH_IOMMUFD_PT; nothing happens if it is not attached.
  void detach(std::uint32_t id) noexcept;
  /// What its numbers name.
  [[nodiscard]] const std::map<std::uint32_t, iommufd_object>& objects() const noexcept;

 private:
  using type = iommufd_object::type;

  ~iommufd_file() override;

  /// Reads a struct whose first word is its size: at least `least` bytes, zeros past our end.
  template <class T>
  static errc read(process& task, std::uint64_t argument, T& object, std::size_t least) {
    std::uint32_t size = 0;
    if (!task.mem().read(argument, &size, sizeof size)) return errc::fault;
    if (size < least) return errc::inval;
    if (const errc e = detail::zeros(task, argument, sizeof object, size); e != errc::ok) return e;
    return task.mem().read(argument, &object, size < sizeof object ? size : sizeof object)
               ? errc::ok
               : errc::fault;
  }
  template <class T>
  static answer respond(process& task, std::uint64_t argument, const T& object) {
    const std::size_t size = object.size < sizeof object ? object.size : sizeof object;
    return detail::write_back(task, argument, object, size);
  }

  // The lowest free number from 1.
  std::uint32_t make(type kind);
  iommufd_object* find(std::uint32_t id) noexcept;
  iommufd_object* find(std::uint32_t id, type kind) noexcept;
  [[nodiscard]] std::uint32_t id_of(const iommufd_object& wanted) const noexcept;
  // The page table of a group's other attached devices.
  iommufd_object* table_of(const vfio_group& group, const iommufd_object* but) noexcept;
  iommufd_object& automatic_table(iommufd_object& space, const vfio_group& group);
  std::uint32_t make_table(iommufd_object& space, bool enforce, bool automatic);
  void drop_if_unused(iommufd_object& o) noexcept;
  static std::vector<iova_range> narrowed(const std::vector<iova_range>& ranges,
                                          const vfio_group& group);
  static std::uint64_t page_of(const vfio_group& group) noexcept;
  void update_ranges();

  answer destroy(process& task, std::uint64_t argument);
  answer alloc_ioas(process& task, std::uint64_t argument);
  answer get_ranges(process& task, std::uint64_t argument);
  answer map(process& task, std::uint64_t argument);
  answer unmap(process& task, std::uint64_t argument);
  answer alloc_hwpt(process& task, std::uint64_t argument);
  answer get_hw_info(process& task, std::uint64_t argument);

  vfio_state& state_;
  std::map<std::uint32_t, iommufd_object> objects_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/iommufd.hpp>
#endif
