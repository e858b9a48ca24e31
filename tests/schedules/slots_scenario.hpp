// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Threads that take and give back slots of one lock-free stack.

#include <kvm_vfio/testing/schedules/scheduler.hpp>

#include <cstddef>
#include <string_view>

namespace tests {

/// For each thread what it does: 't' takes a slot, 'g' gives back the slot that it took first.
template <int Threads>
struct slots_script {
  std::string_view of[Threads];
};

/// \tparam Slots `free_slots<Count, true, scheduled_atomics>`, or one with a defect
template <int Threads, class Slots, std::size_t Count>
class slots_scenario {
 public:
  static constexpr int threads = Threads;

  explicit slots_scenario(const slots_script<Threads>& what) : what_(what) {}

  void run(int thread) noexcept {
    std::size_t mine[8] = {};
    std::size_t first = 0, end = 0;
    for (const char c : what_.of[thread]) {
      if (c == 't') {
        const std::size_t slot = slots_.take();
        if (slot == Count) continue;
        if (owned_[slot]) kvm_vfio::testing::fail_schedule("two threads have one slot");
        owned_[slot] = true;
        mine[end++] = slot;
      } else if (first != end) {
        const std::size_t slot = mine[first++];
        owned_[slot] = false;
        slots_.give_back(slot);
      }
    }
  }
  const char* check() noexcept { return nullptr; }
  const char* finish() noexcept {
    std::size_t n = 0;
    for (const bool owned : owned_) n += owned;
    for (; n <= Count; ++n) {
      const std::size_t slot = slots_.take();
      if (slot == Count) break;
      if (owned_[slot]) return "a slot is taken and free";
      owned_[slot] = true;
    }
    return n == Count ? nullptr : "a slot is lost";
  }

 private:
  const slots_script<Threads>& what_;
  Slots slots_;
  bool owned_[Count] = {};
};

}  // namespace tests
