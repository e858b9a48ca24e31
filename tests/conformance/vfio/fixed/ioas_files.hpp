// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Memory of files that an iommufd maps, and the process that is charged for it.

#include "containers.hpp"
#include "recorder.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/memory_file.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// A handle of a simulated process that can make files in memory.
class simulated : public kvm_vfio::sim::process_ref {
 public:
  simulated() = default;
  explicit simulated(kvm_vfio::sim::process& task) noexcept
      : kvm_vfio::sim::process_ref(task), task_(&task) {}
  [[nodiscard]] kvm_vfio::sim::process& task() const noexcept { return *task_; }

 private:
  kvm_vfio::sim::process* task_ = nullptr;
};

/// Makes a file in memory with a size in bytes. \return its descriptor
inline kvm_vfio::result<int> make_memory_file(const simulated& sys, std::uint64_t size) {
  const auto fd = sys.task().insert(kvm_vfio::sim::file_ref(new kvm_vfio::sim::memory_file(size)));
  if (!fd) return fd.error();
  return static_cast<int>(*fd);
}
inline kvm_vfio::result<int> make_memory_file(const kvm_vfio::native::host&, std::uint64_t size) {
  const int fd = ::memfd_create("", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) return kvm_vfio::to_errc(errno);
  return fd;
}

/// Makes IOMMU_IOAS_MAP_FILE and IOMMU_IOAS_CHANGE_PROCESS, before and after a device is attached.
template <class System>
class ioas_files {
 public:
  ioas_files(recorder<System>& on, const machine& m, const dma_memory& memory)
      : on_(on), page_(m.page), memory_(memory) {}

  void run(const target& t) {
    fd_ = on_.open("iommufd", "/dev/iommu");
    ioas_ = on_.alloc_ioas(fd_);
    file_ = on_.take("file in memory", make_memory_file(on_.sys(), in_file * page_));
    short_ = on_.take("short file", make_memory_file(on_.sys(), 4 * page_ - 1));
    event_ = on_.eventfd();
    path_ = on_.take("path", on_.sys().open("/dev/vfio/vfio", O_PATH));
    use("without a page table");
    wrong_structs();
    unmap_all();
    const int device = on_.open("device file", t.cdev);
    const std::uint32_t id = on_.bind(device, fd_);
    // ATTACH looks at the files of the mappings.
    map("behind the end", file_, in_file * page_, page_);
    on_.attach(device, ioas_);
    unmap_all();
    map("no memory", event_, 0, page_);
    on_.attach(device, ioas_);
    unmap_all();
    map("two pages", file_, 0, 2 * page_);
    on_.attach(device, ioas_);
    unmap_all();
    use("with a page table");
    keep_closed();
    further_table(id);
    change_process();
    on_.close_all();
    charged_process();
    on_.close_all();
  }

 private:
  using request = kvm_vfio::uapi::iommu_ioas_map_file;
  static constexpr std::uint64_t in_file = 16;

