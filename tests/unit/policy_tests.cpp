// SPDX-License-Identifier: BSL-1.0
// The small parts: storage, result, error names, symbol references, locks, the list of files.

#include <kvm_vfio/error_code.hpp>
#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/counting_lock.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/faults.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "calls.hpp"
#include "support/child.hpp"

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

TEST_CASE("result carries a value or an error") {
  result<int> good = 7;
  CHECK(good);
  CHECK(good.has_value());
  CHECK(good.error() == errc::ok);
  CHECK(*good == 7);
  good.value() = 8;
  CHECK(std::as_const(good).value() == 8);
  CHECK(*std::as_const(good) == 8);
  CHECK(std::move(good).value() == 8);
  CHECK(*result<int>(9) == 9);
  const result<int> bad = errc::busy;
  CHECK_FALSE(bad);
  CHECK_FALSE(bad.has_value());
  CHECK(bad.error() == errc::busy);
  struct point {
    int x = 0;
  };
  result<point> p = point{3};
  CHECK(p->x == 3);
  CHECK(std::as_const(p)->x == 3);
}

TEST_CASE("result moves what cannot be copied") {
  struct token {
    int value = 0;
    token() = default;
    explicit token(int v) noexcept : value(v) {}
    token(token&& other) noexcept : value(std::exchange(other.value, 0)) {}
    token& operator=(token&&) = delete;
  };
  result<token> made = token(5);
  token taken = *std::move(made);
  CHECK(taken.value == 5);
  CHECK(made.value().value == 0);
}

TEST_CASE("Errors have the kernel's numbers and names") {
  struct row {
    errc error;
    int number;
    std::string_view called;
  };
  const row rows[] = {
      {errc::ok, 0, "OK"},
      {errc::perm, EPERM, "EPERM"},
      {errc::noent, ENOENT, "ENOENT"},
      {errc::io, EIO, "EIO"},
      {errc::nxio, ENXIO, "ENXIO"},
      {errc::badf, EBADF, "EBADF"},
      {errc::nomem, ENOMEM, "ENOMEM"},
      {errc::access, EACCES, "EACCES"},
      {errc::fault, EFAULT, "EFAULT"},
      {errc::busy, EBUSY, "EBUSY"},
      {errc::exists, EEXIST, "EEXIST"},
      {errc::nodev, ENODEV, "ENODEV"},
      {errc::inval, EINVAL, "EINVAL"},
      {errc::nfile, ENFILE, "ENFILE"},
      {errc::mfile, EMFILE, "EMFILE"},
      {errc::notty, ENOTTY, "ENOTTY"},
      {errc::nospc, ENOSPC, "ENOSPC"},
      {errc::spipe, ESPIPE, "ESPIPE"},
      {errc::srch, ESRCH, "ESRCH"},
      {errc::intr, EINTR, "EINTR"},
      {errc::toobig, E2BIG, "E2BIG"},
      {errc::again, EAGAIN, "EAGAIN"},
      {errc::notdir, ENOTDIR, "ENOTDIR"},
      {errc::isdir, EISDIR, "EISDIR"},
      {errc::rofs, EROFS, "EROFS"},
      {errc::range, ERANGE, "ERANGE"},
      {errc::nametoolong, ENAMETOOLONG, "ENAMETOOLONG"},
      {errc::nosys, ENOSYS, "ENOSYS"},
      {errc::loop, ELOOP, "ELOOP"},
      {errc::proto, EPROTO, "EPROTO"},
      {errc::overflow, EOVERFLOW, "EOVERFLOW"},
      {errc::badfd, EBADFD, "EBADFD"},
      {errc::msgsize, EMSGSIZE, "EMSGSIZE"},
      {errc::opnotsupp, EOPNOTSUPP, "EOPNOTSUPP"},
      {errc::addrinuse, EADDRINUSE, "EADDRINUSE"},
  };
  for (const row& r : rows) {
    INFO(r.called);
    CHECK(static_cast<int>(r.error) == r.number);
    CHECK(name(r.error) == r.called);
    CHECK(has_name(r.error));
    CHECK(to_errc(r.number) == r.error);
    CHECK(kernel_return(r.error) == -r.number);
  }
  CHECK(name(to_errc(EDOM)) == std::string_view("an error without a name"));
  CHECK_FALSE(has_name(to_errc(EDOM)));
}

TEST_CASE("Symbols have the kernel's names") {
  const std::string_view names[] = {"vfio_file_set_kvm", "vfio_file_enforced_coherent",
                                    "vfio_file_is_valid", "vfio_file_is_group",
                                    "vfio_file_iommu_group"};
  static_assert(std::size(names) == symbol_count);
  for (int s = 0; s < symbol_count; ++s) CHECK(name(static_cast<symbol>(s)) == names[s]);
  CHECK(name(static_cast<symbol>(symbol_count)) == nullptr);
}

