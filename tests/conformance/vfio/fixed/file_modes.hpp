// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Files that are opened only for reading or only for writing, reads, writes and mappings of files
/// that have none, and odd parts of BARs that are read, written, mapped and unmapped.

#include "recorder.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>

#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// Makes the calls with the files of a device.
template <class System>
class file_modes {
 public:
  file_modes(recorder<System>& on, const machine& m) : on_(on), m_(m), page_(m.page) {}

  void run(const target& t) {
    for (const int mode : modes)
      for (const std::string& path : {t.group, std::string("/dev/vfio/vfio"),
                                      std::string("/dev/iommu"), std::string("/dev/kvm"), t.cdev})
        for (const std::uint64_t at : {std::uint64_t{0}, 16 * page_})
          if (!path.empty()) use_all(path, open(path, mode), at);
    odd_parts(t);
    for (const int mode : modes) of_group(t, mode);
    if (!t.cdev.empty() && m_.iommufd)
      for (const int mode : modes) of_file(t, mode);
    pieces(t);
  }

 private:
  static constexpr int modes[] = {O_RDONLY, O_WRONLY, O_RDWR};

  int open(const std::string& path, int mode) {
    return on_.take("open " + std::to_string(mode) + " " + path,
                    on_.sys().open(path.c_str(), mode));
  }
  /// Reads, writes and maps a file.
  void use_all(const std::string& path, int fd, std::uint64_t bar) {
    unsigned char data[8] = {};
    on_.say("read", on_.sys().read(fd, data, 0));
    on_.say("read", on_.sys().read(fd, data, sizeof data));
    on_.say("write", on_.sys().write(fd, data, 0));
    on_.say("pread", on_.sys().pread(fd, data, 4, config_space));
    on_.say("pwrite", on_.sys().pwrite(fd, data, 1, config_space + 0x3c));
    map(fd, static_cast<std::size_t>(page_), bar);
    if (fd >= 0) on_.close(path, fd);
  }
  void map(int fd, std::size_t size, std::uint64_t offset) {
    for (const int protection : {PROT_NONE, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE}) {
      const auto at = on_.sys().mmap(size, protection, fd, offset);
      on_.say("mmap for " + std::to_string(protection), at.error());
      if (at) on_.say("munmap", on_.sys().munmap(*at, size));
    }
  }
  /// The offset of the first BAR of at least so many pages. No BAR: that of the configuration
  /// space.
  [[nodiscard]] std::uint64_t bar_of(const target& t, std::uint64_t pages) const {
    for (std::size_t i = 0; i < t.pci.bars.size() && i < 6; ++i)
      if (t.pci.bars[i].size >= pages * page_ && !t.pci.bars[i].io) return std::uint64_t{i} << 40;
    return config_space;
  }
  // The group and the container in a mode. The device's descriptor can be read and written.
  void of_group(const target& t, int mode) {
    const int group = open(t.group, mode);
    const int container = open("/dev/vfio/vfio", mode);
    on_.set_container(group, container);
    on_.ioctl("SET_IOMMU", container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    use_all("device", on_.get_device(group, t.device), bar_of(t, 1));
    on_.close_all();
  }
  void of_file(const target& t, int mode) {
    const int iommufd = open("/dev/iommu", mode);
    const int device = open(t.cdev, mode);
    on_.bind(device, iommufd);
    on_.attach(device, on_.alloc_ioas(iommufd));
    use_all("device file", device, bar_of(t, 1));
    on_.close_all();
  }
  void odd_parts(const target& t) {
    const opened_device o = on_.open_device(t);
    constexpr std::uint64_t all = ~std::uint64_t{0};
    constexpr std::uint64_t half = std::uint64_t{1} << 63;
    unsigned char data[8] = {};
    for (const std::uint64_t at : {half - 4, half - 1, half, half + 4, all - 3, all})
      for (const std::size_t size : {std::size_t{0}, std::size_t{4}}) {
        on_.say("pread at a huge offset", on_.sys().pread(o.device, data, size, at));
        on_.say("pwrite at a huge offset", on_.sys().pwrite(o.device, data, size, at));
      }
    for (const std::size_t size : {std::size_t{1} << 31, std::size_t{1} << 47, std::size_t{all}})
      on_.say("pread of too much", on_.sys().pread(o.device, data, size, config_space + 0x1000));
    const std::uint64_t bar = bar_of(t, 2);
    const std::uint64_t size = bar == config_space ? 0 : t.pci.bars[bar >> 40].size;
    const std::size_t one = static_cast<std::size_t>(page_);
    for (const std::uint64_t at :
         {bar + 1, bar + page_ / 2, bar + size, bar + size - page_, bar + size - 2 * page_,
          bar + (std::uint64_t{1} << 40) - page_, config_space, std::uint64_t{6} << 40,
          std::uint64_t{8} << 40, std::uint64_t{9} << 40, std::uint64_t{200} << 40, half - page_,
          half, all - page_ + 1, all - 2 * page_ + 1})
      for (const std::size_t n : {std::size_t{1}, one, 2 * one, 2 * one + 1}) {
        const auto mapped = on_.sys().mmap(n, PROT_READ, o.device, at);
        on_.say("mmap of an odd part", mapped.error());
        if (mapped) on_.say("munmap", on_.sys().munmap(*mapped, n));
      }
    on_.close_all();
  }
  // A mapping is unmapped piece by piece. Each piece holds the device.
  void pieces(const target& t) {
    const std::uint64_t bar = bar_of(t, 4);
    if (bar == config_space) return;
    const opened_device o = on_.open_device(t);
    const auto one = static_cast<std::size_t>(page_);
    const auto mapped = on_.sys().mmap(4 * one, PROT_READ | PROT_WRITE, o.device, bar);
    on_.say("mmap", mapped.error());
    if (!mapped) return on_.close_all();
    auto* const at = static_cast<unsigned char*>(*mapped);
    on_.close("device", o.device);
    for (const std::size_t n : {1U, 3U, 0U, 2U}) {
      on_.ioctl("UNSET_CONTAINER", o.group, VFIO_GROUP_UNSET_CONTAINER);
      on_.say("munmap of a page", on_.sys().munmap(at + n * one, one - 1));
    }
    on_.ioctl("UNSET_CONTAINER", o.group, VFIO_GROUP_UNSET_CONTAINER);
    on_.close_all();
  }

  recorder<System>& on_;
  const machine& m_;
  const std::uint64_t page_;
};

}  // namespace vfio_lockstep::fixed
