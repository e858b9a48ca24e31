// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// SET_IRQS of some of the vectors of a function, with sizes, flags and descriptors that are wrong
/// in the middle of an array. After each call every vector is triggered.

#include "recorder.hpp"

#include <kvm_vfio/sim/topology.hpp>

#include <linux/vfio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device of a group.
template <class System>
class irq_sets {
 public:
  irq_sets(recorder<System>& on, const target& t) : on_(on), t_(t) {}

  void run() {
    const opened_device o = on_.open_device(t_);
    device_ = o.device;
    if (device_ < 0) return on_.close_all();
    for (int& e : events_) e = on_.eventfd();
    for (const std::uint32_t index : {0U, 1U, 2U, 3U, 4U, 5U}) {
      // Vectors that the function has.
      most_ = index == 1 ? t_.pci.msi_vectors : index == 2 ? t_.pci.msix_vectors : 1;
      if (index > 2) most_ = 1;
      vectors(index, o.group);
      headers(index);
    }
    switch_between();
    on_.close_all();
  }

 private:
  using fds = std::vector<std::int32_t>;
  static constexpr std::uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
  static constexpr std::uint32_t mask = VFIO_IRQ_SET_ACTION_MASK;
  static constexpr std::uint32_t unmask = VFIO_IRQ_SET_ACTION_UNMASK;
  static constexpr std::uint32_t kinds_of_data[] = {VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_DATA_BOOL,
                                                    VFIO_IRQ_SET_DATA_EVENTFD};

  void vectors(std::uint32_t index, int group) {
    const int a = events_[0], b = events_[1], c = events_[2];
    const fds all(most_, a);
    for (const fds& first : {fds{a}, fds{a, b, c}, fds{-1, a}, fds{-1}, all, fds{}}) {
      files(index, 0, first);
      files(index, 1, {b});
      files(index, 0, {b, -1, c});
      files(index, 1, {c, 9999, a});
      files(index, 0, {a, group, b});
      files(index, 0, {a, -2, b});
      files(index, 2, {a, b});
      files(index, most_ == 0 ? 0 : most_ - 1, {c});
      files(index, most_, {c});
      files(index, 0, fds(most_, -1));
      files(index, 0, fds(most_ + 1, a));
      bools(index, 0, {1, 0, 2});
      bools(index, 1, {1});
      send(VFIO_IRQ_SET_DATA_NONE | trigger, index, 1, 2, nullptr, 0);
      send(VFIO_IRQ_SET_DATA_NONE | trigger, index, 1, 0, nullptr, 0);
      for (const std::uint32_t action : {mask, unmask}) {
        send(VFIO_IRQ_SET_DATA_NONE | action, index, 0, 1, nullptr, 0);
        send(VFIO_IRQ_SET_DATA_EVENTFD | action, index, 0, 1, &c, 4);
        const unsigned char yes = 1;
        send(VFIO_IRQ_SET_DATA_BOOL | action, index, 0, 1, &yes, 1);
      }
      send(VFIO_IRQ_SET_DATA_NONE | trigger, index, 0, 0, nullptr, 0);
    }
  }
  // Each size of the struct, each flag and odd numbers of vectors.
  void headers(std::uint32_t index) {
    const int a = events_[0];
    constexpr std::uint32_t all = ~0U;
    for (std::uint32_t flags = 0; flags < 128; ++flags) {
      auto c = words({24, flags, index, 0, 1, static_cast<std::uint32_t>(a)});
      on_.ioctl_of("flags " + std::to_string(flags), device_, VFIO_DEVICE_SET_IRQS, c);
    }
    signals(index);
    for (const std::uint32_t size : {0U, 16U, 19U, 20U, 21U, 23U, 24U, 28U, 1U << 20, all})
      for (const std::uint32_t data : kinds_of_data) {
        auto c = words({size, data | trigger, index, 0, 1, static_cast<std::uint32_t>(a), 0});
        on_.ioctl_of("size " + std::to_string(size), device_, VFIO_DEVICE_SET_IRQS, c);
      }
    for (const std::uint32_t start : {0U, 1U, 16U, all - 1, all})
      for (const std::uint32_t count : {0U, 1U, 2U, 17U, 1U << 20, all - 1, all}) {
        auto c = words({all, VFIO_IRQ_SET_DATA_NONE | trigger, index, start, count});
        on_.ioctl_of("count " + std::to_string(count), device_, VFIO_DEVICE_SET_IRQS, c);
      }
    signals(index);
    send(VFIO_IRQ_SET_DATA_NONE | trigger, index, 0, 0, nullptr, 0);
  }
  // Another interrupt while one is armed.
  void switch_between() {
    for (const std::uint32_t from : {0U, 1U, 2U, 3U, 4U})
      for (const std::uint32_t to : {0U, 1U, 2U, 3U, 4U}) {
        files(from, 0, {events_[0]});
        files(to, 0, {events_[1]});
        signals(from);
        send(VFIO_IRQ_SET_DATA_NONE | trigger, to, 0, 0, nullptr, 0);
        send(VFIO_IRQ_SET_DATA_NONE | trigger, from, 0, 0, nullptr, 0);
      }
  }

  void files(std::uint32_t index, std::uint32_t start, const fds& data) {
    send(VFIO_IRQ_SET_DATA_EVENTFD | trigger, index, start, static_cast<std::uint32_t>(data.size()),
         data.data(), data.size() * sizeof data[0]);
  }
  void bools(std::uint32_t index, std::uint32_t start, const std::vector<unsigned char>& data) {
    send(VFIO_IRQ_SET_DATA_BOOL | trigger, index, start, static_cast<std::uint32_t>(data.size()),
         data.data(), data.size());
  }
  void send(std::uint32_t flags, std::uint32_t index, std::uint32_t start, std::uint32_t count,
            const void* data, std::size_t size) {
    std::vector<unsigned char> c =
        words({static_cast<std::uint32_t>(20 + size), flags, index, start, count}, 20 + size);
    if (size != 0) std::memcpy(&c[20], data, size);
    on_.ioctl_of("SET_IRQS of " + std::to_string(index) + " flags " + std::to_string(flags) +
                     " from " + std::to_string(start) + " count " + std::to_string(count),
                 device_, VFIO_DEVICE_SET_IRQS, c);
    count_signals();
    if (size != 0) signals(index);
  }
  // Triggers each vector alone.
  void signals(std::uint32_t index) {
    for (std::uint32_t i = 0; i < std::min(most_, 5U); ++i) {
      auto c = words({20, VFIO_IRQ_SET_DATA_NONE | trigger, index, i, 1});
      on_.ioctl_of("trigger " + std::to_string(i), device_, VFIO_DEVICE_SET_IRQS, c);
      count_signals();
    }
  }
  void count_signals() {
    for (const int e : events_) {
      std::uint64_t n = 0;
      on_.say("signals", on_.sys().read(e, &n, sizeof n).error(), n);
    }
  }

  recorder<System>& on_;
  const target& t_;
  int device_ = -1;
  std::uint32_t most_ = 0;
  int events_[3] = {};
};

}  // namespace vfio_lockstep::fixed
