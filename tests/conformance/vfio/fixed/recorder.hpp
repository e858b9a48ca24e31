// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// System calls of which each answer becomes a line. The sequences of fixed/ make them.

#include "../generate.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <fcntl.h>
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

/// Where the configuration space begins in the file of a device.
inline constexpr std::uint64_t config_space = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;

/// The files of a device that a group gave.
struct opened_device {
  int group = -1;
  int container = -1;
  int device = -1;
};

/// Makes system calls on a system and keeps a line for each answer. The lines contain no addresses
/// and no descriptors, so equal systems have equal lines.
template <kvm_vfio::system System>
class recorder {
 public:
  using errc = kvm_vfio::errc;

  /// \param sys where the calls are made
  /// \param m   the machine, which has one kind of IOMMU
  /// \param no_iommu whether no IOMMU handles the devices that the sequence opens
  recorder(const System& sys, const machine& m, bool no_iommu = false)
      : sys_(sys),
        iommu_type_(no_iommu  ? VFIO_NOIOMMU_IOMMU
                    : m.spapr ? VFIO_SPAPR_TCE_IOMMU
                              : VFIO_TYPE1v2_IOMMU) {}
  recorder(const recorder&) = delete;
  recorder& operator=(const recorder&) = delete;
  ~recorder() { close_all(); }

  [[nodiscard]] const System& sys() const noexcept { return sys_; }
  /// Closes all files. \return the lines
  std::vector<std::string> finish() {
    close_all();
    return std::move(lines_);
  }

