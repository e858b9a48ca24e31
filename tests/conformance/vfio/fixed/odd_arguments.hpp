// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Arguments that are wrong in one place only: memory that ends inside of a struct or cannot be
/// written, numbers at the end of their range, paths that nearly name a file.

#include "containers.hpp"
#include "recorder.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

namespace u = kvm_vfio::uapi;

/// Makes the calls with a device, and with a second group.
template <class System>
class odd_arguments {
 public:
  odd_arguments(recorder<System>& on, const machine& m, const dma_memory& memory)
      : on_(on), m_(m), page_(m.page), memory_(memory) {}

  void run(const target& t) {
    paths();
    virtual_machines();
    events();
    dirty_pages(t);
    new_addresses(t, VFIO_TYPE1v2_IOMMU);
    new_addresses(t, VFIO_TYPE1_IOMMU);
    device(t);
    for (const target& other : m_.targets)
      if (!other.comparable) {
        translated_later(other, t);
        break;
      }
    if (m_.iommufd && !t.cdev.empty()) iommufd(t);
    if (m_.iommufd) iommufd_as_container(t);
    on_.close_all();
  }

 private:
  using numbers = std::vector<std::uint64_t>;
  static constexpr std::uint32_t access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

  /// The number whose lower half is one member, and whose upper half is the next one.
  static constexpr std::uint64_t pair(std::uint64_t low, std::uint64_t high) {
    return low | high << 32;
  }
  bool ask(const std::string& what, int fd, std::uint64_t request, numbers c) {
    const bool good = on_.ioctl(what, fd, request, reinterpret_cast<std::uintptr_t>(c.data()));
    on_.bytes(what, reinterpret_cast<const unsigned char*>(c.data()), 8 * c.size());
    return good;
  }
  /// Makes an ioctl whose argument is in memory that ends behind `size` bytes. After an error the
  /// bytes are not kept: how many of them Linux writes before EFAULT is not compared.
  void cut(const std::string& what, int fd, std::uint64_t request, const numbers& c,
           std::size_t size) {
    auto* const at = reinterpret_cast<unsigned char*>(memory_.absent) - size;
    std::memset(at, 0, size);  // both systems find the same behind the numbers
    std::memcpy(at, c.data(), size < 8 * c.size() ? size : 8 * c.size());
    if (on_.ioctl(what + ", cut behind " + std::to_string(size), fd, request,
                  reinterpret_cast<std::uintptr_t>(at)))
      on_.bytes(what, at, size);
  }
  /// Makes an ioctl whose argument is in memory that can only be read.
  void read_only(const std::string& what, int fd, std::uint64_t request, const numbers& c) {
    std::memset(reinterpret_cast<void*>(memory_.alias), 0, 256);
    std::memcpy(reinterpret_cast<void*>(memory_.alias), c.data(), 8 * c.size());
    on_.ioctl(what + ", read-only", fd, request, memory_.read_only);
  }

