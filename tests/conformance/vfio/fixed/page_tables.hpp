// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The requests of an iommufd for page tables, dirty pages, faults and virtual IOMMUs.

#include "recorder.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

namespace u = kvm_vfio::uapi;

/// Makes the requests with right and with wrong members, in structs of several sizes.
template <class System>
class page_tables {
 public:
  page_tables(recorder<System>& on, const machine& m) : on_(on), page_(m.page) {}

  void run(const target& t) {
    fd_ = on_.open("iommufd", "/dev/iommu");
    const int device = on_.open("device file", t.cdev);
    id_ = on_.bind(device, fd_);
    ioas_ = on_.alloc_ioas(fd_);
    table_ = alloc("plain", 0, 0, 0, ioas_);
    tables(device);
    on_.attach(device, ioas_);
    tables(device);
    dirty_pages();
    invalidate();
    faults(device);
    virtual_iommus();
    hw_info();
    sizes();
    on_.close_all();
  }

 private:
  using words_of_request = std::vector<std::uint32_t>;

  /// Makes a request whose struct is 32-bit words, and keeps the words after it.
  void ask(const std::string& what, std::uint32_t request, words_of_request c) {
    on_.ioctl_of(what, fd_, request, c);
    on_.bytes(what, reinterpret_cast<const unsigned char*>(c.data()), 4 * c.size());
  }
  std::uint32_t alloc(const std::string& what, std::uint32_t flags, std::uint32_t type,
                      std::uint32_t length, std::uint32_t pt, std::uint32_t fault = 0) {
    static constexpr std::uint64_t data[8] = {};
    u::iommu_hwpt_alloc c{};
    c.size = sizeof c;
    c.flags = flags;
    c.dev_id = id_;
    c.pt_id = pt;
    c.data_type = type;
    c.data_len = length;
    c.data_uptr = reinterpret_cast<std::uintptr_t>(data);
    c.fault_id = fault;
    const bool made = on_.ioctl_at("HWPT_ALLOC " + what, fd_, u::request_hwpt_alloc, c);
    on_.say("number", kvm_vfio::errc::ok, c.out_hwpt_id);
    return made ? c.out_hwpt_id : 0;
  }
  void destroy(std::uint32_t object) {
    u::iommu_destroy d{.size = sizeof d, .id = object};
    on_.ioctl_at("DESTROY", fd_, u::request_destroy, d);
  }
  void tables(int device) {
    for (const std::uint32_t pt : {ioas_, table_, id_, 99U})
      for (std::uint32_t flags = 0; flags < 32; ++flags)
        for (const std::uint32_t type : {0U, 1U, 2U}) {
          const std::string what = std::to_string(flags) + " of " + std::to_string(pt);
          if (const auto made = alloc(what, flags, type, type == 0 ? 0 : 24, pt)) {
            on_.attach(device, made);
            u::device_detach_iommufd_pt d{.argsz = sizeof d, .flags = 0};
            on_.ioctl_at("DETACH", device, u::request_detach_iommufd_pt, d);
            destroy(made);
          }
        }
    alloc("data without a type", 0, 0, 8, ioas_);
    alloc("a type without data", 0, 1, 0, 99);
    alloc("nested, without data", 0, 0, 0, table_);
    const std::uint32_t size = sizeof(u::iommu_hwpt_alloc);
    ask("HWPT_ALLOC, reserved", u::request_hwpt_alloc,
        {size, 0, id_, ioas_, 0, 1, 0, 1, 0, 0, 0, 0});
    ask("HWPT_ALLOC, no device", u::request_hwpt_alloc, {size, 0, 99, 99, 0, 0, 0, 0, 0, 0, 0, 0});
    ask("HWPT_ALLOC, no device", u::request_hwpt_alloc,
        {size, 0, ioas_, ioas_, 0, 0, 0, 0, 0, 0, 0, 0});
  }
  void dirty_pages() {
    for (const std::uint32_t object : {table_, ioas_, id_, 99U})
      for (const std::uint32_t flags : {0U, 1U, 2U})
        ask("SET_DIRTY_TRACKING", u::request_hwpt_set_dirty_tracking, {16, flags, object, flags});
    const std::uint64_t last = ~std::uint64_t{0};
    for (const std::uint32_t object : {table_, ioas_, 99U})
      for (const std::uint64_t iova : {std::uint64_t{0}, page_, page_ + 1, last - page_ + 1, last})
        for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, page_, page_ - 1})
          for (const std::uint64_t unit : {std::uint64_t{0}, page_, 2 * page_}) {
            u::iommu_hwpt_get_dirty_bitmap c{48, object, 1, 0, iova, length, unit, 0};
            on_.ioctl_at("GET_DIRTY_BITMAP", fd_, u::request_hwpt_get_dirty_bitmap, c);
          }
    ask("GET_DIRTY_BITMAP, a flag", u::request_hwpt_get_dirty_bitmap,
        {48, 99, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    ask("GET_DIRTY_BITMAP, reserved", u::request_hwpt_get_dirty_bitmap,
        {48, 99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0});
  }
  void invalidate() {
    static constexpr unsigned char data[64] = {};
    for (const std::uint32_t object : {table_, ioas_, id_, 99U})
      for (const bool there : {false, true})
        for (const std::uint32_t length : {0U, 8U, 4096U, 4097U})
          for (const std::uint32_t number : {0U, 1U, 1U << 19, (1U << 19) + 1})
            for (const std::uint32_t reserved : {0U, 1U}) {
              u::iommu_hwpt_invalidate c{
                  32,     object,  there ? reinterpret_cast<std::uintptr_t>(data) : 0, 0, length,
                  number, reserved};
              on_.ioctl_at("HWPT_INVALIDATE", fd_, u::request_hwpt_invalidate, c);
              on_.say("entries", kvm_vfio::errc::ok, c.entry_num);
            }
  }
  void faults(int device) {
    ask("FAULT_QUEUE_ALLOC, a flag", u::request_fault_queue_alloc, {16, 1, 7, 7});
    u::iommu_fault_alloc c{.size = sizeof c, .flags = 0, .out_fault_id = 0, .out_fault_fd = 0};
    const bool made = on_.ioctl_at("FAULT_QUEUE_ALLOC", fd_, u::request_fault_queue_alloc, c);
    on_.say("number", kvm_vfio::errc::ok, c.out_fault_id);
    if (!made) return;  // the descriptor would be the console
    const int queue = on_.take("queue", kvm_vfio::result<int>(static_cast<int>(c.out_fault_fd)));
    unsigned char bytes[96] = {};
    for (const std::size_t size : {0U, 8U, 12U, 40U, 79U, 80U}) {
      on_.say("read", on_.sys().read(queue, bytes, size));
      on_.say("write", on_.sys().write(queue, bytes, size));
      on_.say("pread", on_.sys().pread(queue, bytes, size, 0));
      on_.say("pwrite", on_.sys().pwrite(queue, bytes, size, 0));
    }
    bytes[4] = 2;
    on_.say("write", on_.sys().write(queue, bytes, 8));
    on_.ioctl("ioctl", queue, u::request_destroy, 0);
    destroy(c.out_fault_id);
    on_.attach(device, c.out_fault_id);
    const std::uint32_t table =
        alloc("with a queue", u::hwpt_fault_id_valid, 0, 0, ioas_, c.out_fault_id);
    alloc("for a queue", 0, 0, 0, c.out_fault_id);
    on_.attach(device, table);
    on_.attach(device, ioas_);
    on_.attach(device, table);
    on_.close("queue", queue);
    destroy(c.out_fault_id);
    destroy(table);
    destroy(c.out_fault_id);
  }
  void virtual_iommus() {
    for (const std::uint32_t object : {id_, ioas_, 99U})
      for (const std::uint32_t flags : {0U, 1U})
        for (const std::uint32_t type : {0U, 1U, 2U, 9U})
          ask("VIOMMU_ALLOC", u::request_viommu_alloc,
              {40, flags, type, object, table_, 7, 0, 1, 0, 0});
    for (const std::uint32_t object : {id_, 99U})
      ask("VDEVICE_ALLOC", u::request_vdevice_alloc, {24, object, id_, 7, 1, 0});
    for (const std::uint32_t flags : {0U, 1U})
      for (const std::uint32_t type : {0U, 1U})
        for (const std::uint32_t depth : {0U, 1U, 1U << 19, (1U << 19) + 1})
          for (const std::uint32_t reserved : {0U, 1U})
            ask("VEVENTQ_ALLOC", u::request_veventq_alloc,
                {32, flags, table_, type, depth, 7, 7, reserved});
    const std::uint32_t ones = ~0U;
    for (const std::uint32_t flags : {0U, 1U})
      for (const std::uint32_t type : {0U, 1U})
        for (const std::uint32_t length : {0U, 1U, 2U})
          ask("HW_QUEUE_ALLOC", u::request_hw_queue_alloc,
              {40, flags, table_, type, 0, 7, ones, ones, length, 0});
  }
  void hw_info() {
    // The registers of the IOMMU are not compared, and so not asked for.
    for (const std::uint32_t flags : {0U, 1U, 2U})
      for (const std::uint32_t type : {0U, 1U, 2U, 9U})
        for (const std::uint32_t reserved : {0U, 1U, 0x100U})
          ask("GET_HW_INFO", u::request_get_hw_info,
              {40, flags, id_, 0, 0, 0, type, reserved, 7, 7});
  }
  // A struct that is too short, and a longer one with zeros behind it, or with something else.
  void sizes() {
    struct sized {
      std::uint32_t request, least, whole;
    };
    static constexpr sized all[] = {
        {u::request_hwpt_alloc, 24, 48},
        {u::request_hwpt_set_dirty_tracking, 16, 16},
        {u::request_hwpt_get_dirty_bitmap, 48, 48},
        {u::request_hwpt_invalidate, 32, 32},
        {u::request_ioas_change_process, 8, 8},
        {u::request_viommu_alloc, 24, 40},
        {u::request_vdevice_alloc, 24, 24},
        {u::request_veventq_alloc, 28, 32},
        {u::request_hw_queue_alloc, 40, 40},
        {u::request_ioas_noiommu_get_pa, 40, 40},
        {u::request_get_hw_info, 32, 40},
        {u::request_fault_queue_alloc, 16, 16},
        {u::request_ioas_noiommu_get_pa + 1, 4, 40},
    };
    for (const sized& s : all) {
      const std::string what = "request " + std::to_string(s.request & 0xff);
      for (const std::uint32_t size : {0U, 3U, s.least - 1}) {
        words_of_request c(20);
        c[0] = size;
        ask(what + ", short", s.request, c);
      }
      for (const std::uint32_t rest : {0U, 1U}) {
        words_of_request c(20);
        c[0] = s.whole + 4;
        c[1] = 16;  // a flag that no request knows, or an object that is not there
        c[s.whole / 4] = rest;
        ask(what + ", long", s.request, c);
      }
      on_.ioctl(what + " without a struct", fd_, s.request, 0);
    }
  }

  recorder<System>& on_;
  const std::uint64_t page_;
  int fd_ = -1;
  std::uint32_t id_ = 0;
  std::uint32_t ioas_ = 0;
  std::uint32_t table_ = 0;
};

}  // namespace vfio_lockstep::fixed
