// SPDX-License-Identifier: BSL-1.0
// Each request that native/ and client/ make has an operation, and each error that the simulator or
// the kernel's documentation names for it has an explanation.
#include "support/catch.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/explain.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace native = kvm_vfio::native;
using kvm_vfio::errc;
using native::operation;

namespace {
struct request {
  const char* number;  ///< as the source names it
  operation what;
  std::vector<int> errors;  ///< those of the file, without those of ioctl(2) itself
};

/// What every ioctl can answer: a bad descriptor, memory, kind of file, size of the struct.
constexpr int of_every_request[] = {EBADF, EFAULT, ENOTTY, EINVAL, ENOMEM, EINTR};

const std::vector<request> requests = {
    {"VFIO_GET_API_VERSION", operation::open_container, {ENOENT, ENODEV, EACCES, EMFILE, ENFILE}},
    {"KVM_GET_API_VERSION", operation::open_kvm, {ENOENT, ENODEV, ENXIO, EACCES, EPERM}},
    {"KVM_CREATE_VM", operation::create_vm, {EBUSY, EMFILE, ENFILE}},
    {"uapi::create_device", operation::create_device, {EBUSY, EIO, ENODEV, ENOSPC, EMFILE}},
    {"uapi::set_device_attr", operation::file_add, {EIO, EEXIST, ENXIO, EPERM}},
    {"uapi::set_device_attr", operation::file_del, {EIO, ENOENT, ENXIO, EPERM}},
    {"uapi::set_device_attr", operation::set_spapr_tce, {EIO, ENOENT, ENXIO, EPERM}},
    {"uapi::has_device_attr", operation::has_attribute, {EIO, ENXIO, EPERM}},
    {"uapi::check_extension", operation::check_extension, {}},
    {"uapi::irqfd", operation::set_irqfd, {EBUSY, EAGAIN, EIO, EOPNOTSUPP, EMFILE}},
    {"VFIO_CHECK_EXTENSION", operation::check_extension, {}},
    {"VFIO_SET_IOMMU", operation::set_iommu, {EBUSY, ENODEV, EPERM, ERANGE}},
    {"VFIO_GROUP_GET_STATUS", operation::get_group_status, {ENODEV}},
    {"VFIO_GROUP_SET_CONTAINER", operation::set_container, {EPERM, EBUSY, ENODEV, EBADFD, ERANGE}},
    {"VFIO_GROUP_UNSET_CONTAINER", operation::unset_container, {EBUSY, ENODEV}},
    {"VFIO_GROUP_GET_DEVICE_FD",
     operation::get_device,
     {ENODEV, EBUSY, EPERM, EACCES, EAGAIN, ESRCH, EIO, EMFILE, ENFILE}},
    {"VFIO_IOMMU_GET_INFO", operation::get_iommu_info, {}},
    {"VFIO_IOMMU_MAP_DMA",
     operation::map_dma,
     {EEXIST, ENOSPC, EOVERFLOW, ENOENT, EBUSY, EPERM, EAGAIN}},
    {"VFIO_IOMMU_UNMAP_DMA", operation::unmap_dma, {EOVERFLOW, EBUSY, ENOENT}},
    {"uapi::request_bind_iommufd",
     operation::bind_iommufd,
     {EBUSY, EPERM, ENODEV, EBADFD, ESRCH, EIO, ENOSPC}},
    {"uapi::request_attach_iommufd_pt",
     operation::attach_iommufd_pt,
     {ENOENT, EBUSY, EADDRINUSE, ENODEV, EMEDIUMTYPE, EOPNOTSUPP}},
    {"uapi::request_detach_iommufd_pt", operation::detach_iommufd_pt, {ENODEV}},
    {"uapi::request_ioas_alloc", operation::alloc_ioas, {EOPNOTSUPP, E2BIG, ENOSPC}},
    {"uapi::request_ioas_iova_ranges",
     operation::get_iova_ranges,
     {ENOENT, EMSGSIZE, EOPNOTSUPP, E2BIG}},
    {"uapi::request_ioas_map",
     operation::map_dma,
     {ENOENT, EEXIST, EOVERFLOW, ENOSPC, EOPNOTSUPP, E2BIG, EBUSY}},
    {"uapi::request_ioas_map_file",
     operation::map_dma,
     {ENOENT, EEXIST, EOVERFLOW, ENOSPC, EOPNOTSUPP, E2BIG, EBUSY}},
    {"uapi::request_ioas_unmap", operation::unmap_dma, {ENOENT, EOVERFLOW, EBUSY, EDEADLK, E2BIG}},
    {"uapi::request_destroy", operation::destroy_object, {EBUSY, ENOENT, E2BIG}},
    {"uapi::request_get_hw_info", operation::get_hw_info, {ENOENT, EOPNOTSUPP, E2BIG, EPROTO}},
    {"VFIO_DEVICE_GET_INFO", operation::get_device_info, {EIO}},
    {"VFIO_DEVICE_GET_REGION_INFO", operation::get_region_info, {EMSGSIZE, EPROTO, EIO}},
    {"VFIO_DEVICE_GET_IRQ_INFO", operation::get_irq_info, {EIO}},
    {"VFIO_DEVICE_SET_IRQS", operation::set_irqs, {ENOSPC, EBUSY, EIO}},
    {"VFIO_DEVICE_RESET", operation::reset_device, {EAGAIN, EIO}},
    {"VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", operation::get_hot_reset_info, {ENOSPC, ENODEV, EPROTO}},
    {"VFIO_DEVICE_PCI_HOT_RESET", operation::hot_reset, {ENODEV, EAGAIN, E2BIG}},
};

/// The second argument of each call of `ioctl`, or the first one of `request`, in a header. Only
/// names count that begin as the constants of the user-space interface do.
std::set<std::string> requests_in(const std::filesystem::path& header) {
  std::ifstream file(header);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::set<std::string> found;
  for (const std::string call : {"request(", "ioctl("}) {
    for (std::size_t at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) {
      std::size_t from = at + call.size();
      if (call == "ioctl(") {
        from = text.find(',', from);
        if (from == std::string::npos) break;
        ++from;
      }
      from = text.find_first_not_of(' ', from);
      const std::size_t to = text.find_first_of(",) ", from);
      const std::string name = text.substr(from, to - from);
      if (name.starts_with("VFIO_") || name.starts_with("KVM_") || name.starts_with("uapi::") ||
          name.starts_with("IOMMU_"))
        found.insert(name);
    }
  }
  return found;
}
}  // namespace

