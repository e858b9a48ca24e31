// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A storage for tests whose destroyed objects stay readable.

#include <kvm_vfio/storage.hpp>
#include <kvm_vfio/testing/schedules/scheduler.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace kvm_vfio::testing {

/// A storage on the heap that frees nothing before its owner is destroyed. A thread that uses an
/// object after `destroy` reads the object's last values. So the schedule goes on, and the rules
/// can say what is wrong. For the threads of a scenario, which run one at a time.
struct lasting_storage {
  /// Makes objects of one type.
  template <class T>
  class pool {
   public:
    /// Makes a pool without objects.
    explicit pool(const lasting_storage&) noexcept {}
    /// Makes an object. Never returns null.
    template <class... Args>
    [[nodiscard]] T* make(Args&&... args) noexcept {
      all_.push_back({std::make_unique<T>(static_cast<Args&&>(args)...), true});
      return all_.back().object.get();
    }
    /// Notes that an object is destroyed. It is a mistake to destroy an object twice.
    void destroy(T* object) noexcept {
      for (slot& s : all_)
        if (s.object.get() == object && std::exchange(s.lives, false)) return;
      fail_schedule("an object is destroyed twice");
    }

   private:
    struct slot {
      std::unique_ptr<T> object;
      bool lives;
    };
    std::vector<slot> all_;
  };
};
static_assert(storage<lasting_storage>);

}  // namespace kvm_vfio::testing
