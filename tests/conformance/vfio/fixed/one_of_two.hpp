// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The calls of one of two processes. Each answer becomes a line.

#include "../real_pair.hpp"
#include "recorder.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep::fixed {

/// One of two processes that share descriptors. Copies refer to the same process.
template <class System>
class one_of_two {
  using errc = kvm_vfio::errc;
  template <class T>
  using result = kvm_vfio::result<T>;

 public:
  static constexpr std::size_t most = 4096;  ///< bytes of an argument

  /// \param on     where the lines go
  /// \param sys    the process
  /// \param who    the name of the process
  /// \param shared memory that both processes have, for arguments; `more` bytes in it are free
  one_of_two(recorder<System>& on, const System& sys, std::string who, const shared_memory& shared)
      : on_(&on), sys_(sys), who_(std::move(who)), shared_(&shared) {}

  [[nodiscard]] const System& sys() const noexcept { return sys_; }
  /// Memory that both processes have, behind the arguments.
  [[nodiscard]] unsigned char* more() const noexcept { return shared_->at(most); }

  template <class... Answer>
  void say(const std::string& what, const Answer&... answer) {
    on_->say(who_ + " " + what, answer...);
  }

  int open(const std::string& what, const std::string& path) {
    return made("open " + what, sys_.open(path.c_str(), O_RDWR));
  }
  int eventfd() { return made("eventfd", sys_.eventfd()); }
  int dup(int fd) { return made("dup", sys_.dup(fd)); }
  int receive() { return made("receives", sys_.receive()); }
  int memory_file(std::uint64_t size) { return made("file in memory", sys_.memory_file(size)); }
  /// Takes a descriptor that another call made. \return the descriptor; -1: an error
  int made(const std::string& what, const result<int>& fd) {
    say(what, fd.error());
    if (fd) fds_.push_back(*fd);
    return fd ? *fd : -1;
  }
  /// Takes copies of descriptors that fork(2) made.
  void inherit(const one_of_two& parent) { fds_ = parent.fds_; }
  void send(const std::string& what, int fd) { say("sends " + what, sys_.send(fd)); }
  void close(const std::string& what, int fd) {
    say("closes " + what, sys_.close(fd));
    if (const auto at = std::find(fds_.begin(), fds_.end(), fd); at != fds_.end()) fds_.erase(at);
  }
  void close_all() {
    while (!fds_.empty()) {
      (void)sys_.close(fds_.back());
      fds_.pop_back();
    }
  }

  /// Makes an ioctl whose argument is a number.
  bool ioctl(const std::string& what, int fd, unsigned long request, std::uintptr_t argument = 0) {
    const auto answer = sys_.ioctl(fd, request, argument);
    say(what, answer);
    return static_cast<bool>(answer);
  }
  /// Makes an ioctl whose argument is an object. The object gets what the call wrote.
  template <class T>
  bool ioctl_at(const std::string& what, int fd, unsigned long request, T& argument) {
    return with(argument, [&](std::uintptr_t at) { return ioctl(what, fd, request, at); });
  }
  /// Makes an ioctl that answers with a new descriptor. \return the descriptor; -1: an error
  int make(const std::string& what, int fd, unsigned long request, std::uintptr_t argument = 0) {
    return made(what, sys_.ioctl(fd, request, argument));
  }

  // VFIO.

