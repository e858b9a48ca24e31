// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Random choices, and the steps made of them.

#include "../generate.hpp"
#include "../random.hpp"
#include "../view.hpp"

#include <kvm_vfio/sim/topology.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

namespace u = kvm_vfio::uapi;

/// Random choices, and the steps made of them.
class step_maker {
 protected:
  step_maker(random r, const machine& m, const view& now) : r_(std::move(r)), m_(m), now_(now) {}

  // What is called.

  step& add(step s) { return steps_.emplace_back(std::move(s)); }
  void open(kind k, int slot, const std::string& path, const std::string& device = {}) {
    add({.what = verb::open, .made = {k, slot}, .makes = true, .device = device, .name = path});
  }
  void close(ref on) { add({.what = verb::close, .on = on}); }
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
  // Mostly slot 0, so that the steps meet each other.
  int slot() { return r_.percent(60) ? 0 : r_.below(slots); }
  ref some(kind k) {
    if (prefer_ && prefer_->what == k && r_.percent(80)) return *prefer_;
    if (prefer_too_ && prefer_too_->what == k && r_.percent(80)) return *prefer_too_;
    return {k, slot()};
  }
  ref anything() { return some(static_cast<kind>(r_.below(static_cast<int>(kind::closed) + 1))); }
  ref mostly(kind k) { return r_.percent(90) ? some(k) : anything(); }
  const target& some_target() {
    return m_.targets[static_cast<std::size_t>(r_.below(static_cast<int>(m_.targets.size())))];
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
  // The last slot is for devices whose own calls are not compared.
  static int device_slot(const target& t, int wanted) {
    return t.comparable ? wanted % (slots - 1) : slots - 1;
  }
  static bool not_compared(ref on) {
    return (on.what == kind::device || on.what == kind::cdev) && on.slot == slots - 1;
  }
  // The device that a descriptor is of. Null: it is no device, or its calls are not compared.
  const target* device_in(ref on) const {
    const kvm_vfio::sim::vfio_device* const d = not_compared(on) ? nullptr : now_.device(on);
    if (d)
      for (const target& t : m_.targets)
        if (t.device == d->name()) return &t;
    return nullptr;
  }
  // The first device of the group that a descriptor is of. Null: it is of no group.
  const target* first_of_group(ref on) const {
    const kvm_vfio::sim::vfio_group* const g = now_.group(on);
    if (g)
      for (const target& t : m_.targets)
        if (t.group == "/dev/vfio/" + std::to_string(g->number())) return &t;
    return nullptr;
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
  // Lets a range wrap around, seldom.
  template <class Number>
  void wrap(Number& iova, Number& size) {
    if (careful_ || !r_.percent(3)) return;
    iova = ~std::uint64_t{0} - m_.page + 1;
    size = 2 * m_.page;
  }
  std::uint64_t length() {
    const std::uint64_t p = m_.page;
    if (r_.percent(88)) return p * static_cast<unsigned>(1 + r_.below(4));
    return r_.of<std::uint64_t>({0, 1, p - 1, p + 1, p / 2, p * 12});
  }
  // Memory that the program may not have, or not for writing. Both sides see the same program.
  void odd_memory(step& s, std::size_t at) {
    const auto where =
        r_.of<std::uint64_t>({0, 0x1000, 0x400000, 0x401000, 1ULL << 46, 0xffff800000000000});
    s.patches.clear();
    if (s.argument.size() >= at + sizeof where)
      std::memcpy(s.argument.data() + at, &where, sizeof where);
  }
  void read_event() {
    step& s = add({.what = verb::read_event, .on = some(kind::event)});
    s.argument = bytes(std::uint64_t{0});
  }
  std::uint32_t id() {
    return r_.percent(92) ? static_cast<std::uint32_t>(1 + r_.below(r_.percent(60) ? 3 : 11))
                          : r_.of({0U, 99U, 0x7fffffffU, ~0U});
  }

  random r_;
  const machine& m_;
  const view& now_;            // what the simulator is before the next step
  bool careful_ = false;       // only arguments that should succeed
  std::optional<ref> prefer_;  // the object whose state is wanted
  std::optional<ref> prefer_too_;
  std::vector<step> steps_;
};

}  // namespace vfio_lockstep
