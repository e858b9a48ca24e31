// SPDX-License-Identifier: BSL-1.0
#include "generate.hpp"

#include "support/attribute.hpp"

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/kvm.h>
#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <string>
#include <vector>

namespace vfio_lockstep {

namespace {

namespace u = kvm_vfio::uapi;

class random {
 public:
  explicit random(std::uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  std::uint64_t next() noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1d;
  }
  int below(int n) noexcept { return static_cast<int>((next() >> 33) % static_cast<unsigned>(n)); }
  bool percent(int p) noexcept { return below(100) < p; }
  template <class T>
  T of(std::initializer_list<T> choices) noexcept {
    return *(choices.begin() + below(static_cast<int>(choices.size())));
  }

 private:
  std::uint64_t state_;
};

class generator {
 public:
  generator(std::uint64_t seed, const machine& m) : r_(seed), m_(m) {}

  std::vector<step> make(int length) {
    setup();
    while (steps_.size() < static_cast<std::size_t>(length)) any();
    // The end in a random order of kinds: who outlives whom differs.
    int first = r_.below(kinds_with_slots);
    for (int k = 0; k < kinds_with_slots; ++k)
      for (int i = 0; i < slots; ++i)
        close({static_cast<kind>((first + k * 3) % kinds_with_slots), i});
    return std::move(steps_);
  }

 private:
  // What is called.

  step& add(step s) { return steps_.emplace_back(std::move(s)); }
  void open(kind k, int slot, const std::string& path, const std::string& device = {}) {
    add({.what = verb::open, .made = {k, slot}, .makes = true, .device = device, .name = path});
  }
  void close(ref on) {
    add({.what = verb::close, .on = on});
    if (static_cast<int>(on.what) < kinds_with_slots) expected(on) = nullptr;
  }
  step& call(ref on, const char* name, std::uint64_t request, std::vector<unsigned char> argument,
             std::vector<patch> patches = {}) {
    return add({.what = verb::ioctl,
                .on = on,
                .name = name,
                .request = request,
                .argument = std::move(argument),
                .where = some_place(),
                .patches = std::move(patches)});
  }
  step& call(ref on, const char* name, std::uint64_t request, std::uint64_t value) {
    return add({.what = verb::ioctl,
                .on = on,
                .name = name,
                .request = request,
                .number = value,
                .where = place::value});
  }

  // Choices.

  place some_place() {
    if (careful_ || !r_.percent(12)) return r_.percent(50) ? place::good : place::tight;
    return r_.of({place::straddling, place::null, place::unmapped, place::read_only, place::high});
  }
  int slot() { return r_.percent(60) ? 0 : r_.below(slots); }
  ref some(kind k) { return {k, slot()}; }
  ref anything() { return some(static_cast<kind>(r_.below(static_cast<int>(kind::closed) + 1))); }
  ref mostly(kind k) { return r_.percent(90) ? some(k) : anything(); }
  const target& some_target() {
    return m_.targets[static_cast<std::size_t>(r_.below(static_cast<int>(m_.targets.size())))];
  }
  // The device that a slot probably holds, or, for a group, the device that it was opened for.
  // Null: none.
  const target*& expected(ref on) {
    return expected_[static_cast<std::size_t>(on.what)][static_cast<std::size_t>(on.slot)];
  }
  void expect(ref on, const target& t) {
    if (!expected(on) || r_.percent(25)) expected(on) = &t;
  }
  // Another device of the group, if there is one.
  const target& neighbour(const target& t) {
    std::vector<const target*> of_group;
    for (const target& other : m_.targets)
      if (other.group == t.group) of_group.push_back(&other);
    return *of_group[static_cast<std::size_t>(r_.below(static_cast<int>(of_group.size())))];
  }
  // A struct's size, mostly the right one.
  std::uint32_t argsz(std::size_t right, std::initializer_list<std::uint32_t> others = {}) {
    if (careful_ || !r_.percent(15)) return static_cast<std::uint32_t>(right);
    if (others.size() != 0 && r_.percent(50)) return r_.of(others);
    const auto n = static_cast<std::uint32_t>(right);
    return r_.of({0U, 4U, n - 1, n - 4, n + 4, n + 64, 0x7fffffffU, ~0U});
  }
  std::uint32_t flags(std::uint32_t right) {
    return careful_ || !r_.percent(10) ? right
                                       : r_.of({1U << r_.below(32), ~0U, right | 0x100U, 0U});
  }

  // Ways to get somewhere.

  void setup() {
    careful_ = true;
    const int n = 1 + r_.below(3);
    for (int i = 0; i < n; ++i) {
      if (m_.iommufd && r_.percent(45)) bound_device(i);
      else opened_device(i);
    }
    if (r_.percent(50)) vm();
    careful_ = false;
  }
  void opened_device(int i) {
    const target& t = some_target();
    const int c = r_.percent(70) ? 0 : i;
    open_group(i, t);
    if (m_.iommufd && r_.percent(30)) {
      join_iommufd({kind::group, i});
      if (r_.percent(80)) get_device({kind::group, i}, t, i);
      return;
    }
    open(kind::container, c, "/dev/vfio/vfio");
    if (r_.percent(5)) return;
    set_container({kind::group, i}, {kind::container, c});
    if (r_.percent(5)) return;
    call({kind::container, c}, "SET_IOMMU", VFIO_SET_IOMMU,
         m_.spapr         ? VFIO_SPAPR_TCE_IOMMU
         : r_.percent(70) ? VFIO_TYPE1v2_IOMMU
                          : VFIO_TYPE1_IOMMU);
    if (m_.spapr && r_.percent(80)) call({kind::container, c}, "ENABLE", VFIO_IOMMU_ENABLE, 0);
    if (r_.percent(80)) get_device({kind::group, i}, t, i);
    if (r_.percent(25)) get_device({kind::group, i}, neighbour(t), i + 1);
  }
  void open_group(int i, const target& t) {
    open(kind::group, i, t.group);
    expect({kind::group, i}, t);
  }
  void open_cdev(int i, const target& t) {
    i = device_slot(t, i);
    open(kind::cdev, i, t.cdev.empty() ? "/dev/vfio/devices/vfio99" : t.cdev, t.device);
    expect({kind::cdev, i}, t);
  }
  void bound_device(int i) {
    const target& t = some_target();
    if (t.cdev.empty()) return;
    open(kind::iommufd, 0, "/dev/iommu");
    open_cdev(i, t);
    i = device_slot(t, i);
    bind({kind::cdev, i}, {kind::iommufd, 0});
    ioas_alloc({kind::iommufd, 0});
    if (r_.percent(70)) attach({kind::cdev, i}, id());
  }
  void vm() {
    call({kind::kvm}, "CREATE_VM", KVM_CREATE_VM, 0).made = {kind::vm, 0};
    steps_.back().makes = true;
    create_kvm_vfio({kind::vm, 0}, 0);
  }