TEST_CASE("Each request of native/ and client/ is in the list of this test") {
  std::set<std::string> made;
  for (const char* const room : {"native", "client"})
    for (const auto& entry : std::filesystem::directory_iterator(
             std::filesystem::path(INCLUDE_DIRECTORY) / "kvm_vfio" / room))
      if (entry.path().extension() == ".hpp") made.merge(requests_in(entry.path()));
  std::set<std::string> listed;
  for (const request& r : requests) listed.insert(r.number);
  for (const std::string& name : made) {
    INFO(name);
    CHECK(listed.count(name) == 1);
  }
  for (const std::string& name : listed) {
    INFO(name);
    CHECK(made.count(name) == 1);
  }
}

TEST_CASE("Each error of each request has an explanation") {
  const std::string none = native::explain(operation::file_add, errc{12345});
  for (const request& r : requests) {
    std::vector<int> all = r.errors;
    all.insert(all.end(), std::begin(of_every_request), std::end(of_every_request));
    for (const int error : all) {
      const std::string text = native::explain(r.what, kvm_vfio::to_errc(error));
      INFO(r.number << ", error " << error << ": " << text);
      CHECK(text != none);
    }
  }
}

TEST_CASE("The texts of one operation differ, and each operation has a name of its own") {
  std::set<std::string> names;
  for (std::size_t i = 0; i < native::operation_count; ++i)
    names.insert(native::name(static_cast<operation>(i)));
  CHECK(names.size() == native::operation_count);
  for (const auto& one : native::detail::explanations)
    for (const auto& other : native::detail::explanations)
      if (&one != &other && one.what == other.what) {
        INFO(native::name(one.what) << ": " << one.text);
        CHECK(std::string(one.text) != other.text);
        CHECK(one.why != other.why);
      }
}
