// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Page tables of the two devices of a group: attached, replaced, detached and destroyed in odd
/// orders. And names and binds that are wrong in one place.

#include "containers.hpp"
#include "recorder.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

namespace u = kvm_vfio::uapi;

/// Makes the calls with a device and with another device of its group, if there is one.
template <class System>
class group_tables {
 public:
  group_tables(recorder<System>& on, const machine& m, const dma_memory& memory)
      : on_(on), m_(m), page_(m.page), memory_(memory) {}

  /// \param other the other device; null: there is none
  void run(const target& t, const target* other) {
    names(t);
    if (t.cdev.empty() || !m_.iommufd) return;
    binds(t);
    if (!other) return;
    two_iommufds(t, *other);
    tables(t, *other);
  }

 private:
  /// Asks a group for a device, with a name that ends in memory that is not there, and with long
  /// names.
  void names(const target& t) {
    const opened_device o = on_.open_device(t);
    auto* const absent = reinterpret_cast<char*>(memory_.absent);
    const std::string& d = t.device;
    const auto ask = [&](const std::string& what, const char* at) {
      on_.take("GET_DEVICE_FD " + what, on_.sys().ioctl(o.group, VFIO_GROUP_GET_DEVICE_FD,
                                                        reinterpret_cast<std::uintptr_t>(at)));
    };
    for (const std::size_t blanks : {0U, 1U, 3000U, 4095U, 4096U, 5000U})
      for (const bool in_front : {false, true}) {
        std::string name = in_front ? std::string(blanks, ' ') + d : d + std::string(blanks, ' ');
        ask(std::to_string(blanks) + " blanks", name.c_str());
      }
    std::memcpy(absent - d.size(), d.data(), d.size());
    ask("without an end", absent - d.size());
    std::memset(absent - 4096, 'x', 4096);
    ask("a page of letters", absent - 4096);
    ask("more than a page", absent - 4097);
    ask("nothing", "");
    ask("of the driver", "vfio-pci");
    std::string upper = d;
    for (char& c : upper)
      if (c >= 'a' && c <= 'f') c = static_cast<char>(c - 32);
    if (upper != d) ask("in capitals", upper.c_str());
    ask("without the domain", d.substr(5).c_str());
    ask("of a line", (d + "\n").c_str());
    ask("with a tab", (d + "\t").c_str());
    ask("with an option", (d + " vf_token=").c_str());
    ask("with half a token", (d + " vf_token=11111111-2222-3333-4444").c_str());
    ask("with a long token", (d + " vf_token=11111111-2222-3333-4444-5555555555556").c_str());
    ask("with two blanks", (d + "  vf_token=11111111-2222-3333-4444-555555555555").c_str());
    ask("twice", (d + " " + d).c_str());
    on_.close_all();
  }
  void binds(const target& t) {
    const int iommufd = on_.open("iommufd", "/dev/iommu");
    static const unsigned char token[16] = {1, 2, 3};
    const std::uint64_t places[] = {reinterpret_cast<std::uintptr_t>(token), memory_.absent,
                                    memory_.absent - 8};
    for (const std::uint32_t size : {12U, 15U, 16U, 23U, 24U, 28U})
      for (const std::uint32_t flags : {0U, 1U, 2U, 3U})
        for (const std::uint64_t place : places)
          for (const int to : {iommufd, -1, 9999}) {
            const int device = on_.open("device file", t.cdev);
            auto c =
                words({size, flags, static_cast<std::uint32_t>(to), 0,
                       static_cast<std::uint32_t>(place), static_cast<std::uint32_t>(place >> 32)},
                      40);
            on_.ioctl_of("BIND size " + std::to_string(size) + " flags " + std::to_string(flags),
                         device, u::request_bind_iommufd, c);
            on_.close("device file", device);
          }
    on_.close_all();
  }
  void two_iommufds(const target& t, const target& other) {
    const int first = on_.open("iommufd", "/dev/iommu");
    const int second = on_.open("other iommufd", "/dev/iommu");
    const int a = on_.open("device file", t.cdev);
    const int b = on_.open("other device file", other.cdev);
    on_.bind(a, first);
    on_.bind(b, second);
    on_.attach(a, on_.alloc_ioas(first));
    on_.attach(b, on_.alloc_ioas(second));
    on_.close("iommufd", first);
    on_.close("device file", a);
    on_.bind(b, second);
    const int c = on_.open("device file", t.cdev);
    on_.bind(c, second);
    on_.attach(c, on_.alloc_ioas(second));
    on_.close_all();
  }