  // Random steps.

  void any() {
    const int n = r_.below(100);
    if (n < 12) return open_something();
    if (n < 18) return close(some(static_cast<kind>(r_.below(kinds_with_slots))));
    if (n < 21) return dup();
    if (n < 33) return group_call();
    if (n < 57) return container_call();
    if (n < 78) return device_call(r_.percent(70) ? kind::device : kind::cdev);
    if (n < 90) return m_.iommufd ? iommufd_call() : container_call();
    if (n < 97) return kvm_call();
    unknown();
  }
  void open_something() {
    const target& t = some_target();
    switch (r_.below(m_.iommufd ? 8 : 5)) {
      case 0:
      case 1: return open_group(slot(), t);
      case 2: return open(kind::container, slot(), "/dev/vfio/vfio");
      case 3:
        if (r_.percent(50)) return open(kind::group, slot(), "/dev/vfio/99");
        return open_group(slot(), t);
      case 4:
        if (r_.percent(25))
          add({.what = verb::open_path, .made = some(kind::path), .makes = true, .name = t.group});
        else add({.what = verb::eventfd, .made = some(kind::event), .makes = true});
        return;
      case 5:
      case 6: return open_cdev(slot(), t);
      default: return open(kind::iommufd, slot(), "/dev/iommu");
    }
  }
  void dup() {
    const ref from = some(static_cast<kind>(r_.below(kinds_with_slots)));
    const bool device = from.what == kind::device || from.what == kind::cdev;
    int to = r_.below(slots);
    if (device) to = from.slot < slots - 1 ? to % (slots - 1) : from.slot;
    if (device && expected(from)) expect({from.what, to}, *expected(from));
    add({.what = verb::dup, .on = from, .made = {from.what, to}, .makes = true});
  }
  void unknown() {
    const ref on = anything();
    // TIOCGWINSZ and friends are every file's; these are nobody's, or another file's.
    const std::uint32_t request =
        r_.of<std::uint32_t>({_IO(VFIO_TYPE, VFIO_BASE + 99), VFIO_GET_API_VERSION,
                              VFIO_DEVICE_RESET, _IO(';', 0xff), u::request_bind_iommufd});
    if (request == VFIO_DEVICE_RESET && on.what != kind::container && on.what != kind::group)
      return;
    call(on, "unknown", request, bytes(std::uint32_t{16}, 0, 0, 0));
  }

  void set_container(ref on, ref to) {
    call(on, "SET_CONTAINER", VFIO_GROUP_SET_CONTAINER, bytes(std::int32_t{-1}), {{0, to}});
  }
  // The last slot is for devices whose own calls are not compared.
  static int device_slot(const target& t, int wanted) {
    return t.comparable ? wanted % (slots - 1) : slots - 1;
  }
  step& get_device(ref on, const std::string& name, int to) {
    const std::string with_options = name + device_options();
    std::vector<unsigned char> argument(with_options.begin(), with_options.end());
    argument.insert(argument.end(), 1, 0);
    step& s = call(on, "GET_DEVICE_FD", VFIO_GROUP_GET_DEVICE_FD, std::move(argument));
    s.made = {kind::device, to};
    s.device = name;
    s.makes = true;
    return s;
  }
  void get_device(ref on, const target& t, int to) {
    to = device_slot(t, to);
    get_device(on, t.device, to);
    expect({kind::device, to}, t);
  }
  // What may follow the name of a device: blanks, and the token of a virtual function.
  std::string device_options() {
    if (careful_ || r_.percent(80)) return {};
    const std::string token = "vf_token=00000000-0000-0000-0000-000000000001";
    return r_.of<std::string>(
        {" ", "  ", "\n", " \t", " " + token, token, " vf_token=", " other", "  " + token + " "});
  }
  void group_call() {
    const ref on = mostly(kind::group);
    switch (r_.below(6)) {
      case 0: {
        const vfio_group_status s{.argsz = argsz(sizeof s), .flags = flags(0)};
        call(on, "GET_STATUS", VFIO_GROUP_GET_STATUS, bytes(s));
        return;
      }
      case 1:
      case 2: return set_container(on, mostly(some_container()));
      case 3: call(on, "UNSET_CONTAINER", VFIO_GROUP_UNSET_CONTAINER, 0); return;
      default:
        if (r_.percent(10)) {
          get_device(on, r_.of<std::string>({"", "nosuch", "0000:ff:1f.7"}), r_.below(slots - 1));
          return;
        }
        if (on.what == kind::group && expected(on) && r_.percent(70))
          return get_device(on, neighbour(*expected(on)), slot());
        return get_device(on, some_target(), slot());
    }
  }