  void set_container(int group, int container) {
    std::int32_t fd = container;
    ioctl_at("SET_CONTAINER", group, VFIO_GROUP_SET_CONTAINER, fd);
  }
  void unset_container(int group) { ioctl("UNSET_CONTAINER", group, VFIO_GROUP_UNSET_CONTAINER); }
  void set_iommu(int container) {
    ioctl("SET_IOMMU", container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
  }
  void status(int group) {
    vfio_group_status s{.argsz = sizeof s, .flags = 0};
    ioctl_at("GET_STATUS", group, VFIO_GROUP_GET_STATUS, s);
    say("flags", errc::ok, s.flags);
  }
  int get_device(int group, const std::string& device) {
    char name[64] = {};
    device.copy(name, sizeof name - 1);
    return with(name, [&](std::uintptr_t at) {
      return make("GET_DEVICE_FD", group, VFIO_GROUP_GET_DEVICE_FD, at);
    });
  }
  /// Opens a group and a container with the IOMMU, and gets the device.
  opened_device open_device(const target& t) {
    opened_device o;
    o.group = open("group", t.group);
    o.container = open("container", "/dev/vfio/vfio");
    set_container(o.group, o.container);
    set_iommu(o.container);
    o.device = get_device(o.group, t.device);
    return o;
  }
  void map_dma(const std::string& what, int container, std::uint64_t iova, std::uint64_t address,
               std::uint64_t size, std::uint32_t flags = 3) {
    vfio_iommu_type1_dma_map m{
        .argsz = sizeof m, .flags = flags, .vaddr = address, .iova = iova, .size = size};
    ioctl_at("MAP_DMA " + what, container, VFIO_IOMMU_MAP_DMA, m);
  }
  void unmap_dma(const std::string& what, int container, std::uint64_t iova, std::uint64_t size,
                 std::uint32_t flags = 0) {
    std::uint64_t u[] = {24 | std::uint64_t{flags} << 32, iova, size};
    ioctl_at("UNMAP_DMA " + what, container, VFIO_IOMMU_UNMAP_DMA, u);
    say("unmapped", errc::ok, u[2]);
  }
  /// Maps the first page of the first BAR that allows it. Null: there is no such BAR.
  void* map_bar(const target& t, int device, std::uint64_t page) {
    for (std::size_t i = 0; i < t.pci.bars.size() && i < 6; ++i) {
      if (t.pci.bars[i].size < page || t.pci.bars[i].io) continue;
      const auto at = sys_.mmap(static_cast<std::size_t>(page), PROT_READ | PROT_WRITE, device,
                                std::uint64_t{i} << 40);
      say("mmap", at.error());
      return at ? *at : nullptr;
    }
    return nullptr;
  }
  void unmap_bar(void* at, std::uint64_t page) {
    say("munmap", sys_.munmap(at, static_cast<std::size_t>(page)));
  }
  /// VFIO_DEVICE_SET_IRQS with an eventfd, without data or with none left.
  void set_irq(const std::string& what, int device, std::uint32_t index, std::uint32_t flags,
               std::uint32_t count, std::int32_t event = -1) {
    const bool with_event = (flags & VFIO_IRQ_SET_DATA_EVENTFD) != 0;
    std::uint32_t s[] = {with_event ? 24U : 20U,           flags, index, 0, count,
                         static_cast<std::uint32_t>(event)};
    ioctl_at("SET_IRQS " + what, device, VFIO_DEVICE_SET_IRQS, s);
  }
  void signals(int event) {
    std::memset(more(), 0, 8);
    const auto read = sys_.read(event, more(), 8);
    std::uint64_t n = 0;
    std::memcpy(&n, more(), sizeof n);
    say("signals", read.error(), n);
  }

  // KVM.

  int create_kvm_vfio(int vm, std::uint32_t flags = 0) {
    kvm_create_device c{.type = KVM_DEV_TYPE_VFIO, .fd = 0, .flags = flags};
    const bool good = ioctl_at("CREATE_DEVICE", vm, KVM_CREATE_DEVICE, c);
    return good && flags == 0 ? fds_.emplace_back(static_cast<int>(c.fd)) : -1;
  }
  /// \param request for example KVM_SET_DEVICE_ATTR
  /// \param attr    for example KVM_DEV_VFIO_FILE_ADD
  void attribute(const std::string& what, int tracker, unsigned long request, std::uint64_t attr,
                 std::int32_t fd) {
    std::memcpy(more(), &fd, sizeof fd);
    kvm_device_attr a{.flags = 0,
                      .group = kvm_vfio::uapi::dev_vfio_file,
                      .attr = attr,
                      .addr = reinterpret_cast<std::uintptr_t>(more())};
    ioctl_at(what, tracker, request, a);
  }
  void add(const std::string& what, int tracker, int fd) {
    attribute("FILE_ADD " + what, tracker, KVM_SET_DEVICE_ATTR, kvm_vfio::uapi::dev_vfio_file_add,
              fd);
  }
  void del(const std::string& what, int tracker, int fd) {
    attribute("FILE_DEL " + what, tracker, KVM_SET_DEVICE_ATTR, kvm_vfio::uapi::dev_vfio_file_del,
              fd);
  }

  // iommufd.

  std::uint32_t bind(const std::string& what, int device, int iommufd) {
    kvm_vfio::uapi::device_bind_iommufd b{};
    b.argsz = sizeof b;
    b.iommufd = iommufd;
    ioctl_at("BIND_IOMMUFD " + what, device, kvm_vfio::uapi::request_bind_iommufd, b);
    return b.out_devid;
  }
  std::uint32_t alloc_ioas(int iommufd) {
    kvm_vfio::uapi::iommu_ioas_alloc a{.size = sizeof a, .flags = 0, .out_ioas_id = 0};
    ioctl_at("IOAS_ALLOC", iommufd, kvm_vfio::uapi::request_ioas_alloc, a);
    say("number", errc::ok, a.out_ioas_id);
    return a.out_ioas_id;
  }
  void attach(const std::string& what, int device, std::uint32_t to) {
    kvm_vfio::uapi::device_attach_iommufd_pt a{.argsz = sizeof a, .flags = 0, .pt_id = to};
    ioctl_at("ATTACH " + what, device, kvm_vfio::uapi::request_attach_iommufd_pt, a);
  }
  void detach(const std::string& what, int device) {
    kvm_vfio::uapi::device_detach_iommufd_pt d{.argsz = sizeof d, .flags = 0};
    ioctl_at("DETACH " + what, device, kvm_vfio::uapi::request_detach_iommufd_pt, d);
  }
  void map(const std::string& what, int iommufd, std::uint32_t ioas, std::uint64_t iova,
           std::uint64_t address, std::uint64_t size) {
    kvm_vfio::uapi::iommu_ioas_map m{};
    m.size = sizeof m;
    m.flags = 7;
    m.ioas_id = ioas;
    m.user_va = address;
    m.length = size;
    m.iova = iova;
    ioctl_at("IOAS_MAP " + what, iommufd, kvm_vfio::uapi::request_ioas_map, m);
  }
  void map_file(const std::string& what, int iommufd, std::uint32_t ioas, std::uint64_t iova,
                int file, std::uint64_t start, std::uint64_t size) {
    kvm_vfio::uapi::iommu_ioas_map_file m{};
    m.size = sizeof m;
    m.flags = 7;
    m.ioas_id = ioas;
    m.fd = file;
    m.start = start;
    m.length = size;
    m.iova = iova;
    ioctl_at("IOAS_MAP_FILE " + what, iommufd, kvm_vfio::uapi::request_ioas_map_file, m);
  }
  void unmap(const std::string& what, int iommufd, std::uint32_t ioas, std::uint64_t iova,
             std::uint64_t size) {
    kvm_vfio::uapi::iommu_ioas_unmap u{};
    u.size = sizeof u;
    u.ioas_id = ioas;
    u.iova = iova;
    u.length = size;
    ioctl_at("IOAS_UNMAP " + what, iommufd, kvm_vfio::uapi::request_ioas_unmap, u);
    say("unmapped", errc::ok, u.length);
  }
  void copy(const std::string& what, int iommufd, std::uint32_t from, std::uint64_t iova,
            std::uint64_t size, std::uint32_t to, std::uint64_t new_iova) {
    kvm_vfio::uapi::iommu_ioas_copy c{};
    c.size = sizeof c;
    c.flags = 7;
    c.dst_ioas_id = to;
    c.src_ioas_id = from;
    c.length = size;
    c.dst_iova = new_iova;
    c.src_iova = iova;
    ioctl_at("IOAS_COPY " + what, iommufd, kvm_vfio::uapi::request_ioas_copy, c);
  }
  void change_process(const std::string& what, int iommufd) {
    kvm_vfio::uapi::iommu_ioas_change_process c{};
    c.size = sizeof c;
    ioctl_at("CHANGE_PROCESS " + what, iommufd, kvm_vfio::uapi::request_ioas_change_process, c);
  }
  void charge_process(int iommufd) {
    kvm_vfio::uapi::iommu_option o{};
    o.size = sizeof o;
    o.option_id = kvm_vfio::uapi::option_rlimit_mode;
    o.op = kvm_vfio::uapi::option_set;
    o.val64 = 1;
    ioctl_at("OPTION", iommufd, kvm_vfio::uapi::request_option, o);
  }

 private:
  // Calls `use(address)` with an object in memory that both processes have.
  template <class T, class Use>
  auto with(T& object, Use use) {
    static_assert(sizeof object <= most);
    std::memcpy(shared_->at(), &object, sizeof object);
    const auto answer = use(reinterpret_cast<std::uintptr_t>(shared_->at()));
    std::memcpy(&object, shared_->at(), sizeof object);
    return answer;
  }

  recorder<System>* on_;
  System sys_;
  std::string who_;
  const shared_memory* shared_;
  std::vector<int> fds_;
};

}  // namespace vfio_lockstep::fixed
