// SPDX-License-Identifier: BSL-1.0
// The storage policies and their pools.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/faults.hpp>
#include <kvm_vfio/testing/journal.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <type_traits>
#include <vector>

#include "calls.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;
using namespace kvm_vfio::testing;

// Counts its objects.
struct counted {
  static inline int alive = 0;
  int value;
  explicit counted(int v) noexcept : value(v) { ++alive; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }
};
struct alignas(64) wide {
  char bytes[3];
};

TEST_CASE("heap_storage makes and destroys") {
  heap_storage::pool<counted> pool{heap_storage{}};
  counted* const a = pool.make(1);
  counted* const b = pool.make(2);
  REQUIRE((a && b));
  CHECK(a->value + b->value == 3);
  CHECK(counted::alive == 2);
  pool.destroy(a);
  pool.destroy(b);
  CHECK(counted::alive == 0);
}

// A place in a list, as big as a pointer at least.
struct linked {
  static inline int alive = 0;
  int value;
  linked* next = nullptr;
  explicit linked(int v) noexcept : value(v) { ++alive; }
  linked(const linked&) = delete;
  linked& operator=(const linked&) = delete;
  ~linked() { --alive; }
};

TEST_CASE("heap_storage's own pool uses its room, then the heap, and what went before either") {
  using pool_type = own_pool<heap_storage, linked>;
  static_assert(std::is_same_v<pool_type, heap_storage::own_pool<linked>>);
  pool_type pool{heap_storage{}};
  const auto inside = [&](const linked* object) {
    const auto* const at = reinterpret_cast<const char*>(object);
    const auto* const begin = reinterpret_cast<const char*>(&pool);
    return at >= begin && at < begin + sizeof pool;
  };
  constexpr int count = 40;
  linked* objects[count];
  for (int round = 0; round < 3; ++round) {
    std::set<linked*> places;
    for (int i = 0; i < count; ++i) {
      objects[i] = pool.make(i);
      REQUIRE(objects[i]);
      places.insert(objects[i]);
    }
    CHECK(places.size() == count);
    CHECK(std::count_if(objects, objects + count, inside) == 8);
    CHECK(linked::alive == count);
    // Every third goes, and as many come: nowhere else than where there was room before.
    for (int i = 0; i < count; i += 3) pool.destroy(objects[i]);
    for (int i = 0; i < count; i += 3) objects[i] = pool.make(i);
    bool right = true;
    for (int i = 0; i < count; ++i) right = objects[i]->value == i && right;
    CHECK(right);
    CHECK(std::set<linked*>(objects, objects + count).size() == count);
    for (int i = 0; i < count; ++i) pool.destroy(objects[round == 1 ? count - 1 - i : i]);
    CHECK(linked::alive == 0);
  }
  // A type that the room cannot be aligned for has no pool of this kind.
  static_assert(std::is_same_v<own_pool<heap_storage, wide>, heap_storage::pool<wide>>);
}

// Types at the limits of what an own pool of the heap takes: of a pointer's size, and aligned as
// `new` aligns.
struct pointer_sized {
  void* value;
};
struct alignas(__STDCPP_DEFAULT_NEW_ALIGNMENT__) new_aligned {
  void* value;
};
static_assert(sizeof(own_pool<heap_storage, pointer_sized>) > 8 * sizeof(pointer_sized));
static_assert(
    std::is_same_v<own_pool<heap_storage, new_aligned>, heap_storage::own_pool<new_aligned>>);
static_assert(heap_storage::tables<int>::limit == 1 << 24);

// Tells whether it was made from an rvalue.
struct tells_rvalue {
  std::uint64_t from_rvalue;
  constexpr explicit tells_rvalue(const int&) noexcept : from_rvalue(0) {}
  constexpr explicit tells_rvalue(int&&) noexcept : from_rvalue(1) {}
};

// Makes 9 objects: more than the own pool of the heap has room for.
template <class Pool, class Storage>
constexpr bool forwards_rvalues() {
  Pool pool(Storage{});
  tells_rvalue* objects[9] = {};
  bool right = true;
  for (tells_rvalue*& o : objects) {
    o = pool.make(1);
    right = o && o->from_rvalue == 1 && right;
  }
  for (tells_rvalue* const o : objects) pool.destroy(o);
  return right;
}

