// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The rules of the checker for the requests of groups, containers, iommufds and devices.

#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/report.hpp>
#include <kvm_vfio/trace/rules.hpp>
#include <kvm_vfio/trace/seen_files.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kvm_vfio::trace::detail {

/// The base of the checker: the reports, the files, and the rules for requests of VFIO files. Each
/// function checks one request, and then keeps what the request changed.
class request_rules {
 protected:
  request_rules() noexcept;
  ~request_rules();

  // A request of a group.
  void set_container(const call& c, seen_file* group);
  void unset_container(const call& c, seen_file& group);
  void got_device(const call& c, seen_file* group);
  // A request of a container or of an iommufd.
  void set_iommu(const call& c, seen_file& container);
  void mapped(const call& c, seen_file& in);
  // Tells of a MAP that was refused because of its address.
  void refused(const call& c, const seen_file& in);
  void unmapped(const call& c, seen_file& in);
  // Forgets the lost mappings that have a byte from `first` to `last`. Returns the number of the
  // call that removed one of them, or 0.
  static std::size_t erase_lost(seen_file& in, std::uint64_t first, std::uint64_t last);
  // Tells of a call that names an IOVA of a mapping that the container lost. Returns whether the
  // call does.
  bool names_lost(const call& c, seen_file& in);
  // A request of a device.
  void bound(const call& c, seen_file& device);
  void attached(const call& c, seen_file& device);
  void armed(const call& c, seen_file& device);
  // Tells of a device that the VMM uses or closes after the kvm-vfio that tracked it was closed.
  void without_vm(const call& c, file_id device);

  // Whether the call reached the driver's function that opens the device. A call that failed with
  // ESRCH reached the function, which found no VM.
  static bool opens(const call& c) noexcept;
  [[nodiscard]] bool has_vm() const noexcept;
  // Whether a file has no VM for certain, although there is a VM.
  [[nodiscard]] bool lacks_vm(const seen_file& f) const noexcept;
  void tell(rule r, const call& c, std::string about, std::string detail = {});
  // Keeps the answer of a request: the first failure, or, after a success, none.
  void keep(const call& c, seen_file& f, std::uint32_t request);
  // Tells that the VMM ignored the failure of an earlier request, if there was one. Returns whether
  // there was one.
  bool ignored(const call& c, seen_file* f, std::uint32_t request);

  std::size_t number_ = 0;
  seen_files files_;
  std::vector<report> reports_;
};

}  // namespace kvm_vfio::trace::detail

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/request_rules.hpp>
#endif