  void say(const std::string& what, errc e, std::uint64_t number = 0) {
    lines_.push_back(what + ": " + kvm_vfio::name(e) + " " + std::to_string(number));
  }
  template <class T>
  void say(const std::string& what, const kvm_vfio::result<T>& answer) {
    say(what, answer.error(), answer ? static_cast<std::uint64_t>(*answer) : 0);
  }
  /// Keeps bytes as a line.
  void bytes(const std::string& what, const unsigned char* data, std::size_t size) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < size; ++i) {
      text += digits[data[i] >> 4];
      text += digits[data[i] & 15];
    }
    lines_.push_back(what + " = " + text);
  }

  /// Opens a file. \return the descriptor; -1: it could not be opened
  int open(const std::string& what, const std::string& path) {
    return made("open " + what, sys_.open(path.c_str(), O_RDWR));
  }
  /// Takes a descriptor that another call made. \return the descriptor; -1: an error
  int take(const std::string& what, const kvm_vfio::result<int>& fd) { return made(what, fd); }
  int eventfd() { return made("eventfd", sys_.eventfd()); }
  /// Makes an ioctl that answers with a new descriptor. \return the descriptor; -1: an error
  int make(const std::string& what, int fd, unsigned long request) {
    return made(what, sys_.ioctl(fd, request, 0));
  }
  void close(const std::string& what, int fd) {
    say("close " + what, sys_.close(fd));
    std::erase(fds_, fd);
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
  /// Makes an ioctl whose argument is an object.
  template <class T>
  bool ioctl_at(const std::string& what, int fd, unsigned long request, T& argument) {
    return ioctl(what, fd, request, reinterpret_cast<std::uintptr_t>(&argument));
  }
  /// Makes an ioctl whose argument is in a vector.
  template <class T>
  bool ioctl_of(const std::string& what, int fd, unsigned long request,
                const std::vector<T>& argument) {
    return ioctl(what, fd, request, reinterpret_cast<std::uintptr_t>(argument.data()));
  }
  /// Makes an ioctl whose argument is in a vector, and keeps the bytes after the call.
  void ioctl_bytes(const std::string& what, int fd, unsigned long request,
                   std::vector<unsigned char> argument) {
    ioctl_of(what, fd, request, argument);
    bytes(what, argument.data(), argument.size());
  }

  bool set_container(int group, int container) {
    std::int32_t fd = container;
    return ioctl_at("SET_CONTAINER", group, VFIO_GROUP_SET_CONTAINER, fd);
  }
  int get_device(int group, const std::string& device) {
    std::string name = device;
    return made("GET_DEVICE_FD", sys_.ioctl(group, VFIO_GROUP_GET_DEVICE_FD,
                                            reinterpret_cast<std::uintptr_t>(name.data())));
  }
  /// Opens a group and a container, and gets the device. The container gets the machine's IOMMU.
  /// \param path the container, or an iommufd
  opened_device open_device(const target& t, const std::string& path = "/dev/vfio/vfio") {
    return open_device(t, path, iommu_type_);
  }
  /// \param type the argument of VFIO_SET_IOMMU
  opened_device open_device(const target& t, const std::string& path, std::uintptr_t type) {
    opened_device o;
    o.group = open("group", t.group);
    o.container = open("container", path);
    set_container(o.group, o.container);
    ioctl("SET_IOMMU", o.container, VFIO_SET_IOMMU, type);
    const bool needs_token = !t.physical_group.empty();
    if (needs_token) set_token(t.physical_group, t.physical);
    o.device = get_device(o.group, t.device + (needs_token ? token : ""));
    return o;
  }
  /// Gives a physical function its token. It gets the token before the open fails.
  void set_token(const std::string& group, const std::string& physical) {
    const int fd = open("group of the physical function", group);
    get_device(fd, physical + token);
    close("group of the physical function", fd);
  }
  /// Binds a device. \return its number in the iommufd
  std::uint32_t bind(int device, int iommufd) {
    kvm_vfio::uapi::device_bind_iommufd b{};
    b.argsz = sizeof b;
    b.iommufd = iommufd;
    ioctl_at("BIND_IOMMUFD", device, kvm_vfio::uapi::request_bind_iommufd, b);
    return b.out_devid;
  }
  std::uint32_t alloc_ioas(int iommufd) {
    kvm_vfio::uapi::iommu_ioas_alloc a{.size = sizeof a, .flags = 0, .out_ioas_id = 0};
    ioctl_at("IOAS_ALLOC", iommufd, kvm_vfio::uapi::request_ioas_alloc, a);
    return a.out_ioas_id;
  }
  /// Makes a page table for a device and an address space. \return its number
  std::uint32_t alloc_table(int iommufd, std::uint32_t device, std::uint32_t space) {
    kvm_vfio::uapi::iommu_hwpt_alloc a{};
    a.size = sizeof a;
    a.dev_id = device;
    a.pt_id = space;
    ioctl_at("HWPT_ALLOC", iommufd, kvm_vfio::uapi::request_hwpt_alloc, a);
    say("page table", errc::ok, a.out_hwpt_id);
    return a.out_hwpt_id;
  }
  void attach(int device, std::uint32_t to) {
    kvm_vfio::uapi::device_attach_iommufd_pt a{.argsz = sizeof a, .flags = 0, .pt_id = to};
    ioctl_at("ATTACH", device, kvm_vfio::uapi::request_attach_iommufd_pt, a);
    say("page table", errc::ok, a.pt_id);
  }

 private:
  static constexpr const char* token = " vf_token=11111111-2222-3333-4444-555555555555";

  int made(const std::string& what, const kvm_vfio::result<int>& fd) {
    say(what, fd.error());
    return fd ? fds_.emplace_back(*fd) : -1;
  }

  System sys_;
  std::uintptr_t iommu_type_;
  std::vector<int> fds_;
  std::vector<std::string> lines_;
};

/// Returns an argument of 32-bit words, in memory of `size` bytes.
inline std::vector<unsigned char> words(std::initializer_list<std::uint32_t> all,
                                        std::size_t size = 0) {
  std::vector<unsigned char> out(all.size() * 4 < size ? size : all.size() * 4);
  std::size_t at = 0;
  for (const std::uint32_t w : all) {
    std::memcpy(&out[at], &w, sizeof w);
    at += sizeof w;
  }
  return out;
}

}  // namespace vfio_lockstep