TEMPLATE_TEST_CASE("A pool passes an rvalue on as one", "", heap_storage, inline_storage<9>) {
  using shared = typename TestType::template pool<tells_rvalue>;
  using own = own_pool<TestType, tells_rvalue>;
  static_assert(forwards_rvalues<shared, TestType>() && forwards_rvalues<own, TestType>());
  CHECK(forwards_rvalues<shared, TestType>());
  CHECK(forwards_rvalues<own, TestType>());
}

// Keeps the value that its destructor sees.
struct remembered {
  static inline std::uintptr_t last = 0;
  std::uintptr_t value;
  explicit remembered(std::uintptr_t v) noexcept : value(v) {}
  remembered(const remembered&) = delete;
  remembered& operator=(const remembered&) = delete;
  ~remembered() { last = value; }
};

TEMPLATE_TEST_CASE("A destructor sees the object as it was", "", heap_storage, inline_storage<1>) {
  own_pool<TestType, remembered> own{TestType{}};
  typename TestType::template pool<remembered> shared{TestType{}};
  own.destroy(own.make(std::uintptr_t{1}));
  CHECK(remembered::last == 1);
  shared.destroy(shared.make(std::uintptr_t{2}));
  CHECK(remembered::last == 2);
}

// Its destructor asks the pool for another object, and says whether the pool refused it.
template <template <class> class Pool>
struct successor {
  Pool<successor>& pool;
  bool& refused;
  bool last = false;
  ~successor() {
    if (last) return;
    successor* const next = pool.make(pool, refused, true);
    refused = next == nullptr;
  }
};

TEST_CASE("inline_storage has no place for another object while a destructor runs") {
  bool refused = false;
  inline_storage<1>::pool<successor<inline_storage<1>::pool>> shared{inline_storage<1>{}};
  shared.destroy(shared.make(shared, refused));
  CHECK(refused);
  refused = false;
  inline_storage<1>::own_pool<successor<inline_storage<1>::own_pool>> own{inline_storage<1>{}};
  own.destroy(own.make(own, refused));
  CHECK(refused);
}

static_assert(!std::is_same_v<inline_storage<2>::pool<int>, inline_storage<2>::own_pool<int>>,
              "only a pool for several threads needs atomic operations");

template <class Pool>
constexpr bool holds_two() {
  Pool pool(inline_storage<2>{});
  int* const a = pool.make(1);
  int* const b = pool.make(2);
  const bool full = a && b && !pool.make(3);
  pool.destroy(b);
  int* const again = pool.make(4);
  const bool right = full && again && !pool.make(5) && *a == 1 && *again == 4;
  pool.destroy(again);
  pool.destroy(a);
  return right;
}
static_assert(holds_two<inline_storage<2>::pool<int>>());
static_assert(holds_two<inline_storage<2>::own_pool<int>>());

// The first eight bytes are the number of the top slot and, above it, the counter.
TEST_CASE("The slots of several threads change their counter with each step") {
  using slots = kvm_vfio::detail::free_slots<3, true>;
  slots free;
  std::set<std::uint64_t> tops;
  const auto changed = [&] {
    std::uint64_t top = 0;
    std::memcpy(&top, &free, sizeof top);
    return tops.insert(top).second;
  };
  CHECK(changed());
  bool right = true;
  for (int i = 0; i < 100; ++i) {
    const std::size_t slot = free.take();
    right = slot == 0 && changed() && right;
    free.give_back(slot);
    right = changed() && right;
  }
  CHECK(right);
}

// The processor's operations, but some exchanges fail without a reason, as they may.
struct moody_atomics : kvm_vfio::detail::atomics {
  static inline int failures = 0;  // of the next exchanges
  template <class T>
  [[nodiscard]] static bool compare_exchange(T& object, T& expected, T desired) noexcept {
    if (failures == 0) return atomics::compare_exchange(object, expected, desired);
    --failures;
    expected = object;
    return false;
  }
};
TEST_CASE("No slot is lost or taken twice when an exchange fails without a reason") {
  kvm_vfio::detail::free_slots<2, true, moody_atomics> free;
  for (const int failures : {0, 1, 3}) {
    INFO(failures << " failures");
    const auto after_failures = [&](auto step) {
      moody_atomics::failures = failures;
      return step();
    };
    const auto take = [&] { return after_failures([&] { return free.take(); }); };
    const auto give_back = [&](std::size_t slot) {
      after_failures([&] { free.give_back(slot); });
      CHECK(moody_atomics::failures == 0);
    };
    const std::size_t a = take(), b = take();
    CHECK((a < 2 && b < 2 && a != b));
    CHECK(free.take() == 2);
    give_back(a);
    CHECK(take() == a);
    give_back(b);
    give_back(a);
    CHECK(take() == a);
    CHECK(take() == b);
    moody_atomics::failures = 0;
    CHECK(free.take() == 2);
    free.give_back(b);
    free.give_back(a);
  }
}
static_assert(sizeof(std::size_t) < 8 ||
              sizeof(kvm_vfio::detail::free_slots<UINT32_MAX, true>) > UINT32_MAX);