TEST_CASE("symbol_ref gives back what it got, and only that") {
  journal log;
  fault_plan plan;
  failing_symbols<recording_symbols> vfio(plan, log);
  {
    const symbol_ref found(vfio, symbol::file_set_kvm);
    CHECK(found);
    CHECK(vfio.held(symbol::file_set_kvm) == 1);
    const symbol_ref another(vfio, symbol::file_is_valid);
    CHECK(vfio.held(symbol::file_is_valid) == 1);
  }
  CHECK(log.all() == std::vector{events::symbol_get(symbol::file_set_kvm),
                                 events::symbol_get(symbol::file_is_valid),
                                 events::symbol_put(symbol::file_is_valid),
                                 events::symbol_put(symbol::file_set_kvm)});
  log.clear();
  plan.fail(fault::symbol_set_kvm, 1, errc::noent);
  {
    CHECK_FALSE(symbol_ref(vfio, symbol::file_set_kvm));
  }
  CHECK(log.all().empty());
  CHECK(vfio.held(symbol::file_set_kvm) == 0);
  linked_symbols linked;
  CHECK(symbol_ref(linked, symbol::file_is_group));
}

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

using list = file_list<int, std::nullptr_t, heap_storage>;

std::vector<int> order(const list& files) {
  std::vector<int> seen;
  for (const list::entry* e = files.first(); e; e = list::next(*e)) seen.push_back(e->file);
  return seen;
}

// Also that the links back are right: unlinking from the tail follows them.
TEST_CASE("file_list keeps insertion order through unlink and relink, anywhere") {
  for (int size = 1; size <= 4; ++size) {
    for (int gone = 0; gone < size; ++gone) {
      INFO("entry " << gone << " of " << size);
      list files{heap_storage{}};
      std::vector<list::entry*> entries;
      std::vector<int> all, rest;
      for (int f = 0; f < size; ++f) {
        entries.push_back(files.make(f));
        files.append(*entries.back());
        all.push_back(f);
        if (f != gone) rest.push_back(f);
      }
      list::entry& e = *entries[static_cast<std::size_t>(gone)];
      CHECK(order(files) == all);
      CHECK(files.find(gone) == &e);
      files.unlink(e);
      CHECK(order(files) == rest);
      CHECK(files.size() == rest.size());
      CHECK(files.find(gone) == nullptr);
      files.relink(e);
      CHECK(order(files) == all);
      CHECK(files.size() == all.size());
      CHECK(files.find(gone) == &e);
      // Unlinked and appended again, it is the last.
      files.unlink(e);
      files.append(e);
      rest.push_back(gone);
      CHECK(order(files) == rest);
      for (auto i = entries.rbegin(); i != entries.rend(); ++i) {
        files.unlink(**i);
        CHECK(files.find((*i)->file) == nullptr);
        files.destroy(**i);
      }
      CHECK(files.size() == 0);
      CHECK(files.first() == nullptr);
    }
  }
}

TEST_CASE("file_list: an entry that is made is not in the list yet") {
  file_list<int, std::nullptr_t, inline_storage<1>> files{inline_storage<1>{}};
  auto* const e = files.make(1);
  REQUIRE(e);
  CHECK(files.size() == 0);
  CHECK(files.find(1) == nullptr);
  CHECK(files.make(2) == nullptr);
  files.destroy(*e);
  auto* const again = files.make(2);
  REQUIRE(again);
  CHECK(again->file == 2);
  files.destroy(*again);
}

using support::signal_that_ends;

TEST_CASE("The value of a failure, and a failure without an error, trap") {
  result<int> failure = errc::busy;
  const result<int>& seen = failure;
  const result<int> success = 1;
  CHECK(signal_that_ends([&] { (void)success.value(); }) == 0);
  CHECK(signal_that_ends([&] { (void)failure.value(); }) != 0);
  CHECK(signal_that_ends([&] { (void)*seen; }) != 0);
  CHECK(signal_that_ends([&] { (void)seen.operator->(); }) != 0);
  errc none = errc::ok;
  CHECK(signal_that_ends([&] { (void)result<int>(none); }) != 0);
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
}

TEST_CASE("An errc is the system's error code") {
  const std::error_code code = errc::busy;
  CHECK(code == std::errc::device_or_resource_busy);
  CHECK(code.category() == std::system_category());
  CHECK_FALSE(code.message().empty());
  CHECK_FALSE(static_cast<bool>(std::error_code(errc::ok)));
  CHECK(to_errc(code) == errc::busy);
  CHECK(to_errc(std::make_error_code(std::errc::bad_file_descriptor)) == errc::badf);
  CHECK(to_errc(std::error_code(1, std::iostream_category())) == errc::io);
  CHECK(to_errc(std::error_code(0, std::iostream_category())) == errc::ok);
}

}  // namespace
}  // namespace tests
