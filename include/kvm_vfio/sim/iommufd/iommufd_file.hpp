// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The open file of an iommufd, /dev/iommu. It has numbered objects: I/O address spaces, page
/// tables, bound devices and fault queues. A bound device holds a reference on the file, so the
/// file can outlive close(2). One of the address spaces can be the address space for VFIO: then the
/// file also answers as a VFIO container (vfio_requests.hpp).

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/mapped_file.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/iommufd/vfio_requests.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace kvm_vfio::sim {

/// A numbered object of an iommufd. Each member names the kinds of objects that use it.
struct iommufd_object {
  /// The kinds of objects: an I/O address space, a page table, a bound device, a fault queue.
  enum class type : unsigned char { ioas, hwpt, device, fault };
  /// The kind of the object.
  type kind = type::ioas;
  /// The number of users. IOMMU_DESTROY fails while it is not 0.
  int users = 0;
  /// ioas: the mappings.
  ioas space{};
  /// hwpt: the I/O address space whose mappings the page table translates.
  iommufd_object* address_space = nullptr;
  /// device: the ioas or the hwpt that the device is attached to. Null: none.
  iommufd_object* attached_to = nullptr;
  /// hwpt: whether an attach made the page table. Then it is deleted with the last detach.
  bool automatic = false;
  /// hwpt: the IOMMU whose page table it is.
  const iommu_spec* iommu = nullptr;
  /// hwpt: the queue that the faults of its devices go to. Null: none.
  iommufd_object* faults = nullptr;
  /// hwpt: the IOMMU domain.
  domain pages{};
  /// device: the group of the device.
  iommu_group* group = nullptr;
  /// device: the description of the device.
  const device_spec* device = nullptr;
};

class iommufd_file;  // NOLINT(cppcoreguidelines-virtual-class-destructor): it deletes itself

/// The state that all iommufds of one world share.
struct iommufd_shared {
  /// The world's lock, which guards the iommufds.
  mutex& lock;
  /// The settings of the world.
  const world_options& options;
  /// The Linux release that is simulated.
  const linux_release& release;
  /// The iommufds that exist, in the order of creation. The lock guards the list.
  std::vector<const iommufd_file*> files{};
  /// The number of memories that IOAS_COPY has shared between mappings (`dma_mapping::memory`).
  std::uint64_t copied = 0;
  /// Whether the kernel knows VFIO's no-IOMMU mode (CONFIG_VFIO_NOIOMMU).
  bool noiommu_mode = false;
  /// Returns the memory that containers have locked for an address space, in bytes. The first
  /// argument is `containers`.
  std::uint64_t (*locked_by_containers)(const void*, int address_space) noexcept = nullptr;
  /// The containers of the world.
  const void* containers = nullptr;
  /// Files that no mapping of an iommufd has any more. The lock guards the list.
  unmapped_files unmapped{};
  /// How many objects of `iommufd_guard` the thread has that holds the lock.
  int guards = 0;
};

/// Holds the world's lock while an iommufd may lose mappings, or its last reference. Files that no
/// mapping has any more are released after the lock, because their release may take a lock that
/// must be taken before it. If a thread has several such objects, the first of them does this.
class iommufd_guard {
 public:
  /// Takes the lock.
  explicit iommufd_guard(iommufd_shared& state) noexcept;
  iommufd_guard(const iommufd_guard&) = delete;
  iommufd_guard& operator=(const iommufd_guard&) = delete;
  /// Releases the lock, and then the files.
  ~iommufd_guard();

 private:
  unmapped_files unmapped_;  // destroyed after the lock is released
  iommufd_shared& state_;
  guard<mutex> held_;
};

/// Returns the memory that all iommufds of a world have locked. The caller holds the world's lock.
/// Takes time proportional to the number of mappings.
[[nodiscard]] locked_by_user locked_by_iommufds(const iommufd_shared& state);
/// Returns what counts when an iommufd locks memory: the memory that all iommufds of a world have
/// locked, and, for each process that is charged itself, what containers have locked for it.
/// Otherwise as `locked_by_iommufds`.
[[nodiscard]] locked_by_user locked_memory(const iommufd_shared& state);

/// The open file of an iommufd.
class iommufd_file final : public file {
 public:
  /// Makes an iommufd without objects. The caller holds the world's lock.
  explicit iommufd_file(iommufd_shared& state);
  [[nodiscard]] const char* name() const noexcept override { return "/dev/iommu"; }

  /// Refuses to be mapped. In Linux 7.3 the file has memory for the queues of virtual IOMMUs, but
  /// there are none.
  /// \par Errors
  /// - `errc::nxio`; before 7.3 `errc::nodev`
  result<void*> mmap(std::uint64_t size, int protection, std::uint64_t offset) override;
  /// Answers an ioctl of the iommufd. Takes the world's lock.
  /// \par Errors
  /// - `errc::notty`: the request is unknown
  /// - `errc::fault`: the struct, or memory that it points to, cannot be read or written
  /// - `errc::inval`: the struct is too short; IOAS_MAP: no access flag; IOAS_UNMAP: the length is
  ///   0; HWPT_ALLOC: `pt_id` names no address space and no page table, or a mapping allows no
  ///   access
  /// - `errc::toobig`: a longer struct than the kernel knows is not zero behind its known part
  /// - `errc::opnotsupp`: a member is set to a value that the kernel or the IOMMU does not support;
  ///   HWPT_ALLOC with data, for dirty tracking or as a parent; HWPT_SET_DIRTY_TRACKING,
  ///   HWPT_GET_DIRTY_BITMAP, VIOMMU_ALLOC, IOAS_NOIOMMU_GET_PA: always, if nothing else is wrong
  /// - `errc::noent`: there is no object with this number and of the kind that the request needs
  /// - `errc::fault`: IOAS_MAP, HWPT_ALLOC: a page table would have to translate a mapped BAR
  /// - `errc::inval`: IOAS_MAP_FILE, HWPT_ALLOC: a page table would have to translate memory that
  ///   is not in the file (`file::pinnable_bytes`); IOAS_CHANGE_PROCESS: there is a mapping of
  ///   memory that is not a file's
  /// - `errc::badf`: IOAS_MAP_FILE: the descriptor is not open, or was opened with O_PATH
  /// - `errc::mfile`: FAULT_QUEUE_ALLOC: the process has no free descriptor
  /// - `errc::nomem`: IOAS_CHANGE_PROCESS: the process may not lock that much memory; IOAS_MAP,
  ///   IOAS_MAP_FILE, HWPT_ALLOC: a page table would have to translate more memory than
  ///   the process may lock (`process::memory_lock_limit`)
  /// - `errc::busy`: DESTROY: the object is in use
  /// - `errc::addrinuse`: HWPT_ALLOC: the IOMMU cannot translate a mapping, or a mapping is not
  ///   aligned to its pages
  /// - `errc::overflow`: an address and a length wrap around; IOAS_MAP: the address of the memory
  ///   and the length do, or their sum is 0
  /// - `errc::msgsize`: IOAS_IOVA_RANGES: the array is too small for all ranges
  /// - `errc::nodev`: VFIO_IOAS with GET: there is no address space for VFIO
  /// - further errors: those of `ioas::map`, `ioas::find_free`, `ioas::unmap`, `copy_mappings` and
  ///   `vfio_request`
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;

  // A device file calls the next functions with the world's lock held.

  /// Binds a device (iommufd_device_bind) and claims the DMA of its group.
  /// \param group  the group of the device; must outlive the binding
  /// \param device the description of the device; must outlive the binding
  /// \return the number of the new object
  /// \par Errors
  /// - `errc::perm`: a driver of the host drives a device of the group, another owner has claimed
  ///   its DMA, or its interrupts are unsafe
  /// - `linux_release::direct_error`: the IOMMU of the group has a region of the type `direct`
  result<std::uint32_t> bind(iommu_group& group, const device_spec& device);
  /// Detaches a device and deletes its object, when the device is closed.
  void unbind(std::uint32_t id) noexcept;
  /// Attaches a device to an address space or to a page table (VFIO_DEVICE_ATTACH_IOMMUFD_PT). For
  /// an address space, iommufd finds or makes a page table; a mediated device gets none. If the
  /// device is attached already, the new attachment replaces the old one, also that of the other
  /// attached devices of the group (iommufd_device_do_replace).
  /// \param id the number of the device
  /// \param pt before the call the number of the address space or page table, after it the number
  ///           of the object that the device is attached to
  /// \par Errors
  /// - `errc::noent`: there is no object with the number `pt`; or the device is a mediated device,
  ///   and the object is no address space
  /// - `errc::inval`: the object is a device; or the device is not attached yet, and another device
  ///   of the group is attached to another object, or to a page table that HWPT_ALLOC has made for
  ///   this address space
  /// - `errc::nodev`: the page table has a fault queue, and the device cannot report faults
  /// - `errc::addrinuse`: a mapping is at an address that the device cannot use, or is not aligned
  ///   to the pages of its IOMMU
  /// - `errc::fault`, `errc::inval`: the device needs a new page table, and this error of
  ///   `ioas::check_translation` prevents it
  /// - `errc::nomem`: the device needs the first page table of the address space, and the memory of
  ///   the mappings is more than their process may lock
  [[nodiscard]] errc attach(std::uint32_t id, std::uint32_t& pt);
  /// Detaches a device (VFIO_DEVICE_DETACH_IOMMUFD_PT). Does nothing if the device is not attached.
  void detach(std::uint32_t id) noexcept;
  /// Removes the mappings of all address spaces. The caller has an `iommufd_guard`.
  /// \param of_kvm whether only mappings of files of KVM are removed
  void unmap_all(bool of_kvm) noexcept;
  /// Tells that the file of a fault queue is released. Takes the world's lock.
  void fault_queue_closed(std::uint32_t id) noexcept;
  /// Makes an address space for VFIO, if there is none (VFIO_GROUP_SET_CONTAINER with an iommufd).
  /// \par Errors
  /// - `errc::inval`: a group without an IOMMU uses the iommufd, or has used it
  [[nodiscard]] errc make_vfio_ioas() {
    if (no_iommu_) return errc::inval;
    if (vfio_ioas_ == 0) vfio_ioas_ = make(type::ioas);
    return errc::ok;
  }
  /// Lets a group without an IOMMU use the iommufd (iommufd_vfio_compat_set_no_iommu). From then on
  /// only such groups can use the iommufd.
  /// \par Errors
  /// - `errc::inval`: the iommufd has an address space for VFIO
  [[nodiscard]] errc use_no_iommu() noexcept {
    if (vfio_ioas_ != 0) return errc::inval;
    no_iommu_ = true;
    return errc::ok;
  }
  /// The number of the address space for VFIO (IOMMU_VFIO_IOAS). 0: there is none.
  [[nodiscard]] std::uint32_t vfio_ioas() const noexcept { return vfio_ioas_; }
  /// The objects by their numbers.
  [[nodiscard]] const std::map<std::uint32_t, iommufd_object>& objects() const noexcept {
    return objects_;
  }

 private:
  using type = iommufd_object::type;

  ~iommufd_file() override;

  /// Reads a struct whose first member is its size, as copy_struct_from_user does.
  /// \par Errors
  /// - `errc::fault`: the struct cannot be read
  /// - `errc::inval`: the size is less than `least`
  /// - `errc::toobig`: the struct is longer than `T` and not zero behind it
  template <class T>
  static errc read_struct(process& task, std::uint64_t argument, T& object, std::size_t least) {
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

  // Makes an object with the lowest free number, counted from 1.
  std::uint32_t make(type kind);
  iommufd_object* find(std::uint32_t id) noexcept;
  iommufd_object* find(std::uint32_t id, type kind) noexcept;
  [[nodiscard]] std::uint32_t id_of(const iommufd_object& wanted) const noexcept;
  // The page table that the devices of a group are attached to, except the device `but`.
  iommufd_object* table_of(const iommu_group& group, const iommufd_object* but) noexcept;
  // The page table that an attach of the group uses. Null: it does not exist yet.
  iommufd_object* automatic_table(const iommufd_object& space, const iommu_group& group) noexcept;
  // Checks that a page table of an IOMMU can translate all mappings of an address space.
  [[nodiscard]] errc check_table(const ioas& space, const iommu_spec& iommu) const;
  std::uint32_t make_table(iommufd_object& space, const iommu_group& group);
  void drop_if_unused(iommufd_object& o) noexcept;
  // Notes that devices or page tables have changed. The addresses that the address spaces allow are
  // computed later, because this needs memory, and a device must be able to leave without memory.
  void changed() noexcept;
  // Computes these addresses, if something has changed. Throws std::bad_alloc.
  void update_ranges();

  // Answers the requests for page tables, dirty pages, faults and virtual IOMMUs.
  answer table_request(process& task, std::uint32_t request, std::uint64_t argument);
  answer destroy(process& task, std::uint64_t argument);
  answer alloc_ioas(process& task, std::uint64_t argument);
  answer get_ranges(process& task, std::uint64_t argument);
  // Makes a mapping at `iova`, or at an address that is chosen and stored there, as its flags say.
  // Errors: those of `ioas::find_free` and of `map_for`.
  [[nodiscard]] errc map_at(process& task, ioas& to, dma_mapping m, std::uint64_t& iova);
  answer map(process& task, std::uint64_t argument);
  answer map_file(process& task, std::uint64_t argument);
  answer change_process(process& task, std::uint64_t argument);
  answer unmap(process& task, std::uint64_t argument);
  answer allow_iovas(process& task, std::uint64_t argument);
  answer option(process& task, std::uint64_t argument);
  answer copy(process& task, std::uint64_t argument);
  answer alloc_hwpt(process& task, std::uint64_t argument);
  // Whether a page table for an address space can have the flags and the data of a HWPT_ALLOC.
  [[nodiscard]] bool can_have(const iommu_group& group, std::uint32_t flags,
                              std::uint32_t data) const noexcept;
  // The error of a HWPT_ALLOC of a nested page table: no page table can be its parent.
  [[nodiscard]] errc refuse_nested(const iommu_group& group, std::uint32_t flags,
                                   std::uint32_t data) const noexcept;
  answer set_dirty_tracking(process& task, std::uint64_t argument);
  answer get_dirty_bitmap(process& task, std::uint64_t argument);
  answer invalidate(process& task, std::uint64_t argument);
  // Takes the world's lock itself, because the new descriptor may have to be closed again.
  answer alloc_fault_queue(process& task, std::uint64_t argument);
  answer alloc_viommu(process& task, std::uint64_t argument);
  static answer alloc_of_viommu(process& task, std::uint32_t request, std::uint64_t argument);
  static answer get_physical(process& task, std::uint64_t argument);
  answer get_hw_info(process& task, std::uint64_t argument);
  answer set_vfio_ioas(process& task, std::uint64_t argument);
  [[nodiscard]] vfio_space space_for_vfio(process& task);
  // How many bytes can still be locked, if the account is limited.
  [[nodiscard]] std::uint64_t room(const memory_account& account, bool charges_process) const;
  [[nodiscard]] std::uint64_t room(process& task) const;

  iommufd_shared& state_;
  std::map<std::uint32_t, iommufd_object> objects_;
  std::uint32_t vfio_ioas_ = 0;
  bool old_ranges_ = false;
  bool charges_process_ = false;  // IOMMU_OPTION_RLIMIT_MODE
  bool no_iommu_ = false;         // a group without an IOMMU uses the iommufd, or has used it
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommufd/impl/iommufd_file.hpp>
#include <kvm_vfio/sim/iommufd/impl/requests.hpp>
#include <kvm_vfio/sim/iommufd/impl/table_requests.hpp>
#endif
