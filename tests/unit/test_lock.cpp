// SPDX-License-Identifier: BSL-1.0
// Locks, and who holds them.

#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/testing/counting_lock.hpp>
#include <kvm_vfio/testing/journal.hpp>

#include <vector>

#include "calls.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;
using namespace kvm_vfio::testing;

TEST_CASE("lock_holder owns a lock, or refers to one") {
  const lock_holder<counting_lock> own;
  own.get().lock();
  own.get().unlock();
  CHECK(own.get().acquisitions() == 1);
  counting_lock theirs;
  const lock_holder<counting_lock&> refers(theirs);
  CHECK(&refers.get() == &theirs);
  journal log;
  const lock_holder<counting_lock> moved_in(counting_lock(log, 4));
  {
    guard held(moved_in.get());
  }
  CHECK(log.all() == std::vector{events::lock(4), events::unlock(4)});
  struct two {
    [[no_unique_address]] lock_holder<null_lock> lock;
    int value;
  };
  STATIC_REQUIRE(sizeof(two) == sizeof(int));
}

// A lock that can be moved and not copied.
struct movable_lock : null_lock {
  movable_lock() = default;
  movable_lock(movable_lock&&) = default;
};
static_assert((static_cast<void>(lock_holder<movable_lock>(movable_lock())), true));

TEST_CASE("guard holds the lock for its scope") {
  counting_lock lock;
  {
    guard held(lock);
    CHECK(lock.held());
  }
  CHECK_FALSE(lock.held());
  CHECK(lock.acquisitions() == 1);
  CHECK_FALSE(lock.misused());
}

}  // namespace
}  // namespace tests
