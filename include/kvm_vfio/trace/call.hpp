// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The record of a system call that observers get. It has the decoded arguments and the answer.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace kvm_vfio::trace {

/// The answer of a system call: a value or an error. The value is 0 if the call returns nothing
/// else.
using answer = result<std::int64_t>;

/// Makes an answer from an error code; `errc::ok` becomes the value 0.
[[nodiscard]] constexpr answer to_answer(errc e) noexcept {
  return e == errc::ok ? answer(0) : answer(e);
}

/// The kind of a system call.
enum class call_kind : unsigned char {
  open,     ///< open(2)
  close,    ///< close(2)
  dup,      ///< dup(2), or fcntl(2) with F_DUPFD
  ioctl,    ///< ioctl(2)
  pread,    ///< pread(2)
  pwrite,   ///< pwrite(2)
  eventfd,  ///< eventfd(2)
  read,     ///< read(2)
  write,    ///< write(2)
  mmap,     ///< mmap(2)
  munmap,   ///< munmap(2)
  exit,     ///< the end of the process; its descriptors and mappings still exist
  fork,     ///< fork(2): a child has copies of all descriptors and mappings of the process
  install,  ///< a file got a descriptor with a number that the caller chose, as by dup2(2)
};

/// The type of an open file, as far as observers need it.
enum class file_type : unsigned char {
  other,      ///< any other file
  container,  ///< /dev/vfio/vfio
  group,      ///< /dev/vfio/N
  device,     ///< /dev/vfio/devices/vfioN, or what VFIO_GROUP_GET_DEVICE_FD returns
  iommufd,    ///< /dev/iommu
  vm,         ///< what KVM_CREATE_VM returns
  kvm_vfio,   ///< what KVM_CREATE_DEVICE makes for the type KVM_DEV_TYPE_VFIO
};

/// A range of IOVAs.
struct iova_span {
  std::uint64_t first;  ///< the first address
  std::uint64_t last;   ///< the last address
};

/// One system call. A member that a call does not use keeps its default value.
struct call {
  /// The kind of the call.
  call_kind kind = call_kind::open;
  /// The number of the process that made the call. Simulated processes use the number of their
  /// address space.
  int process = 0;
  /// The number of the table of descriptors that the call used. Processes with equal numbers, for
  /// example of one address space, can have different tables. 0: the process has only one table.
  std::uint32_t table = 0;
  /// The descriptor that the call was made on. For a call of the kind `install`, it is another
  /// descriptor of the process for the file, or -1 if there is none. If `owner` is not 0, it is a
  /// descriptor of the process `owner` for the file.
  int fd = -1;
  /// The text argument: the path of open, or the name of the device for VFIO_GROUP_GET_DEVICE_FD.
  /// For a call of the kind `install`, it is the name of the file.
  std::string text{};
  /// The request of an ioctl, 32 bits.
  std::uint32_t request = 0;
  /// The argument of an ioctl as it was given (a number or an address). For pread, pwrite and mmap
  /// the offset in bytes. For munmap the address.
  std::uint64_t argument = 0;
  /// The attribute of kvm-vfio that KVM_SET_DEVICE_ATTR names: 1 is FILE_ADD, 2 is FILE_DEL and 3
  /// is GROUP_SET_SPAPR_TCE. 0 means that the call names none.
  std::uint64_t attribute = 0;
  /// The descriptor that the argument contains. FILE_ADD, FILE_DEL, VFIO_GROUP_SET_CONTAINER,
  /// VFIO_DEVICE_SET_IRQS (the first eventfd) and VFIO_DEVICE_BIND_IOMMUFD have one.
  int subject = -1;
  /// The descriptor that the call made. After a successful KVM_CREATE_DEVICE it is the `fd` of the
  /// struct, which a call with the TEST flag does not set.
  int made = -1;
  /// For fork the number of the child's table (`table`). Otherwise: the type of KVM_CREATE_DEVICE
  /// or VFIO_SET_IOMMU, the index of VFIO_DEVICE_SET_IRQS, the `pt_id` of
  /// VFIO_DEVICE_ATTACH_IOMMUFD_PT, or the number of the IOAS of IOMMU_IOAS_MAP, IOMMU_IOAS_UNMAP
  /// or IOMMU_IOAS_IOVA_RANGES.
  std::uint32_t number = 0;
  /// The flags of KVM_CREATE_DEVICE, VFIO_DEVICE_SET_IRQS, VFIO_IOMMU_MAP_DMA,
  /// VFIO_IOMMU_UNMAP_DMA or IOMMU_IOAS_MAP.
  std::uint32_t flags = 0;
  /// The number of interrupts that VFIO_DEVICE_SET_IRQS names.
  std::uint32_t count = 0;
  /// The error of the call; `errc::ok` if it succeeded.
  errc error = errc::ok;
  /// The value that the call returned, for mmap the address, for fork the number of the child; -1
  /// if the call failed.
  std::int64_t value = 0;
  /// The number of bytes that read, write, pread, pwrite, mmap or munmap was given. For
  /// VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, IOMMU_IOAS_MAP and IOMMU_IOAS_UNMAP, it is the size
  /// of the range in bytes.
  std::uint64_t size = 0;
  /// The first IOVA of the range of VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, IOMMU_IOAS_MAP or
  /// IOMMU_IOAS_UNMAP.
  std::uint64_t iova = 0;
  /// The number of bytes that VFIO_IOMMU_UNMAP_DMA or IOMMU_IOAS_UNMAP unmapped.
  std::uint64_t unmapped = 0;
  /// The ranges of IOVAs that VFIO_IOMMU_GET_INFO or IOMMU_IOAS_IOVA_RANGES named. Empty: the
  /// answer has none, or has more than 64.
  std::vector<iova_span> ranges{};
  /// The type of the file of a call of the kind `install`.
  file_type type = file_type::other;
  /// For a call of the kind `install`: the number of the process that the descriptor `fd` belongs
  /// to, if it is another one. A process that received a descriptor in a message got the file from
  /// there. 0: `fd` belongs to the process that made the call.
  int owner = 0;
};

/// The interface of an observer. The observer is called after each system call, in the thread that
/// made the call. Several threads may call the observer at the same time.
class call_observer {
 public:
  call_observer() = default;
  call_observer(const call_observer&) = delete;
  call_observer& operator=(const call_observer&) = delete;
  /// Tells the observer of a call.
  /// \param c the call with its answer
  virtual void called(const call& c) = 0;

 protected:
  ~call_observer() = default;
};

}  // namespace kvm_vfio::trace