TEST_CASE("inline_storage refuses what does not fit and reuses what was given back") {
  inline_storage<3>::pool<counted> pool{inline_storage<3>{}};
  counted* objects[3];
  for (int i = 0; i < 3; ++i) {
    objects[i] = pool.make(i);
    REQUIRE(objects[i]);
    const auto* const at = reinterpret_cast<const char*>(objects[i]);
    const auto* const begin = reinterpret_cast<const char*>(&pool);
    CHECK((at >= begin && at < begin + sizeof pool));  // no heap
  }
  CHECK(pool.make(9) == nullptr);
  CHECK(counted::alive == 3);
  // Each slot in turn is given back and taken again; the others keep their values.
  for (int i = 0; i < 3; ++i) {
    pool.destroy(objects[i]);
    CHECK(counted::alive == 2);
    objects[i] = pool.make(10 + i);
    REQUIRE(objects[i]);
    CHECK(pool.make(9) == nullptr);
  }
  CHECK((objects[0]->value == 10 && objects[1]->value == 11 && objects[2]->value == 12));
  // All given back, in another order, then all taken: three different places.
  for (const int i : {1, 2, 0}) pool.destroy(objects[i]);
  CHECK(counted::alive == 0);
  for (int i = 0; i < 3; ++i) objects[i] = pool.make(i);
  CHECK(std::set<counted*>(objects, objects + 3).size() == 3);
  CHECK(pool.make(9) == nullptr);
  for (counted* const o : objects) pool.destroy(o);
  CHECK(counted::alive == 0);
}

TEST_CASE("inline_storage keeps the alignment") {
  inline_storage<2>::pool<wide> pool{inline_storage<2>{}};
  wide* const a = pool.make();
  wide* const b = pool.make();
  CHECK(reinterpret_cast<std::uintptr_t>(a) % alignof(wide) == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(b) % alignof(wide) == 0);
  CHECK(a != b);
  pool.destroy(a);
  pool.destroy(b);
}

TEST_CASE("failing_storage fails as the plan says, whatever the type, and records") {
  fault_plan plan;
  journal log;
  const failing_storage<> storage(plan, &log);
  failing_storage<>::pool<counted> pool(storage);
  failing_storage<>::pool<wide> other(storage);
  plan.fail(fault::allocate, 2, errc::nomem);
  counted* const a = pool.make(1);
  CHECK(a != nullptr);
  CHECK(other.make() == nullptr);
  wide* const b = other.make();
  CHECK(b != nullptr);
  pool.destroy(a);
  other.destroy(b);
  using namespace events;
  CHECK(log.all() == std::vector{allocate(true), allocate(false), allocate(true), events::free(),
                                 events::free()});
  CHECK(counted::alive == 0);

  failing_storage<inline_storage<1>>::pool<counted> small(failing_storage<inline_storage<1>>{plan});
  counted* const only = small.make(1);
  CHECK(only != nullptr);
  CHECK(small.make(2) == nullptr);
  small.destroy(only);
}

TEST_CASE("inline_storage's tables have one element for each object, and no more") {
  inline_storage<17>::tables<int> tables{inline_storage<17>{}};
  static_assert(inline_storage<17>::tables<int>::limit == 32);
  int* const first = tables.make(20);
  REQUIRE(first);
  CHECK_FALSE(tables.make(13));
  int* const second = tables.make(12);
  CHECK(second == first + 20);
  CHECK_FALSE(tables.make(1));
  tables.destroy(second, 12);
  CHECK_FALSE(tables.make(13));
  CHECK(tables.make(12) == second);
  static_assert(inline_storage<1>::tables<int>::limit == 1);
  static_assert(inline_storage<16>::tables<int>::limit == 16);
}

}  // namespace
}  // namespace tests