  void destroy(const std::string& what, std::uint32_t object) {
    u::iommu_destroy d{.size = sizeof d, .id = object};
    on_.ioctl_at("DESTROY " + what, fd_, u::request_destroy, d);
  }
  void detach(int device) {
    u::device_detach_iommufd_pt d{.argsz = sizeof d, .flags = 0};
    on_.ioctl_at("DETACH", device, u::request_detach_iommufd_pt, d);
  }
  void map(std::uint32_t space, std::uint64_t iova) {
    u::iommu_ioas_map a{};
    a.size = sizeof a;
    a.flags = u::map_fixed_iova | u::map_readable | u::map_writeable;
    a.ioas_id = space;
    a.user_va = memory_.there;
    a.length = page_;
    a.iova = iova;
    on_.ioctl_at("IOAS_MAP", fd_, u::request_ioas_map, a);
  }
  void reset_info(int device) {
    on_.ioctl_bytes("HOT_RESET_INFO", device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
                    words({36, 0, 7}, 36));
    auto c = words({12, 0, 0});
    on_.ioctl_of("HOT_RESET", device, VFIO_DEVICE_PCI_HOT_RESET, c);
  }
  void tables(const target& t, const target& other) {
    fd_ = on_.open("iommufd", "/dev/iommu");
    const int a = on_.open("device file", t.cdev);
    const int b = on_.open("other device file", other.cdev);
    const std::uint32_t ida = on_.bind(a, fd_);
    reset_info(a);
    const std::uint32_t idb = on_.bind(b, fd_);
    reset_info(a);
    reset_info(b);
    const std::uint32_t spaces[] = {on_.alloc_ioas(fd_), on_.alloc_ioas(fd_), on_.alloc_ioas(fd_)};
    map(spaces[0], 0x100000);
    map(spaces[1], 0xfee00000);
    map(spaces[2], std::uint64_t{1} << 60);
    const std::uint32_t made[] = {on_.alloc_table(fd_, ida, spaces[0]),
                                  on_.alloc_table(fd_, idb, spaces[0])};
    const std::uint32_t all[] = {spaces[0], made[0], spaces[1], made[1], spaces[2]};
    for (const std::uint32_t first : all)
      for (const std::uint32_t second : all)
        for (const std::uint32_t third : {spaces[0], made[1], 99U}) {
          on_.attach(a, first);
          on_.attach(b, second);
          on_.attach(a, third);
          destroy("a space", spaces[0]);
          destroy("a table", made[0]);
          detach(b);
          on_.attach(b, first);
          detach(a);
          detach(a);
          on_.attach(b, third);
          detach(b);
          detach(b);
        }
    on_.attach(a, made[0]);
    on_.attach(b, made[0]);
    map(spaces[0], 0x200000);
    destroy("the device", ida);
    on_.close("device file", a);
    destroy("a table", made[0]);
    const int again = on_.open("device file", t.cdev);
    const std::uint32_t id = on_.bind(again, fd_);
    on_.attach(again, spaces[1]);
    on_.attach(again, made[1]);
    on_.attach(again, made[0]);
    destroy("a space", spaces[0]);
    on_.alloc_table(fd_, id, made[0]);
    detach(b);
    on_.attach(again, made[1]);
    destroy("a table", made[0]);
    destroy("a table", made[1]);
    on_.close("iommufd", fd_);
    reset_info(b);
    on_.attach(b, spaces[0]);
    on_.open("group of the device", t.group);
    on_.close("device file", again);
    on_.close("device file", b);
    const int group = on_.open("group of the device", t.group);
    reset_info(group);
    on_.close_all();
  }

  recorder<System>& on_;
  const machine& m_;
  const std::uint64_t page_;
  const dma_memory& memory_;
  int fd_ = -1;
};

}  // namespace vfio_lockstep::fixed
