// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// TCE tables that KVM makes, and groups that kvm-vfio attaches to them (POWER).

#include "odd_calls.hpp"
#include "support/attribute.hpp"

#include <kvm_vfio/uapi/kvm.hpp>

#include <linux/kvm.h>
#include <linux/vfio.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device.
template <class System>
class tce_tables : odd_calls<System> {
  using base = odd_calls<System>;
  using base::cut;
  using base::m_;
  using base::memory_;
  using base::on_;

 public:
  tce_tables(recorder<System>& on, const machine& m, const dma_memory& memory)
      : base(on, m, memory) {}

  void run(const target& t) {
    create();
    numbers_of_tables();
    old_request();
    attach(t, false);
    attach(t, true);
    mapped(t);
    order(t);
    for (const target& other : m_.targets)
      if (!other.comparable && other.group != t.group) {
        without_table_data(other);
        break;
      }
  }

 private:
  /// The window that the host's firmware gives to a group: 1 GiB of pages of 4 KiB.
  static constexpr std::uint64_t pages = 0x40000;
  /// The number of a VM's first table.
  static constexpr std::uint64_t first_number = 0x90000000;

  struct window {
    const char* what;
    std::uint32_t page_shift;
    std::uint64_t offset, size;
    std::uint32_t flags = 0;
  };

  int new_vm() { return on_.make("CREATE_VM", kvm_, KVM_CREATE_VM); }
  int new_kvm_vfio(int vm) {
    kvm_create_device c = support::create_argument();
    on_.ioctl_at("CREATE_DEVICE", vm, KVM_CREATE_DEVICE, c);
    return on_.take("kvm-vfio", static_cast<int>(c.fd));
  }
  int table(int vm, const window& w, std::uint64_t number) {
    u::create_spapr_tce_64 c{};
    c.liobn = number;
    c.page_shift = w.page_shift;
    c.flags = w.flags;
    c.offset = w.offset;
    c.size = w.size;
    return on_.take(std::string("CREATE_SPAPR_TCE_64 ") + w.what,
                    on_.sys().ioctl(vm, u::request_create_spapr_tce_64, support::address_of(c)));
  }
  /// Lets kvm-vfio add or delete a file, or attach one to a table.
  void attribute(const std::string& what, int device, kvm_device_attr a) {
    on_.ioctl_at(what, device, KVM_SET_DEVICE_ATTR, a);
  }
  void file(const std::string& what, int device, std::uint64_t number, std::int32_t fd) {
    attribute(what, device, support::file_attribute(number, support::address_of(fd)));
  }
  void attach(const std::string& what, int device, std::int32_t group, std::int32_t table) {
    kvm_vfio_spapr_tce both{.groupfd = group, .tablefd = table};
    attribute("SET_SPAPR_TCE " + what, device,
              support::file_attribute(u::dev_vfio_group_set_spapr_tce, support::address_of(both)));
  }

  /// Each check of the arguments.
  void create() {
    kvm_ = on_.open("kvm", "/dev/kvm");
    const int vm = new_vm();
    constexpr std::uint64_t most = ~std::uint64_t{0};
    std::uint64_t number = first_number;
    for (const window& w : std::initializer_list<window>{
             {"as the host's", 12, 0, pages},
             {"with a flag", 12, 0, pages, 1},
             {"without pages", 12, 0, 0},
             {"with pages of 2 KiB", 11, 0, pages},
             {"with pages of 64 KiB", 16, 0, pages >> 4},
             {"with the largest pages", 34, 0, 1},
             {"with larger pages", 35, 0, 1},
             {"at the end of the addresses", 12, (most >> 12) - 16, 16},
             {"over the end of the addresses", 12, (most >> 12) - 16, 17},
             {"whose end wraps", 12, most - 15, 16},
             {"whose end wraps to 0", 12, most, 1},
             {"of the last address", 12, most >> 12, 1},
             {"of one page", 12, 0, 1},
         })
      table(vm, w, ++number);
    table(vm, {"with a number of 64 bits", 12, 0, 16}, std::uint64_t{1} << 32);
    u::create_spapr_tce_64 c{};
    c.liobn = ++number;
    c.page_shift = 12;
    c.size = 16;
    const auto* const raw = reinterpret_cast<const std::uint64_t*>(&c);
    const std::vector<std::uint64_t> argument(raw, raw + sizeof c / 8);
    cut("CREATE_SPAPR_TCE_64", vm, u::request_create_spapr_tce_64, argument, sizeof c - 1);
    cut("CREATE_SPAPR_TCE_64", vm, u::request_create_spapr_tce_64, argument, 0);
    on_.ioctl("CREATE_SPAPR_TCE_64 at no address", vm, u::request_create_spapr_tce_64, 0);
    on_.ioctl("CREATE_SPAPR_TCE_64 of no VM", kvm_, u::request_create_spapr_tce_64,
              support::address_of(c));
    on_.close_all();
  }