  static bool not_compared(ref on) {
    return (on.what == kind::device || on.what == kind::cdev) && on.slot == slots - 1;
  }
  void container_call() {
    const ref on = mostly(some_container());
    if (not_compared(on)) return;
    switch (r_.below(12)) {
      case 0: call(on, "GET_API_VERSION", VFIO_GET_API_VERSION, 0); return;
      case 1: {
        // Up to the highest that any release knows, and beyond.
        const std::uint64_t n = r_.percent(90) ? static_cast<unsigned>(r_.below(13)) : r_.next();
        if (m_.spapr && n == VFIO_SPAPR_TCE_v2_IOMMU) return;  // version 2 is not modelled
        call(on, "CHECK_EXTENSION", VFIO_CHECK_EXTENSION, n);
        return;
      }
      case 2:
      case 3: {
        const std::uint64_t type = r_.percent(80)
                                       ? r_.of<std::uint64_t>({1, 3, 3, m_.spapr ? 2U : 3U})
                                       : static_cast<unsigned>(r_.below(12));
        if (m_.spapr && type == VFIO_SPAPR_TCE_v2_IOMMU) return;
        call(on, "SET_IOMMU", VFIO_SET_IOMMU, type);
        return;
      }
      case 4:
      case 5: return m_.spapr ? spapr_info(on) : get_info(on);
      case 6:
      case 7:
      case 8: return map(on);
      default: return unmap(on);
    }
  }
  void get_info(ref on) {
    vfio_iommu_type1_info info{};
    info.argsz = argsz(24, {8, 12, 16, 20, 24, 32, 39, 40, 72, 88, 100, 104, 128, 256});
    info.flags = flags(0);
    if (r_.percent(40)) info.argsz = 256;
    auto argument = bytes(info);
    if (info.argsz <= 256 && info.argsz > argument.size()) argument.resize(info.argsz, 0x11);
    call(on, "IOMMU_GET_INFO", VFIO_IOMMU_GET_INFO, std::move(argument));
  }
  void spapr_info(ref on) {
    // A device's request of DISABLE's number is IOEVENTFD, which is not modelled.
    if (on.what == kind::device || on.what == kind::cdev) return;
    vfio_iommu_spapr_tce_info info{};
    info.argsz = argsz(sizeof info);
    info.flags = flags(0);
    switch (r_.below(4)) {
      case 0: call(on, "ENABLE", VFIO_IOMMU_ENABLE, 0); return;
      case 1: call(on, "DISABLE", VFIO_IOMMU_DISABLE, 0); return;
      default:
        call(on, "SPAPR_TCE_GET_INFO", VFIO_IOMMU_SPAPR_TCE_GET_INFO, bytes(info, std::uint64_t{}));
    }
  }
  std::uint64_t iova() {
    const std::uint64_t p = m_.page;
    if (r_.percent(85)) return 0x100000 + p * static_cast<unsigned>(r_.below(12));
    return r_.of<std::uint64_t>({0, p, 0x100000 + 1, 0x100000 + p / 2, 0xfee00000 - p, 0xfee00000,
                                 0xfef00000, std::uint64_t{1} << 32, (std::uint64_t{1} << 39) - p,
                                 std::uint64_t{1} << 39, std::uint64_t{1} << 48,
                                 (std::uint64_t{1} << 30) - p, std::uint64_t{1} << 63,
                                 ~std::uint64_t{0} - p + 1, ~std::uint64_t{0}});
  }
  std::uint64_t length() {
    const std::uint64_t p = m_.page;
    if (r_.percent(88)) return p * static_cast<unsigned>(1 + r_.below(4));
    return r_.of<std::uint64_t>({0, 1, p - 1, p + 1, p / 2, p * 12});
  }
  void map(ref on) {
    vfio_iommu_type1_dma_map m{};
    m.argsz = argsz(sizeof m);
    m.flags = r_.percent(85) ? r_.of({1U, 2U, 3U, 3U}) : r_.of({0U, 4U, 7U, 8U, 1U << 31});
    m.vaddr = r_.percent(94) ? m_.page * static_cast<unsigned>(r_.below(4)) : r_.of({1U, 512U});
    m.iova = iova();
    m.size = length();
    call(on, "MAP_DMA", VFIO_IOMMU_MAP_DMA, bytes(m),
         {{offsetof(decltype(m), vaddr), {kind::dma_memory}}});
    if (r_.percent(6)) odd_memory(steps_.back(), offsetof(decltype(m), vaddr));
  }
  // Memory that the program may not have, or not for writing. Both sides see the same program.
  void odd_memory(step& s, std::size_t at) {
    const auto where =
        r_.of<std::uint64_t>({0, 0x1000, 0x400000, 0x401000, 1ULL << 46, 0xffff800000000000});
    s.patches.clear();
    if (s.argument.size() >= at + sizeof where)
      std::memcpy(s.argument.data() + at, &where, sizeof where);
  }
  void unmap(ref on) {
    vfio_iommu_type1_dma_unmap un{};
    constexpr std::size_t size = offsetof(vfio_iommu_type1_dma_unmap, data);
    un.argsz = argsz(size);
    un.iova = iova();
    un.size = r_.percent(80) ? length() : m_.page * 64;
    if (r_.percent(10)) {
      un.flags = r_.of({2U, 2U, 2U, 1U, 4U, 6U, 8U, 1U << 31});
      if (r_.percent(70)) un.iova = un.size = 0;
    }
    auto argument = bytes(un);
    argument.resize(size);
    call(on, "UNMAP_DMA", VFIO_IOMMU_UNMAP_DMA, std::move(argument));
  }