  void paths() {
    const auto open = [&](const std::string& path, int flags) {
      const auto fd = on_.sys().open(path.c_str(), flags);
      on_.say("open " + path.substr(0, 40), fd.error());
      if (fd) (void)on_.sys().close(*fd);
    };
    for (const char* const path :
         {"/dev/vfio/01", "/dev/vfio/-1", "/dev/vfio/1:", "/dev/vfio/9999999999",
          "/dev/vfio/99999999999", "/dev/vfio/vfio/x", "/dev/vfio/devices/vfio",
          "/dev/vfio/devices/vfio00", "/dev/vfio/devices/noiommu-vfio0", "/dev/vfio/noiommu-1",
          "/dev/iommu/x", "/dev/kvm/x"})
      open(path, O_RDWR);
    for (const char* const path : {"/dev/vfio/vfio", "/dev/iommu", "/dev/vfio/none"})
      open(path, O_PATH);
    open(m_.targets.front().group, O_PATH);
    open(m_.targets.front().group + "/x", O_RDWR);
    open("/" + std::string(5000, 'x'), O_RDWR);
    // Volatile: a compiler that sees the null pointer warns, because open(2) is declared nonnull.
    const char* volatile const nothing = nullptr;
    on_.say("open nothing", on_.sys().open(nothing, O_RDWR).error());
  }
  void virtual_machines() {
    const int kvm = on_.open("kvm", "/dev/kvm");
    on_.ioctl("CREATE_VM of a type", kvm, KVM_CREATE_VM, 99);
    const int vm = on_.make("CREATE_VM", kvm, KVM_CREATE_VM);
    for (const int fd : {kvm, vm})
      for (const int which :
           {KVM_CAP_IRQCHIP, KVM_CAP_USER_MEMORY, KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
            KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, KVM_CAP_IRQFD, KVM_CAP_IRQFD_RESAMPLE,
            KVM_CAP_IOEVENTFD, KVM_CAP_IOEVENTFD_NO_LENGTH, KVM_CAP_IOEVENTFD_ANY_LENGTH,
            KVM_CAP_READONLY_MEM, KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_DEVICE_CTRL, 99999})
        on_.ioctl("CHECK_EXTENSION " + std::to_string(which), fd, KVM_CHECK_EXTENSION,
                  static_cast<std::uintptr_t>(which));
    const auto slot = [&](std::uint32_t flags, std::uint64_t at, std::uint64_t size,
                          std::uint64_t memory) {
      ask("SET_USER_MEMORY_REGION", vm, KVM_SET_USER_MEMORY_REGION,
          {pair(0, flags), at, size, memory});
    };
    slot(0, 0, page_, (std::uint64_t{1} << 47) - page_);
    slot(0, 0, page_, memory_.there);
    slot(KVM_MEM_READONLY, 0, page_, memory_.there);
    slot(0, 0, page_, memory_.there + page_);
    slot(0, 0, page_, memory_.there);
    slot(0, 0, 0, 0);
    const int event = on_.eventfd();
    const auto watch = [&](std::uint64_t match, std::uint32_t flags) {
      const numbers c{match, 0x1000, pair(4, static_cast<std::uint32_t>(event)), flags, 0, 0, 0, 0};
      on_.ioctl("IOEVENTFD", vm, KVM_IOEVENTFD, reinterpret_cast<std::uintptr_t>(c.data()));
    };
    watch(1, KVM_IOEVENTFD_FLAG_DATAMATCH);
    watch(2, KVM_IOEVENTFD_FLAG_DATAMATCH);
    watch(1, KVM_IOEVENTFD_FLAG_DATAMATCH);
    watch(3, KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_DEASSIGN);
    watch(1, KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_DEASSIGN);
    // Eight bytes, which is less than the struct has.
    cut("CREATE_DEVICE", vm, KVM_CREATE_DEVICE, {pair(KVM_DEV_TYPE_VFIO, 0), 0}, 8);
    on_.close_all();
  }
  void events() {
    const int event = on_.eventfd();
    unsigned char bytes[16] = {1};
    auto* const absent = reinterpret_cast<unsigned char*>(memory_.absent);
    auto* const high = reinterpret_cast<unsigned char*>(~std::uintptr_t{0} - 3);
    auto* const kernels = reinterpret_cast<unsigned char*>(std::uintptr_t{1} << 63);
    on_.say("short read", on_.sys().read(event, bytes, 4));
    on_.say("short write", on_.sys().write(event, bytes, 4));
    on_.say("long write", on_.sys().write(event, bytes, 16));
    on_.say("long read", on_.sys().read(event, bytes, 16));
    for (unsigned char* const at : {absent, high, kernels})
      for (const std::size_t size : {4U, 8U}) {
        on_.say("write from odd memory", on_.sys().write(event, at, size));
        on_.say("read to odd memory", on_.sys().read(event, at, size));
      }
    std::memset(bytes, 0xff, 8);
    on_.say("the largest number", on_.sys().write(event, bytes, 8));
    on_.close_all();
  }