  /// A VM has one table with a number; another VM can have the number, too.
  void numbers_of_tables() {
    const window small{"of a number", 12, 0, 16};
    kvm_ = on_.open("kvm", "/dev/kvm");
    const int vm = new_vm();
    const int other = new_vm();
    const int first = table(vm, small, first_number);
    table(vm, small, first_number);
    table(vm, {"of a number, with other pages", 16, 0, 16}, first_number);
    table(other, small, first_number);
    table(vm, {"without pages, of a number", 12, 0, 0}, first_number);
    on_.ioctl("an ioctl of a table", first, KVM_CREATE_VM);
    unsigned char byte = 0;
    on_.say("read of a table", on_.sys().pread(first, &byte, 1, 0));
    on_.close("table", first);
    table(vm, small, first_number);
    table(vm, small, first_number);
    on_.close_all();
  }

  /// The request with the struct of Linux 3.1: a number and the bytes of the window.
  void old_request() {
    struct {
      std::uint64_t number;
      std::uint32_t bytes;
    } c{first_number, 0x10000};
    constexpr std::uint32_t request = _IOW(KVMIO, 0xa8, c);
    kvm_ = on_.open("kvm", "/dev/kvm");
    const int vm = new_vm();
    for (const std::uint32_t bytes : {0x10000U, 0x10000U, 0U, 0xfffU, 0x1001U, 0xffffffffU}) {
      c.bytes = bytes;
      on_.take("CREATE_SPAPR_TCE of " + std::to_string(bytes) + " bytes",
               on_.sys().ioctl(vm, request, support::address_of(c)));
      ++c.number;
      if (bytes == 0x10000) c.number = first_number;
    }
    on_.close_all();
  }

  /// Each check of SET_SPAPR_TCE, with a group that has a container, or none.
  void attach(const target& t, bool contained) {
    kvm_ = on_.open("kvm", "/dev/kvm");
    const int vm = new_vm();
    const int other_vm = new_vm();
    const int device = new_kvm_vfio(vm);
    const int other_device = new_kvm_vfio(other_vm);
    const opened_device o = contained ? on_.open_device(t) : opened_device{};
    const int group = contained ? o.group : on_.open("group", t.group);
    const int same = table(vm, {"as the host's", 12, 0, pages}, first_number);
    attach("of a file that is not tracked", device, group, same);
    file("ADD", device, u::dev_vfio_file_add, group);
    attach("of no file", device, -1, same);
    attach("of another file", device, kvm_, same);
    attach("of the table as the file", device, same, same);
    attach("with no table", device, group, -1);
    attach("with another file", device, group, kvm_);
    attach("with a VM", device, group, vm);
    attach("with the group as the table", device, group, group);
    const int others = table(other_vm, {"of another VM", 12, 0, pages}, first_number);
    attach("with the table of another VM", device, group, others);
    int number = 0;
    for (const window& w : std::initializer_list<window>{
             {"with pages of 64 KiB", 16, 0, pages >> 4},
             {"with pages of 16 MiB", 24, 0, pages >> 12},
             {"with pages of 1 GiB", 30, 0, 1},
             {"with larger pages than the window", 31, 0, 1},
             {"with fewer pages", 12, 0, pages - 1},
             {"with one page", 12, 0, 1},
             {"with one page of 64 KiB", 16, 0, 1},
             {"with one page more, in pages of 64 KiB", 16, 0, (pages >> 4) + 1},
             {"behind the first page", 12, 1, 1},
             {"with more pages", 12, 0, pages + 1},
             {"elsewhere", 12, pages, pages},
         }) {
      const int made = table(vm, w, first_number + 1 + static_cast<unsigned>(number++));
      attach(w.what, device, group, made);
    }
    attach("as the host's", device, group, same);
    attach("once more", device, group, same);
    const int second = table(vm, {"as the host's, the second", 12, 0, pages}, first_number + 100);
    attach("with the second", device, group, second);
    attribute("SET_SPAPR_TCE at no address", device,
              support::file_attribute(u::dev_vfio_group_set_spapr_tce));
    attribute("SET_SPAPR_TCE at the end of memory", device,
              support::file_attribute(u::dev_vfio_group_set_spapr_tce, memory_.absent - 4));
    kvm_device_attr elsewhere = support::file_attribute(u::dev_vfio_group_set_spapr_tce);
    elsewhere.group = 2;
    attribute("SET_SPAPR_TCE of another group of attributes", device, elsewhere);
    attach("of another kvm-vfio", other_device, group, others);
    file("DEL", device, u::dev_vfio_file_del, group);
    attach("after DEL", device, group, same);
    file("ADD by the other", other_device, u::dev_vfio_file_add, group);
    attach("by the other", other_device, group, others);
    attach("by the other, with the table of the first", other_device, group, same);
    on_.close_all();
  }