  void device_call(kind k) {
    const ref on = mostly(k);
    // read(2) and pread(2) are one in the simulator, and an event has no pread.
    const bool event = on.what == kind::event;
    if (k == kind::cdev && (r_.percent(50) || not_compared(on))) return cdev_call(on);
    if (not_compared(on)) return;
    const target* const t = device_in(on);
    if (t && t->pci.bus_resets && r_.percent(12)) return hot_reset(on);
    switch (r_.below(14)) {
      case 0: {
        vfio_device_info info{};
        info.argsz = argsz(sizeof info, {16, 20, 24, 32});
        call(on, "DEVICE_GET_INFO", VFIO_DEVICE_GET_INFO, bytes(info));
        return;
      }
      case 1:
      case 2: {
        vfio_region_info info{};
        info.argsz = argsz(sizeof info, {48, 64});
        info.flags = flags(0);
        info.index = static_cast<std::uint32_t>(r_.below(11));
        call(on, "GET_REGION_INFO", VFIO_DEVICE_GET_REGION_INFO, bytes(info));
        return;
      }
      case 3: {
        const vfio_irq_info info{.argsz = argsz(sizeof info),
                                 .flags = flags(0),
                                 .index = static_cast<std::uint32_t>(r_.below(6)),
                                 .count = 9};
        call(on, "GET_IRQ_INFO", VFIO_DEVICE_GET_IRQ_INFO, bytes(info));
        return;
      }
      case 4:
      case 5:
      case 6: return set_irqs(on);
      case 7: return feature(on);
      case 8:
        if (r_.percent(20)) call(on, "RESET", VFIO_DEVICE_RESET, 0);
        else read_event();
        return;
      case 9: return event ? read_event() : write_config(on);
      case 10: return map_region(on);
      case 11: return event ? read_event() : write_region(on);
      default: return event ? read_event() : read_device(on);
    }
  }
  void read_event() {
    step& s = add({.what = verb::read_event, .on = some(kind::event)});
    s.argument = bytes(std::uint64_t{0});
  }
  // What INTx is triggered by, masked by and unmasked by, one after the other.
  void use_intx(ref on) {
    const auto set = [&](std::uint32_t how, const std::vector<patch>& patches = {}, int data = -1) {
      auto argument = bytes(std::uint32_t{24}, how, 0U, 0U, 1U, data);
      call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS, std::move(argument), patches);
    };
    careful_ = true;
    const ref event = some(kind::event);
    const ref unmask = some(kind::event);
    add({.what = verb::eventfd, .made = event, .makes = true});
    add({.what = verb::eventfd, .made = unmask, .makes = true});
    set(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, {{20, event}});
    for (int i = 3 + r_.below(8); i > 0; --i) {
      switch (r_.below(9)) {
        case 0:
        case 1: set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER); break;
        case 2: set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK); break;
        case 3: set(VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_UNMASK, {}, r_.below(2)); break;
        case 4:
          set(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK,
              {{20, r_.percent(70)   ? unmask
                    : r_.percent(40) ? ref{kind::minus_one}
                                     : anything()}});
          break;
        case 5:
          add({.what = verb::write_event,
               .on = r_.percent(80) ? unmask : event,
               .number =
                   r_.of<std::uint64_t>({1, 1, 0, 5, ~std::uint64_t{0}, ~std::uint64_t{0} - 1})});
          break;
        case 6: {
          step& s = add({.what = verb::pwrite, .on = on, .name = "config"});
          s.number = config + PCI_COMMAND;
          s.argument = bytes(r_.of<std::uint16_t>({2, 3, 0x402, 0x403}));
          break;
        }
        case 7:
          if (r_.percent(30)) close(unmask);
          break;
        default: break;
      }
      if (r_.percent(50))
        add({.what = verb::read_event, .on = r_.percent(60) ? event : unmask}).argument =
            bytes(std::uint64_t{0});
    }
    careful_ = false;
  }
  void set_irqs(ref on) {
    if (device_in(on) && device_in(on)->pci.intx && r_.percent(12)) return use_intx(on);
    std::uint32_t data = r_.percent(45) ? VFIO_IRQ_SET_DATA_EVENTFD : 1U << r_.below(3);
    std::uint32_t action = 8U << r_.below(3);
    if (r_.percent(60)) action = VFIO_IRQ_SET_ACTION_TRIGGER;
    if (r_.percent(3)) data = r_.of({0U, 3U, 6U});
    if (r_.percent(3)) action = r_.of({0U, 0x18U, 0x30U});
    std::uint32_t index = r_.percent(90) ? static_cast<std::uint32_t>(r_.below(5)) : 5U;
    std::uint32_t count = r_.percent(75) ? 1 : r_.of({0U, 0U, 2U, 33U, ~0U});
    std::uint32_t start = r_.percent(90) ? 0 : r_.of({1U, 7U, ~0U});
    const target* const t = device_in(on);
    // Several vectors at once: mostly a part of what the device has, sometimes more.
    if (t && vectors(t->pci, 1) + vectors(t->pci, 2) > 1 && r_.percent(65)) {
      index = vectors(t->pci, 1) > 1 ? 1 : 2;
      if (r_.percent(6)) index = 3 - index;
      const std::uint32_t all = vectors(t->pci, index);
      const auto some = [&] {
        return static_cast<std::uint32_t>(r_.below(static_cast<int>(std::max(all, 1U))));
      };
      start = r_.percent(60) ? 0 : r_.percent(90) ? some() : r_.of({all - 1, all, all + 1});
      count = r_.percent(25)   ? all - std::min(start, all)
              : r_.percent(80) ? 1 + some() / (r_.percent(50) ? 2 : 8)
                               : r_.of({0U, 1U, all, all - 1, all + 1});
      if (start <= all && r_.percent(90)) count = std::min(count, all - start);
    }
    const std::uint32_t each = data == 2 ? 1 : data == 4 ? 4 : 0;
    constexpr std::uint32_t most = 80;
    const std::uint32_t right = 20 + each * (count < most ? count : 0);
    auto argument = bytes(argsz(right), flags(data | action), index, start, count);
    std::vector<patch> patches;
    const int entries = count < most ? static_cast<int>(count) : 1;
    for (int i = 0; i < entries && each != 0; ++i) {
      if (each == 1) {
        argument.push_back(static_cast<unsigned char>(r_.below(2)));
      } else {
        argument.resize(argument.size() + 4, 0xff);
        patches.push_back({argument.size() - 4, vector_file(entries)});
      }
    }
    call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS, std::move(argument), std::move(patches));
    if (r_.percent(60)) read_event();
  }
  // Of many descriptors, only a few are not eventfds: a call with one of them fails.
  ref vector_file(int of_how_many) {
    if (r_.percent(15)) return {kind::minus_one};
    if (of_how_many == 1 ? r_.percent(10) : r_.below(10 * of_how_many) == 0) return anything();
    return {kind::event, r_.percent(90) ? 0 : r_.below(slots)};
  }
  static std::uint32_t vectors(const kvm_vfio::sim::pci_spec& pci, std::uint32_t index) {
    return index == VFIO_PCI_MSI_IRQ_INDEX    ? pci.msi_vectors
           : index == VFIO_PCI_MSIX_IRQ_INDEX ? pci.msix_vectors
                                              : 1;
  }
  // The device that a descriptor probably is of. Null: it is no device, or nothing is known of it.
  const target* device_in(ref on) {
    if ((on.what != kind::device && on.what != kind::cdev) || not_compared(on)) return nullptr;
    return expected(on);
  }
  void hot_reset(ref on) {
    if (r_.percent(60)) {
      const std::uint32_t size = r_.percent(90) ? r_.of({12U, 16U, 20U, 28U, 28U, 36U, 100U}) : 11U;
      call(on, "GET_PCI_HOT_RESET_INFO", VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
           bytes(size, flags(0), std::uint32_t{7}, std::uint64_t{}, std::uint64_t{}));
      return;
    }
    const std::uint32_t count =
        r_.percent(75) ? (on.what == kind::cdev ? 0U : 1U) : r_.of({0U, 1U, 2U, 3U});
    auto argument = bytes(argsz(12 + 4 * count), flags(0), count);
    std::vector<patch> patches;
    for (std::uint32_t i = 0; i < count; ++i) {
      argument.resize(argument.size() + 4, 0xff);
      ref to = r_.percent(85) ? some(kind::group) : anything();
      // Mostly the group of the device.
      for (int j = 0; j < slots && r_.percent(80); ++j) {
        const target* const of = expected({kind::group, j});
        if (of && expected(on) && of->group == expected(on)->group) to = {kind::group, j};
      }
      patches.push_back({argument.size() - 4, to});
    }
    call(on, "PCI_HOT_RESET", VFIO_DEVICE_PCI_HOT_RESET, std::move(argument), std::move(patches));
  }
  void feature(ref on) {
    // A container's request of the same number tracks dirty pages, which is not modelled.
    if (on.what == kind::container || on.what == kind::iommufd) return;
    vfio_device_feature f{};
    f.argsz = argsz(offsetof(vfio_device_feature, data));
    // Power management and tokens change what later calls find; probing does not.
    const std::uint32_t which = r_.percent(60) ? r_.of({0U, 1U, 2U, 10U}) : 100U;
    const std::uint32_t how =
        r_.of({std::uint32_t{VFIO_DEVICE_FEATURE_PROBE},
               std::uint32_t{VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET},
               std::uint32_t{VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET}, 0U,
               std::uint32_t{VFIO_DEVICE_FEATURE_GET}});
    f.flags = which | how;
    auto argument = bytes(f);
    argument.resize(offsetof(vfio_device_feature, data));
    call(on, "FEATURE", VFIO_DEVICE_FEATURE, std::move(argument));
  }
  static constexpr std::uint64_t config = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;
  void read_device(ref on) {
    const target* const t = device_in(on);
    if (t && r_.percent(50)) return read_config(on, *t);
    if (t && r_.percent(60)) return read_region(on, *t);
    // A region of any device, or the start of a configuration space.
    const std::uint64_t region = static_cast<std::uint64_t>(r_.below(11));
    const std::uint64_t at = r_.percent(85)
                                 ? 4 * static_cast<std::uint64_t>(r_.below(16))
                                 : r_.of<std::uint64_t>({1, 0x0e, 0x100, 0xfff, 0x1000, 0x1004});
    step& s = add({.what = verb::pread, .on = on, .name = "region " + std::to_string(region)});
    s.number = (region << 40) + (region == 7 ? at : at & ~std::uint64_t{3});
    s.argument.resize(r_.percent(95) ? 4 : 0);
    // What a BAR holds is the device's own business. What is behind the header differs.
    if (region != 7 || at >= PCI_CAPABILITY_LIST) s.masks.push_back({0, 4});
  }
  void read_config(ref on, const target& t) {
    const int end = t.pci.express ? 4096 : 256;
    const std::uint64_t at =
        r_.percent(70) ? 4 * static_cast<std::uint64_t>(r_.below(64))
        : r_.percent(60)
            ? static_cast<std::uint64_t>(r_.below(end))
            : r_.of<std::uint64_t>({1, 0x0e, 0xfc, 0xfe, 0xff, 0x100, 0x104, 0xfff, 0x1000});
    const std::size_t size = r_.percent(70) ? 4 : r_.of<std::size_t>({0, 1, 2, 3, 8, 64, 64, 256});
    step& s = add({.what = verb::pread, .on = on, .only_for = t.device, .name = "config"});
    s.number = config + at;
    s.argument.resize(size);
    // The topology has no pointer to capabilities that the status register does not announce.
    for (std::size_t i = 0; i < size; ++i)
      if (at + i == PCI_CAPABILITY_LIST && t.pci.capabilities.empty()) s.masks.push_back({i, 1});
  }
  // An offset in a region of this size: near its ends, or near its MSI-X table.
  std::uint64_t place_in(const kvm_vfio::sim::pci_spec& pci, std::uint64_t region,
                         std::uint64_t size) {
    if (pci.msix_vectors != 0 && region == pci.msix_table.bar && r_.percent(60)) {
      const std::uint64_t start = pci.msix_table.offset;
      const std::uint64_t end = start + 16 * std::uint64_t{pci.msix_vectors};
      return r_.of<std::uint64_t>({start, start + 4, start + 8, start >= 8 ? start - 8 : start,
                                   end - 4, end - 8, end, end + 4, start + 16});
    }
    return r_.of<std::uint64_t>({0, 4, 8, size / 2, size - 4, size - 8, size, size + 4});
  }
  std::uint64_t region_of(const kvm_vfio::sim::pci_spec& pci) {
    std::vector<std::uint64_t> there;
    for (std::size_t i = 0; i < pci.bars.size(); ++i)
      if (pci.bars[i].size != 0) there.push_back(i);
    if (there.empty() || r_.percent(10)) return static_cast<std::uint64_t>(r_.below(11));
    return there[static_cast<std::size_t>(r_.below(static_cast<int>(there.size())))];
  }
  static std::uint64_t size_of_region(const kvm_vfio::sim::pci_spec& pci, std::uint64_t region) {
    return region < pci.bars.size() ? pci.bars[static_cast<std::size_t>(region)].size : 0;
  }
  // What is read of a BAR is the device's own business, but for the MSI-X table.
  void read_region(ref on, const target& t) {
    const std::uint64_t region = region_of(t.pci);
    if (region == VFIO_PCI_CONFIG_REGION_INDEX) return read_config(on, t);
    const std::uint64_t at = place_in(t.pci, region, size_of_region(t.pci, region));
    step& s = add({.what = verb::pread,
                   .on = on,
                   .only_for = t.device,
                   .name = "region " + std::to_string(region)});
    s.number = (region << 40) + (at & ((std::uint64_t{1} << 40) - 1));
    s.argument.resize(m_.any_access ? r_.of<std::size_t>({4, 4, 8, 16, 32, 3, 0})
                                    : r_.of<std::size_t>({4, 4, 0}));
    for (std::size_t i = 0; i < s.argument.size(); ++i)
      if (!in_table(t.pci, region, at + i)) s.masks.push_back({i, 1});
  }
  static bool in_table(const kvm_vfio::sim::pci_spec& pci, std::uint64_t region, std::uint64_t at) {
    return pci.msix_vectors != 0 && region == pci.msix_table.bar && at >= pci.msix_table.offset &&
           at < pci.msix_table.offset + 16 * std::uint64_t{pci.msix_vectors};
  }
  // A write that reaches the device could make it act, so only what VFIO keeps for itself, what is
  // behind the end, and memory without a device behind it is written.
  void write_region(ref on) {
    const target* const t = device_in(on);
    if (!t) return read_event();
    const std::uint64_t region = region_of(t->pci);
    const std::uint64_t size = size_of_region(t->pci, region);
    if (region == VFIO_PCI_CONFIG_REGION_INDEX) return write_config(on);
    const std::uint64_t at = place_in(t->pci, region, size);
    std::size_t count = r_.of<std::size_t>({4, 4, 8, 16, 0});
    constexpr std::uint64_t large = std::uint64_t{1} << 32;
    for (std::size_t i = 0; i < count; ++i)
      if (size < large && at + i < size && !in_table(t->pci, region, at + i)) count = i;
    step& s = add({.what = verb::pwrite,
                   .on = on,
                   .only_for = t->device,
                   .name = "region " + std::to_string(region)});
    s.number = (region << 40) + (at & ((std::uint64_t{1} << 40) - 1));
    s.argument.assign(count, 0x5a);
  }
  void map_region(ref on) {
    // An iommufd maps objects, which are not modelled.
    if (on.what == kind::iommufd || on.what == kind::vm || !m_.maps) return;
    const target* const t = device_in(on);
    const std::uint64_t region = t ? region_of(t->pci) : static_cast<std::uint64_t>(r_.below(11));
    const std::uint64_t p = m_.page;
    const std::uint64_t whole = t ? size_of_region(t->pci, region) : p;
    const std::uint64_t at =
        r_.percent(50)
            ? 0
            : r_.of<std::uint64_t>({0, p, whole >= p ? whole - p : p, whole, 16, whole / 2});
    add({.what = verb::mmap,
         .on = on,
         .name = "region " + std::to_string(region),
         .number = (region << 40) + (at & ((std::uint64_t{1} << 40) - 1)),
         .size = r_.of<std::uint64_t>({p, p, whole, whole + 1, whole + p, 1, 2 * p, 0})});
  }
  void write_config(ref on) {
    step& s = add({.what = verb::pwrite, .on = on, .name = "config"});
    const target* const t = device_in(on);
    std::uint64_t msi = 0;
    if (t)
      for (const kvm_vfio::sim::capability_spec& c : t->pci.capabilities)
        if (c.id == PCI_CAP_ID_MSI && !is_extended(c)) msi = c.offset;
    std::uint64_t at = 0;
    switch (r_.below(6)) {
      case 0:  // a BAR is sized
        at = PCI_BASE_ADDRESS_0 + 4 * static_cast<unsigned>(r_.below(6));
        s.argument =
            bytes(r_.percent(80) ? ~std::uint32_t{0} : static_cast<std::uint32_t>(r_.next()));
        break;
      case 1:
        at = PCI_COMMAND;  // without parity, which not every function implements
        s.argument = bytes(r_.of<std::uint16_t>({0, 2, 3, 6, 0x402, 0xffbf}));
        break;
      case 2:
        at = PCI_INTERRUPT_LINE;
        s.argument = {static_cast<unsigned char>(r_.below(256))};
        break;
      case 3:  // nothing here can be written
        at = r_.of<std::uint64_t>({0, 8, 0x2c});
        s.argument = bytes(static_cast<std::uint32_t>(r_.next()));
        break;
      case 4:
        at = PCI_ROM_ADDRESS;
        s.argument = bytes(r_.of({~0U, 0xfffff800U, 0U}));
        break;
      default:
        at = PCI_INTERRUPT_LINE;
        s.argument = {static_cast<unsigned char>(r_.below(256))};
        if (msi == 0) break;
        s.only_for = t->device;
        at = msi + PCI_MSI_FLAGS;
        s.argument = bytes(static_cast<std::uint16_t>(r_.below(256)));
        if (r_.percent(60)) break;
        at = msi + r_.of({4U, 8U});
        s.argument = bytes(static_cast<std::uint32_t>(r_.next()));
        break;
    }
    s.number = config + at;
    step again = s;
    again.what = verb::pread;
    again.number = config + (at & ~std::uint64_t{3});
    again.argument.resize(4);
    add(std::move(again));
  }

  // Character devices and iommufd.

  std::uint32_t id() {
    return r_.percent(92) ? static_cast<std::uint32_t>(1 + r_.below(r_.percent(60) ? 3 : 6))
                          : r_.of({0U, 99U, 0x7fffffffU, ~0U});
  }
  void bind(ref on, ref to) {
    const u::device_bind_iommufd b{
        .argsz = argsz(sizeof b), .flags = flags(0), .iommufd = -1, .out_devid = 0};
    call(on, "BIND_IOMMUFD", u::request_bind_iommufd, bytes(b), {{8, to}});
  }
  void attach(ref on, std::uint32_t to) {
    const u::device_attach_iommufd_pt a{.argsz = argsz(sizeof a), .flags = flags(0), .pt_id = to};
    call(on, "ATTACH", u::request_attach_iommufd_pt, bytes(a));
  }
  void cdev_call(ref on) {
    switch (r_.below(6)) {
      case 0:
      case 1: return bind(on, mostly(kind::iommufd));
      case 2:
      case 3:
      case 4: return attach(on, id());
      default: {
        const u::device_detach_iommufd_pt d{.argsz = argsz(sizeof d), .flags = flags(0)};
        call(on, "DETACH", u::request_detach_iommufd_pt, bytes(d));
      }
    }
  }
  // The compatibility mode of iommufd: an iommufd as a container.

  kind some_container() { return m_.iommufd && r_.percent(25) ? kind::iommufd : kind::container; }
  void join_iommufd(ref group) {
    const ref fd{kind::iommufd, r_.percent(80) ? 0 : group.slot};
    open(kind::iommufd, fd.slot, "/dev/iommu");
    if (r_.percent(30)) ioas_alloc(fd);
    if (r_.percent(20)) vfio_ioas(fd);
    set_container(group, fd);
    if (r_.percent(50))
      call(fd, "SET_IOMMU", VFIO_SET_IOMMU, r_.percent(70) ? VFIO_TYPE1v2_IOMMU : VFIO_TYPE1_IOMMU);
  }
  void vfio_ioas(ref on) {
    const u::iommu_vfio_ioas v{
        .size = argsz(sizeof v),
        .ioas_id = id(),
        .op = static_cast<std::uint16_t>(r_.percent(90) ? r_.below(3) : r_.below(100)),
        .reserved = static_cast<std::uint16_t>(flags(0))};
    call(on, "VFIO_IOAS", u::request_vfio_ioas, bytes(v));
  }

  void ioas_alloc(ref on) {
    const u::iommu_ioas_alloc a{.size = argsz(sizeof a), .flags = flags(0), .out_ioas_id = 0};
    call(on, "IOAS_ALLOC", u::request_ioas_alloc, bytes(a));
  }
  void iommufd_call() {
    const ref on = mostly(kind::iommufd);
    if (r_.percent(10)) return vfio_ioas(on);
    switch (r_.below(10)) {
      case 0: return ioas_alloc(on);
      case 1: {
        const u::iommu_destroy d{.size = argsz(sizeof d), .id = id()};
        call(on, "DESTROY", u::request_destroy, bytes(d));
        return;
      }
      case 2: {
        u::iommu_ioas_iova_ranges g{};
        g.size = argsz(sizeof g);
        g.ioas_id = id();
        g.num_iovas = r_.of({0U, 1U, 8U, 8U});
        g.reserved = flags(0);
        call(on, "IOVA_RANGES", u::request_ioas_iova_ranges, bytes(g), {{16, {kind::out_memory}}});
        return;
      }
      case 3: {
        u::iommu_hwpt_alloc h{};
        h.size = argsz(sizeof h, {20, 24, 28, 32});
        h.flags = r_.percent(90) ? 0 : 1U << 31;
        h.dev_id = id();
        h.pt_id = id();
        call(on, "HWPT_ALLOC", u::request_hwpt_alloc, bytes(h));
        return;
      }
      case 4:
      case 5:
      case 6: {
        u::iommu_ioas_map m{};
        m.size = argsz(sizeof m);
        m.flags = r_.percent(60)   ? u::map_fixed_iova | u::map_readable | u::map_writeable
                  : r_.percent(80) ? static_cast<std::uint32_t>(r_.below(8))
                                   : flags(8);
        m.ioas_id = id();
        m.reserved = flags(0);
        m.user_va = m_.page * static_cast<unsigned>(r_.below(4));
        m.length = length();
        m.iova = iova();
        call(on, "IOAS_MAP", u::request_ioas_map, bytes(m), {{16, {kind::dma_memory}}});
        if (r_.percent(6)) odd_memory(steps_.back(), offsetof(decltype(m), user_va));
        return;
      }
      case 7:
      case 8: {
        u::iommu_ioas_unmap un{};
        un.size = argsz(sizeof un);
        un.ioas_id = id();
        un.iova = r_.percent(90) ? iova() : 0;
        un.length = r_.percent(90) ? length() : ~std::uint64_t{0};
        call(on, "IOAS_UNMAP", u::request_ioas_unmap, bytes(un));
        return;
      }
      default: {
        u::iommu_hw_info h{};
        h.size = argsz(sizeof h);
        h.flags = flags(0);
        h.dev_id = id();
        // What the IOMMU is, beside its kind, the topology does not say.
        call(on, "GET_HW_INFO", u::request_get_hw_info, bytes(h)).masks = {
            {12, 4}, {24, 4}, {28, 4}, {32, 8}};
      }
    }
  }

  // KVM.

  void create_kvm_vfio(ref on, int to) {
    kvm_create_device c{.type = KVM_DEV_TYPE_VFIO, .fd = 77, .flags = 0};
    step& s = call(on, "CREATE_DEVICE", KVM_CREATE_DEVICE, bytes(c));
    s.where = place::good;
    s.made = {kind::kvm_vfio, to};
    s.makes = true;
    s.made_at = offsetof(kvm_create_device, fd);
  }
  // The requests of a VM that only keep books.

  void irqchip() {
    const ref vm = some(kind::vm);
    call(vm, "CREATE_IRQCHIP", KVM_CREATE_IRQCHIP, 0);
  }
  void set_memory() {
    kvm_userspace_memory_region m{};
    m.slot =
        r_.percent(90) ? static_cast<unsigned>(r_.below(3)) : r_.of({32763U, 32764U, 1U << 20});
    m.flags = r_.percent(85) ? static_cast<unsigned>(r_.below(4)) & 1U : 1U << r_.below(32);
    m.guest_phys_addr = m_.page * static_cast<unsigned>(r_.below(6));
    m.memory_size = m_.page * static_cast<unsigned>(r_.below(4));
    if (r_.percent(8)) m.guest_phys_addr = r_.of<std::uint64_t>({1, 1ULL << 52, ~0ULL << 12});
    if (r_.percent(5)) m.memory_size = r_.of<std::uint64_t>({1, 1ULL << 43, ~0ULL << 12});
    m.userspace_addr = r_.percent(90) ? 0 : r_.of<std::uint64_t>({1, m_.page});
    call(some(kind::vm), "SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, bytes(m),
         {{offsetof(decltype(m), userspace_addr), {kind::dma_memory}}});
  }
  void irqfd() {
    kvm_irqfd i{};
    i.gsi = static_cast<unsigned>(r_.below(3));
    i.flags = r_.percent(90) ? static_cast<unsigned>(r_.below(4)) : 1U << r_.below(32);
    call(some(kind::vm), "IRQFD", KVM_IRQFD, bytes(i),
         {{0, mostly(kind::event)}, {offsetof(decltype(i), resamplefd), mostly(kind::event)}});
  }
  void ioeventfd() {
    kvm_ioeventfd i{};
    i.datamatch = static_cast<unsigned>(r_.below(2));
    i.addr = r_.percent(90) ? 0x1000U * static_cast<unsigned>(r_.below(2)) : ~std::uint64_t{0} - 3;
    i.len = r_.of({0U, 1U, 2U, 4U, 4U, 4U, 8U, 3U});
    i.flags = r_.percent(90) ? static_cast<unsigned>(r_.below(16)) : 1U << r_.below(32);
    call(some(kind::vm), "IOEVENTFD", KVM_IOEVENTFD, bytes(i),
         {{offsetof(decltype(i), fd), mostly(kind::event)}});
  }
  void vm_call() {
    switch (r_.below(8)) {
      case 0: return irqchip();
      case 1:
      case 2: return set_memory();
      case 3:
      case 4:
      case 5: return irqfd();
      default: return ioeventfd();
    }
  }

  void kvm_call() {
    if (m_.books && r_.percent(40)) return vm_call();
    switch (r_.below(10)) {
      case 0: {
        step& s = call({kind::kvm}, "CREATE_VM", KVM_CREATE_VM, 0);
        s.made = some(kind::vm);
        s.makes = true;
        return;
      }
      case 1: return create_kvm_vfio(some(kind::vm), slot());
      default: {
        constexpr std::uint64_t no_such = 4;
        const std::uint64_t which = !r_.percent(95)    ? no_such
                                    : r_.below(2) == 0 ? u::dev_vfio_file_add
                                                       : u::dev_vfio_file_del;
        const kvm_device_attr a = support::file_attribute(which);
        const kind k = r_.of({kind::group, kind::group, kind::device, kind::cdev});
        step& s = call(some(kind::kvm_vfio),
                       which == u::dev_vfio_file_add ? "FILE_ADD" : "FILE_DEL", KVM_SET_DEVICE_ATTR,
                       bytes(a), {{offsetof(kvm_device_attr, addr), {kind::dma_memory}}});
        s.where = place::good;
        s.pointee = r_.percent(85) ? some(k) : anything();
        return;
      }
    }
  }

  random r_;
  const machine& m_;
  bool careful_ = false;
  const target* expected_[kinds_with_slots][slots] = {};
  std::vector<step> steps_;
};

}  // namespace

std::vector<step> generate(std::uint64_t seed, int length, const machine& m) {
  return generator(seed, m).make(length);
}

}  // namespace vfio_lockstep