  void use(const std::string& when) {
    on_.say(when, kvm_vfio::errc::ok);
    map("two pages", file_, page_, 2 * page_);
    map("there already", file_, page_, 2 * page_);
    unmap(page_);
    unmap(2 * page_);
    map("all", file_, 0, in_file * page_);
    unmap(in_file * page_);
    map("one more", file_, 0, (in_file + 1) * page_);
    map("the last", file_, (in_file - 1) * page_, page_);
    map("behind the end", file_, in_file * page_, page_);
    unmap_all();
    map("up to a part of a page", short_, 0, 4 * page_);
    map("the whole pages", short_, 0, 3 * page_);
    unmap_all();
    map("an eventfd", event_, 0, page_);
    map("an iommufd", fd_, 0, page_);
    map("a path", path_, 0, page_);
    unmap_all();
    map("a part of a page", file_, 0x10, 0x20);
    map("a negative offset", file_, ~std::uint64_t{0} - 2 * page_ + 1, page_);
    unmap_all();
    for (const std::uint64_t start : {page_, std::uint64_t{0}, 2 * page_, 3 * page_})
      for (const std::uint64_t pages : {1U, 2U, 4U}) map("chosen", file_, start, pages * page_, 0);
    map("chosen, one more", file_, 0, (in_file + 1) * page_, 0);
    copy(first_iova, page_, kvm_vfio::uapi::map_readable);
    unmap_all();
    map("to read", file_, 0, 2 * page_, first_iova, kvm_vfio::uapi::map_readable);
    copy(first_iova + page_, page_, kvm_vfio::uapi::map_readable);
    copy(first_iova, page_, kvm_vfio::uapi::map_writeable);
    unmap_all();
  }
  // Each mistake stays until a later line makes an earlier check fail.
  void wrong_structs() {
    const std::uint64_t last = ~std::uint64_t{0};
    request c = make(file_, 0, page_, 0xfee00000);
    made("a good struct", c);
    c.length = last - 1;
    made("nearly the largest length", c);
    c.fd = 1 << 20;
    made("a descriptor that is not open", c);
    c.fd = -1;
    made("a negative descriptor", c);
    c.start = last - page_ + 2;
    c.length = page_;
    made("offset and length wrap around", c);
    c.length = 0;
    made("length 0", c);
    c.ioas_id = 99;
    made("no address space", c);
    c.flags = kvm_vfio::uapi::map_fixed_iova;
    made("no access", c);
    c.length = last;
    made("the last number as the length", c);
    c.length = page_;
    c.iova = last;
    made("the last number as the address", c);
    c.flags = 8;
    made("an unknown flag", c);
    for (const std::uint32_t size : {0U, 4U, 39U}) {
      c.size = size;
      made("a short struct", c);
    }
    for (const std::uint32_t rest : {0U, 1U}) {
      struct {
        request c;
        std::uint64_t rest;
      } longer{make(file_, 0, page_, 0x900000), rest};
      longer.c.size = sizeof longer;
      on_.ioctl_at("MAP_FILE, a longer struct", fd_, kvm_vfio::uapi::request_ioas_map_file, longer);
    }
    on_.ioctl("MAP_FILE without a struct", fd_, kvm_vfio::uapi::request_ioas_map_file, 0);
  }
  // A mapping keeps the memory of a file that is closed.
  void keep_closed() {
    const int fd = on_.take("file in memory", make_memory_file(on_.sys(), 4 * page_));
    map("of a file that is closed then", fd, 0, 4 * page_);
    on_.close("file", fd);
    copy(first_iova, 2 * page_, kvm_vfio::uapi::map_readable);
    unmap(4 * page_);
    unmap_all();
    map("a closed descriptor", fd, 0, page_);
  }
  // A further page table looks at the memory that is mapped, but not at its files.
  void further_table(std::uint32_t device) {
    map("for two page tables", file_, 0, 2 * page_);
    kvm_vfio::uapi::iommu_hwpt_alloc c{};
    c.size = sizeof c;
    c.dev_id = device;
    c.pt_id = ioas_;
    on_.ioctl_at("HWPT_ALLOC", fd_, kvm_vfio::uapi::request_hwpt_alloc, c);
    unmap_all();
  }
  // Not the user, but the process is charged for the memory.
  void charged_process() {
    namespace u = kvm_vfio::uapi;
    fd_ = on_.open("iommufd", "/dev/iommu");
    u::iommu_option c{};
    c.size = sizeof c;
    c.option_id = u::option_rlimit_mode;
    c.op = u::option_set;
    c.val64 = 1;
    on_.ioctl_at("OPTION", fd_, u::request_option, c);
    ioas_ = on_.alloc_ioas(fd_);
    file_ = on_.take("file in memory", make_memory_file(on_.sys(), in_file * page_));
    map("of a file", file_, 0, 2 * page_);
    change("the process itself", {sizeof(u::iommu_ioas_change_process), 0});
    unmap_all();
  }
  void change_process() {
    namespace u = kvm_vfio::uapi;
    change("no mappings", {sizeof(u::iommu_ioas_change_process), 0});
    map("of a file", file_, 0, 2 * page_);
    change("mappings of a file", {sizeof(u::iommu_ioas_change_process), 0});
    change("a reserved member", {sizeof(u::iommu_ioas_change_process), 1});
    change("a short struct", {4, 0});
    u::iommu_ioas_map m{};
    m.size = sizeof m;
    m.flags = u::map_readable;
    m.ioas_id = on_.alloc_ioas(fd_);
    m.user_va = memory_.there;
    m.length = page_;
    on_.ioctl_at("IOAS_MAP", fd_, u::request_ioas_map, m);
    change("other memory", {sizeof(u::iommu_ioas_change_process), 0});
  }

  [[nodiscard]] request make(int file, std::uint64_t start, std::uint64_t length,
                             std::uint64_t iova) const {
    request c{};
    c.size = sizeof c;
    c.flags = kvm_vfio::uapi::map_readable | kvm_vfio::uapi::map_writeable |
              (iova != 0 ? kvm_vfio::uapi::map_fixed_iova : 0);
    c.ioas_id = ioas_;
    c.fd = file;
    c.start = start;
    c.length = length;
    c.iova = iova;
    return c;
  }
  void made(const std::string& what, request c) {
    if (on_.ioctl_at("MAP_FILE, " + what, fd_, kvm_vfio::uapi::request_ioas_map_file, c))
      on_.say("address", kvm_vfio::errc::ok, c.iova);
  }
  /// \param iova the address; 0: iommufd chooses one
  /// \param access which access is allowed; 0: each
  void map(const std::string& what, int file, std::uint64_t start, std::uint64_t length,
           std::uint64_t iova = first_iova, std::uint32_t access = 0) {
    request c = make(file, start, length, iova);
    if (access != 0) c.flags = access | kvm_vfio::uapi::map_fixed_iova;
    made(what, c);
  }
  void unmap(std::uint64_t length, std::uint64_t iova = first_iova) {
    kvm_vfio::uapi::iommu_ioas_unmap c{};
    c.size = sizeof c;
    c.ioas_id = ioas_;
    c.iova = iova;
    c.length = length;
    on_.ioctl_at("IOAS_UNMAP", fd_, kvm_vfio::uapi::request_ioas_unmap, c);
    on_.say("length", kvm_vfio::errc::ok, c.length);
  }
  void unmap_all() { unmap(~std::uint64_t{0}, 0); }
  void copy(std::uint64_t from, std::uint64_t length, std::uint32_t access) {
    kvm_vfio::uapi::iommu_ioas_copy c{};
    c.size = sizeof c;
    c.flags = access | kvm_vfio::uapi::map_fixed_iova;
    c.dst_ioas_id = c.src_ioas_id = ioas_;
    c.length = length;
    c.src_iova = from;
    c.dst_iova = 0x800000;
    on_.ioctl_at("IOAS_COPY", fd_, kvm_vfio::uapi::request_ioas_copy, c);
  }
  void change(const std::string& what, kvm_vfio::uapi::iommu_ioas_change_process c) {
    on_.ioctl_at("CHANGE_PROCESS, " + what, fd_, kvm_vfio::uapi::request_ioas_change_process, c);
  }

  recorder<System>& on_;
  const std::uint64_t page_;
  const dma_memory& memory_;
  int fd_ = -1;
  int file_ = -1;
  int short_ = -1;
  int event_ = -1;
  int path_ = -1;
  std::uint32_t ioas_ = 0;
};

}  // namespace vfio_lockstep::fixed