  /// A group whose container gets its own table with the first mapping, and a device's file.
  void mapped(const target& t) {
    kvm_ = on_.open("kvm", "/dev/kvm");
    const int vm = new_vm();
    const int device = new_kvm_vfio(vm);
    const opened_device o = on_.open_device(t);
    const int made = table(vm, {"as the host's", 12, 0, pages}, first_number);
    const int small = table(vm, {"with one page", 12, 0, 1}, first_number + 1);
    file("ADD", device, u::dev_vfio_file_add, o.group);
    attach("before ENABLE", device, o.group, made);
    on_.ioctl("ENABLE", o.container, VFIO_IOMMU_ENABLE);
    attach("before the first mapping", device, o.group, made);
    vfio_iommu_type1_dma_map map{};
    map.argsz = sizeof map;
    map.flags = VFIO_DMA_MAP_FLAG_READ;
    map.vaddr = memory_.there;
    map.size = m_.page;
    on_.ioctl_at("MAP_DMA", o.container, VFIO_IOMMU_MAP_DMA, map);
    attach("after the first mapping", device, o.group, made);
    attach("with one page", device, o.group, small);
    on_.ioctl("DISABLE", o.container, VFIO_IOMMU_DISABLE);
    attach("after DISABLE", device, o.group, made);
    file("ADD of the device", device, u::dev_vfio_file_add, o.device);
    attach("of the device", device, o.device, made);
    file("DEL of the device", device, u::dev_vfio_file_del, o.device);
    on_.close("device", o.device);
    on_.ioctl("UNSET_CONTAINER", o.group, VFIO_GROUP_UNSET_CONTAINER);
    attach("without a container", device, o.group, made);
    on_.close_all();
  }

  /// A group that has no table of the firmware.
  void without_table_data(const target& t) {
    kvm_ = on_.open("kvm", "/dev/kvm");
    const int vm = new_vm();
    const int device = new_kvm_vfio(vm);
    const int group = on_.open("group of a mediated device", t.group);
    const int made = table(vm, {"as the host's", 12, 0, pages}, first_number);
    file("ADD", device, u::dev_vfio_file_add, group);
    attach("without table data", device, group, made);
    attach("without table data, with no table", device, group, -1);
    on_.close_all();
  }

  /// What is closed first.
  void order(const target& t) {
    for (const std::string_view first : {"table", "group", "kvm-vfio", "VM"}) {
      kvm_ = on_.open("kvm", "/dev/kvm");
      const int vm = new_vm();
      const int device = new_kvm_vfio(vm);
      const int group = on_.open("group", t.group);
      const int made = table(vm, {"as the host's", 12, 0, pages}, first_number);
      file("ADD", device, u::dev_vfio_file_add, group);
      attach("as the host's", device, group, made);
      on_.close(std::string(first), first == "table"      ? made
                                    : first == "group"    ? group
                                    : first == "kvm-vfio" ? device
                                                          : vm);
      if (first != "kvm-vfio" && first != "group") {
        attach("again", device, group, made);
        file("DEL", device, u::dev_vfio_file_del, group);
      }
      if (first != "VM") table(vm, {"of the same number", 12, 0, pages}, first_number);
      on_.open("group again", t.group);
      on_.close_all();
    }
  }

  int kvm_ = -1;
};

}  // namespace vfio_lockstep::fixed