  void map(int fd, std::uint64_t iova, std::uint64_t address, std::uint64_t size,
           std::uint32_t flags = access) {
    ask("MAP_DMA", fd, VFIO_IOMMU_MAP_DMA, {pair(32, flags), address - memory_.there, iova, size},
        address);
  }
  // Addresses differ from run to run, so the lines do not show them.
  void ask(const std::string& what, int fd, std::uint64_t request, numbers c,
           std::uint64_t address) {
    c[1] = address;
    on_.ioctl(what, fd, request, reinterpret_cast<std::uintptr_t>(c.data()));
  }
  void unmap(int fd, std::uint64_t iova, std::uint64_t size, std::uint32_t flags = 0) {
    ask("UNMAP_DMA " + std::to_string(flags), fd, VFIO_IOMMU_UNMAP_DMA,
        {pair(24, flags), iova, size});
  }
  // A bitmap has its members behind those of the range.
  [[nodiscard]] numbers bitmap(std::uint32_t flags, std::uint64_t iova, std::uint64_t pages,
                               std::uint64_t unit, std::uint64_t size, std::uint64_t to) const {
    return {pair(48, flags), iova, pages * page_, unit, size, to};
  }
  void dirty_pages(const target& t) {
    const opened_device o = on_.open_device(t);
    const int fd = o.container;
    constexpr std::uint32_t get = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
    constexpr std::uint32_t with = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    unsigned char bits[64] = {};
    const std::uint64_t to = reinterpret_cast<std::uintptr_t>(bits);
    const auto call = [&](std::uint64_t request, const numbers& c) {
      on_.ioctl(request == VFIO_IOMMU_DIRTY_PAGES ? "DIRTY_PAGES" : "UNMAP_DMA", fd, request,
                reinterpret_cast<std::uintptr_t>(c.data()));
    };
    map(fd, first_iova, memory_.there, 2 * page_);
    map(fd, first_iova + 70 * page_, memory_.there, page_);
    on_.ioctl("DIRTY_PAGES of nothing", fd, VFIO_IOMMU_DIRTY_PAGES, 0);
    call(VFIO_IOMMU_DIRTY_PAGES, {pair(7, 1)});
    call(VFIO_IOMMU_DIRTY_PAGES, {pair(8, 1)});
    call(VFIO_IOMMU_DIRTY_PAGES, {pair(47, get), first_iova, 2 * page_, page_, 8, to});
    cut("DIRTY_PAGES", fd, VFIO_IOMMU_DIRTY_PAGES, {pair(48, get), first_iova, 2 * page_}, 24);
    const std::uint64_t absent = memory_.absent;
    for (const std::uint64_t request :
         {std::uint64_t{VFIO_IOMMU_DIRTY_PAGES}, std::uint64_t{VFIO_IOMMU_UNMAP_DMA}}) {
      const std::uint32_t flags = request == VFIO_IOMMU_DIRTY_PAGES ? get : with;
      call(request, bitmap(flags, first_iova, 2, page_, ~std::uint64_t{0}, 8));
      call(request, bitmap(flags, first_iova, 2, page_, 8, std::uint64_t{1} << 63));
      call(request, bitmap(flags, first_iova, 2, 2 * page_, 8, to));
      call(request, bitmap(flags, first_iova, 2, 0, 8, to));
      call(request, bitmap(flags, first_iova, 0, page_, 8, to));
      call(request, bitmap(flags, ~std::uint64_t{0} - page_ + 1, 2, page_, 8, to));
      call(request, bitmap(flags, ~std::uint64_t{0} - page_ + 1, 1, page_, 8, to));
      call(request, bitmap(flags, first_iova + page_, 1, page_, 8, to));
      call(request, bitmap(flags, first_iova, 1, page_, 8, to));
      call(request, bitmap(flags, first_iova, 2, page_, 8, absent));
      // The bits of the mapping start inside a word.
      call(request, bitmap(flags, first_iova - 3 * page_, 5, page_, 8, absent));
      call(request, bitmap(flags, first_iova - 3 * page_, 80, page_, 16, absent - 8));
    }
    call(VFIO_IOMMU_UNMAP_DMA, bitmap(with | 2, first_iova, 2, page_, 8, to));
    call(VFIO_IOMMU_UNMAP_DMA, {pair(24, with), first_iova, 2 * page_, page_, 8, to});
    cut("UNMAP_DMA", fd, VFIO_IOMMU_UNMAP_DMA, {pair(48, with), first_iova, 2 * page_}, 24);
    unmap(fd, 0, page_, 2);
    read_only("UNMAP_DMA", fd, VFIO_IOMMU_UNMAP_DMA, {pair(24, 2), 0, 0});
    info(fd);
    on_.close_all();
  }
  // The capabilities behind the struct reach into memory that is not there.
  void info(int fd) {
    for (std::size_t size = 16; size <= 120; size += 8)
      cut("IOMMU_GET_INFO", fd, VFIO_IOMMU_GET_INFO, {pair(256, 0), 0, 0}, size);
    read_only("IOMMU_GET_INFO", fd, VFIO_IOMMU_GET_INFO, {pair(24, 0), 0, 0});
  }
  // Mappings whose memory moves to other addresses of the process.
  void new_addresses(const target& t, std::uintptr_t type) {
    const opened_device o = on_.open_device(t, "/dev/vfio/vfio", type);
    const int fd = o.container;
    constexpr std::uint32_t vaddr = u::dma_map_vaddr;
    map(fd, first_iova, memory_.there, 2 * page_);
    map(fd, first_iova + 2 * page_, memory_.there, page_);
    unmap(fd, first_iova + page_, page_, u::dma_unmap_vaddr);
    map(fd, first_iova, memory_.there, 2 * page_, vaddr);
    unmap(fd, first_iova, 2 * page_, u::dma_unmap_vaddr);
    unmap(fd, first_iova, 2 * page_, u::dma_unmap_vaddr);
    int other = -1;
    for (const target& of : m_.targets)
      if (of.group != t.group && of.comparable && other < 0)
        other = on_.open("other group", of.group);
    on_.set_container(other, fd);
    map(fd, first_iova, memory_.there, page_, vaddr);
    map(fd, first_iova + page_, memory_.there, page_, vaddr);
    map(fd, first_iova + 2 * page_, memory_.there, page_, vaddr);
    map(fd, first_iova + 8 * page_, memory_.there, page_, vaddr);
    map(fd, first_iova, memory_.there, 2 * page_, vaddr);
    unmap(fd, 0, 0, u::dma_unmap_vaddr | u::dma_unmap_all);
    unmap(fd, 0, 0, u::dma_unmap_all);
    on_.set_container(other, fd);
    on_.close_all();
  }

  void device(const target& t) {
    const opened_device o = on_.open_device(t);
    constexpr std::uint64_t config = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;
    auto* const absent = reinterpret_cast<unsigned char*>(memory_.absent);
    for (unsigned char* const at :
         {absent, absent - 2, reinterpret_cast<unsigned char*>(~std::uintptr_t{0} - 3),
          reinterpret_cast<unsigned char*>(std::uintptr_t{1} << 63)}) {
      on_.say("read to odd memory", on_.sys().pread(o.device, at, 4, config));
      on_.say("write from odd memory", on_.sys().pwrite(o.device, at, 4, config + 0x3c));
      on_.say("read(2) to odd memory", on_.sys().read(o.device, at, 4));
    }
    std::vector<unsigned char> all(300);
    on_.say("a long read", on_.sys().pread(o.device, all.data(), all.size(), config));
    on_.say("the end", on_.sys().pread(o.device, all.data(), 4, config + (1 << 20)));
    on_.say("mmap of too much", on_.sys().mmap(~std::size_t{0}, 1, o.device, 0).error());
    on_.say("munmap", on_.sys().munmap(reinterpret_cast<void*>(1), 4096));
    on_.say("munmap of nothing", on_.sys().munmap(absent, 0));
    const int event = on_.eventfd();
    const auto irqs = [&](const std::string& what, std::uint32_t flags, std::uint32_t index,
                          std::uint32_t count, int fd) {
      auto c = words({24, flags, index, 0, count, static_cast<std::uint32_t>(fd)});
      on_.ioctl("SET_IRQS " + what, o.device, VFIO_DEVICE_SET_IRQS,
                reinterpret_cast<std::uintptr_t>(c.data()));
    };
    constexpr std::uint32_t files = VFIO_IRQ_SET_DATA_EVENTFD;
    constexpr std::uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
    irqs("nothing", VFIO_IRQ_SET_DATA_BOOL | trigger, 0, 0, 0);
    irqs("an eventfd", files | trigger, 0, 1, event);
    irqs("two actions", files | trigger | VFIO_IRQ_SET_ACTION_MASK, 0, 1, event);
    irqs("mask nothing", VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 0, 0);
    irqs("no descriptor", files | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, 9999);
    irqs("no eventfd", files | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, o.group);
    for (const std::uint32_t index : {0U, 3U, 4U})
      for (const int fd : {-2, 9999, o.group})
        irqs("odd descriptor", files | trigger, index, 1, fd);
    cut("SET_IRQS", o.device, VFIO_DEVICE_SET_IRQS, {pair(24, files | trigger), pair(4, 0), 1}, 20);
    for (const std::uint64_t request :
         {std::uint64_t{VFIO_DEVICE_GET_INFO}, std::uint64_t{VFIO_DEVICE_GET_IRQ_INFO},
          std::uint64_t{VFIO_DEVICE_GET_REGION_INFO},
          std::uint64_t{VFIO_DEVICE_GET_PCI_HOT_RESET_INFO}}) {
      for (const std::size_t size : {4U, 8U, 12U, 16U, 20U, 24U, 32U})
        cut("device request " + std::to_string(request & 0xff), o.device, request,
            {pair(64, 0), 0, 0, 0}, size);
      read_only("device request " + std::to_string(request & 0xff), o.device, request,
                {pair(32, 0), 0, 0, 0});
    }
    // Options of the kernel's build decide about low power (3 to 5) and about giving the memory of
    // a BAR to others (11).
    for (std::uint32_t feature = 0; feature < 14; ++feature) {
      if ((feature >= 3 && feature <= 5) || feature == 11) continue;
      ask("FEATURE " + std::to_string(feature), o.device, VFIO_DEVICE_FEATURE,
          {pair(8, feature | VFIO_DEVICE_FEATURE_PROBE)});
    }
    ask("FEATURE, unknown flag", o.device, VFIO_DEVICE_FEATURE, {pair(8, 1U << 30)});
    cut("HOT_RESET", o.device, VFIO_DEVICE_PCI_HOT_RESET, {pair(16, 0), pair(1, 0)}, 12);
    on_.close_all();
  }
  // A container without a domain translates nothing, until a group with an IOMMU joins.
  void translated_later(const target& mediated, const target& t) {
    const int fd = on_.open("container", "/dev/vfio/vfio");
    const int first = on_.open("group", mediated.group);
    on_.set_container(first, fd);
    on_.ioctl("SET_IOMMU", fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    const int group = on_.open("other group", t.group);
    const auto join = [&](std::uint64_t iova, std::uint64_t address) {
      map(fd, iova, address, page_);
      on_.set_container(group, fd);
      on_.ioctl("UNSET_CONTAINER", group, VFIO_GROUP_UNSET_CONTAINER);
      unmap(fd, 0, 0, u::dma_unmap_all);
    };
    unmap(fd, first_iova, page_, u::dma_unmap_vaddr);
    join(first_iova, memory_.absent);
    join(std::uint64_t{1} << 60, memory_.there);
    join(0xfee00000, memory_.there);
    join(first_iova, memory_.there);
    join(std::uint64_t{1} << 60, memory_.there);
    ask("DIRTY_PAGES start", fd, VFIO_IOMMU_DIRTY_PAGES, {pair(8, 1)});
    join(first_iova, memory_.there);
    on_.close_all();
  }

  void iommufd(const target& t) {
    const int fd = on_.open("iommufd", "/dev/iommu");
    const int device = on_.open("device file", t.cdev);
    const std::uint32_t id = on_.bind(device, fd);
    const std::uint32_t ioas = on_.alloc_ioas(fd);
    const std::uint32_t other = on_.alloc_ioas(fd);
    const std::uint64_t end = ~std::uint64_t{0};
    const auto map_at = [&](const std::string& what, std::uint32_t space, std::uint64_t address,
                            std::uint64_t size, std::uint64_t iova) {
      const std::uint32_t flags = u::map_readable | (iova != 0 ? u::map_fixed_iova : 0);
      numbers c{pair(40, flags), pair(space, 0), address, size, iova};
      if (on_.ioctl("IOAS_MAP " + what, fd, u::request_ioas_map,
                    reinterpret_cast<std::uintptr_t>(c.data())))
        on_.say("address", kvm_vfio::errc::ok, c[4]);
    };
    const auto copy = [&](std::uint32_t to, std::uint64_t size, std::uint64_t to_iova,
                          std::uint64_t from) {
      ask("IOAS_COPY", fd, u::request_ioas_copy,
          {pair(40, u::map_readable | u::map_fixed_iova), pair(to, other), size, to_iova, from});
    };
    const auto unmap_all = [&](std::uint32_t space) {
      ask("IOAS_UNMAP", fd, u::request_ioas_unmap, {pair(24, space), 0, end});
    };
    const auto option = [&](std::uint32_t which, std::uint32_t op, std::uint32_t object,
                            std::uint64_t value) {
      ask("OPTION", fd, u::request_option, {pair(24, which), pair(op, object), value});
    };
    const auto allow = [&](const std::vector<std::uint64_t>& ranges) {
      numbers c{pair(24, ioas), ranges.size() / 2, reinterpret_cast<std::uintptr_t>(ranges.data())};
      on_.ioctl("ALLOW_IOVAS", fd, u::request_ioas_allow_iovas,
                reinterpret_cast<std::uintptr_t>(c.data()));
    };
    map_at("chosen, nothing", ioas, memory_.there, 0, 0);
    map_at("chosen, half of all", ioas, memory_.there, end / 2, 0);
    map_at("wrapping", ioas, end - page_ + 1, 2 * page_, first_iova);
    // Linux does not choose the last page.
    allow({end - 4 * page_ + 1, end});
    for (int i = 0; i < 5; ++i) map_at("chosen at the end", ioas, memory_.there, page_, 0);
    unmap_all(ioas);
    allow({});
    for (const std::uint64_t size : {end, page_}) {
      copy(ioas, size, first_iova, first_iova);
      copy(ioas, size, end, first_iova);
      copy(ioas, size, first_iova, end);
    }
    option(u::option_huge_pages, 2, ioas, 0);
    map_at("a part of a page", ioas, memory_.there + 0x100, 0x100, 0x100100);
    option(u::option_huge_pages, u::option_set, ioas, 0);
    on_.attach(device, ioas);
    ask("HWPT_ALLOC", fd, u::request_hwpt_alloc, {pair(48, 0), pair(id, ioas), 0, 0, 0, 0});
    unmap_all(ioas);
    ask("OPTION, reserved", fd, u::request_option, {pair(24, u::option_huge_pages), 1ULL << 16, 0});
    ask("OPTION, short", fd, u::request_option, {pair(20, u::option_huge_pages), 0, 0});
    ask("ALLOW_IOVAS, reserved", fd, u::request_ioas_allow_iovas, {pair(24, ioas), 1ULL << 32, 0});
    ask("ALLOW_IOVAS of nothing", fd, u::request_ioas_allow_iovas, {pair(24, 99), 0, 0});
    for (const std::uint64_t to : {std::uint64_t{0}, std::uint64_t{8}}) {
      ask("IOVA_RANGES to nowhere", fd, u::request_ioas_iova_ranges,
          {pair(32, ioas), pair(1, 0), to, 0});
      ask("ALLOW_IOVAS from nowhere", fd, u::request_ioas_allow_iovas,
          {pair(24, ioas), pair(1, 0), to});
    }
    allow({0x200000, 0x2fffff});
    on_.attach(device, ioas);
    map_at("for a copy", other, memory_.there + 0x100, page_, first_iova);
    copy(ioas, page_, 0x400000, first_iova);
    map_at("absent", other, memory_.absent, page_, 0x500000);
    copy(ioas, page_, 0x400000, 0x500000);
    numbers pt{pair(48, 0), pair(id, ioas), 0, 0, 0, 0};
    read_only("HWPT_ALLOC", fd, u::request_hwpt_alloc, pt);
    read_only("IOAS_ALLOC", fd, u::request_ioas_alloc, {pair(12, 0), 0});
    read_only("IOVA_RANGES", fd, u::request_ioas_iova_ranges, {pair(32, ioas), 0, 0, 0});
    read_only("FAULT_QUEUE_ALLOC", fd, u::request_fault_queue_alloc, {pair(16, 0), 0});
    read_only("HWPT_INVALIDATE", fd, u::request_hwpt_invalidate, {pair(32, ioas), 0, 0, 0});
    read_only("GET_HW_INFO", fd, u::request_get_hw_info, {pair(40, 0), pair(id, 0), 0, 0, 0});
    read_only("ATTACH", device, u::request_attach_iommufd_pt, {pair(12, 0), other});
    const int more = on_.open("device file", t.cdev);
    read_only("BIND", more, u::request_bind_iommufd, {pair(16, 0), static_cast<std::uint32_t>(fd)});
    ask("GET_HW_INFO, data nowhere", fd, u::request_get_hw_info,
        {pair(40, 0), pair(id, 4), 0, 0, 0});
    for (const std::uint32_t flags : {0U, 1U, 2U})
      for (const std::uint32_t size : {12U, 16U, 20U})
        for (const std::uint32_t pasid : {1U, 0x80000000U})
          for (const std::uint32_t pt_id : {ioas, 99U})
            ask("ATTACH with a PASID", device, u::request_attach_iommufd_pt,
                {pair(size, flags), pair(pt_id, pasid), 0});
    ask("VFIO_IOAS set", fd, u::request_vfio_ioas, {pair(12, other), u::vfio_ioas_set});
    ask("DESTROY", fd, u::request_destroy, {pair(8, other)});
    ask("VFIO_IOAS get", fd, u::request_vfio_ioas, {pair(12, 0), u::vfio_ioas_get});
    on_.close_all();
  }
  void iommufd_as_container(const target& t) {
    for (const std::uintptr_t type :
         {std::uintptr_t{VFIO_TYPE1_IOMMU}, std::uintptr_t{VFIO_TYPE1v2_IOMMU}}) {
      const opened_device o = on_.open_device(t, "/dev/iommu", type);
      const int fd = o.container;
      info(fd);
      on_.ioctl("CHECK_EXTENSION", fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU);
      map(fd, first_iova, memory_.there, 4 * page_);
      unmap(fd, 0, page_, u::dma_unmap_all);
      unmap(fd, page_, 0, u::dma_unmap_all);
      unmap(fd, first_iova, page_ + 0x10);
      unmap(fd, first_iova + 0x10, 4 * page_ - 0x10);
      unmap(fd, 0, first_iova + page_);
      read_only("UNMAP_DMA", fd, VFIO_IOMMU_UNMAP_DMA, {pair(24, 2), 0, 0});
      on_.close_all();
    }
  }

  recorder<System>& on_;
  const machine& m_;
  const std::uint64_t page_;
  const dma_memory& memory_;
};

}  // namespace vfio_lockstep::fixed
