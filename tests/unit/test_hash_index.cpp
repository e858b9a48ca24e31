// SPDX-License-Identifier: BSL-1.0
// The index of the list of files: how much a look-up does, and that it changes no answer and loses
// no memory.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/recording_iommu.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "calls.hpp"
#include "watched_device.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;
using namespace kvm_vfio::testing;

// A file that counts how often it is compared. `Hashed` 0: no hash; 1: a good one; 2: all alike.
template <int Hashed>
struct counted {
  int number = 0;
  static inline std::size_t comparisons = 0;
  friend bool operator==(const counted& a, const counted& b) noexcept {
    ++comparisons;
    return a.number == b.number;
  }
  friend std::uint64_t identity_hash(const counted& f) noexcept
    requires(Hashed != 0)
  {
    return Hashed == 1 ? static_cast<std::uint64_t>(f.number) : 7;
  }
};
struct no_group {};
static_assert(!hashable_file<counted<0>> && hashable_file<counted<1>>);
static_assert(hashable_file<file_id> && hashable_file<const char*> && !hashable_file<float>);

// A heap whose tables run out. Entries do not.
struct scarce_storage : heap_storage {
  int* tables_left;
  template <class T>
  class tables : public heap_storage::tables<T> {
   public:
    constexpr explicit tables(const scarce_storage& from) noexcept
        : heap_storage::tables<T>(from), left_(from.tables_left) {}
    [[nodiscard]] constexpr T* make(std::size_t n) noexcept {
      if (*left_ == 0) return nullptr;
      --*left_;
      return heap_storage::tables<T>::make(n);
    }

   private:
    int* left_;
  };
};
static_assert(table_storage<scarce_storage>);

// A heap with tables for 64 files and no more.
struct bounded_storage : heap_storage {
  template <class T>
  struct tables : heap_storage::tables<T> {
    static constexpr std::size_t limit = 64;
    using heap_storage::tables<T>::tables;
  };
};
static_assert(table_storage<bounded_storage>);

// A heap that tells of its tables.
struct told_storage : heap_storage {
  struct tables_told {
    std::vector<std::size_t> made, alive;
    bool last_goes_first = true;
  };
  tables_told* told;
  template <class T>
  class tables : public heap_storage::tables<T> {
   public:
    static constexpr std::size_t limit = 256;
    constexpr explicit tables(const told_storage& from) noexcept
        : heap_storage::tables<T>(from), told_(from.told) {}
    [[nodiscard]] T* make(std::size_t n) noexcept {
      told_->made.push_back(n);
      told_->alive.push_back(n);
      return heap_storage::tables<T>::make(n);
    }
    void destroy(T* table, std::size_t n) noexcept {
      told_->last_goes_first =
          told_->last_goes_first && !told_->alive.empty() && told_->alive.back() == n;
      if (!told_->alive.empty()) told_->alive.pop_back();
      heap_storage::tables<T>::destroy(table, n);
    }

   private:
    tables_told* told_;
  };
};
static_assert(table_storage<told_storage>);

// A storage from before there were tables.
struct plain_storage {
  template <class T>
  struct pool : heap_storage::pool<T> {
    constexpr explicit pool(const plain_storage&) noexcept
        : heap_storage::pool<T>(heap_storage{}) {}
  };
};
static_assert(storage<plain_storage> && !table_storage<plain_storage>);

static_assert(has_index<int, heap_storage> && has_index<int*, inline_storage<17>>);
static_assert(has_index<file_id, failing_storage<>>);
static_assert(!has_index<counted<0>, heap_storage>);
static_assert(!has_index<int, inline_storage<linear_limit>> && !has_index<int, plain_storage>);

// What an index costs in memory, on machines with 8-byte pointers.
template <class File, class Storage>
using entry_of = typename file_list<File, no_group, Storage>::entry;
static_assert(sizeof(void*) != 8 || sizeof(entry_of<int*, plain_storage>) == 24);
static_assert(sizeof(void*) != 8 || sizeof(entry_of<int*, heap_storage>) == 40);
static_assert(sizeof(void*) != 8 || sizeof(entry_of<int, heap_storage>) == 32);

// A list beside the simplest thing that keeps files in order, and random but repeatable steps.
template <class File, class Storage>
class list_and_vector {
 public:
  constexpr explicit list_and_vector(const Storage& memory = {}) : list_(memory) {}
  constexpr ~list_and_vector() {
    while (auto* e = list_.first()) {
      list_.unlink(*e);
      list_.destroy(*e);
    }
  }
  /// Whether list and vector agree after each of `steps` steps on files 1 … `range`.
  constexpr bool agree(int steps, int range) {
    for (int i = 0; i < steps; ++i) {
      const int number = 1 + random(range);
      auto* const found = list_.find(File{number});
      const auto at = std::find(order_.begin(), order_.end(), number);
      if ((found != nullptr) != (at != order_.end())) return false;
      if (!found) {
        auto* const made = list_.make(File{number});
        if (!made) continue;
        list_.append(*made);
        order_.push_back(number);
      } else {
        if (found->file.number != number) return false;
        list_.unlink(*found);
        if (random(4) == 0) {
          list_.relink(*found);
        } else {
          list_.destroy(*found);
          order_.erase(at);
        }
      }
      if (list_.size() != order_.size()) return false;
    }
    const auto* e = list_.first();
    for (const int number : order_) {
      if (!e || e->file.number != number) return false;
      e = list_.next(*e);
    }
    return e == nullptr;
  }
  [[nodiscard]] constexpr std::size_t size() const { return list_.size(); }

 private:
  constexpr int random(int below) {
    state_ = state_ * 1664525 + 1013904223;
    return static_cast<int>((state_ >> 8) % static_cast<std::uint32_t>(below));
  }
  std::uint32_t state_ = 1;
  file_list<File, no_group, Storage> list_;
  std::vector<int> order_;
};

TEMPLATE_TEST_CASE("A list finds what a vector finds", "", counted<0>, counted<1>, counted<2>) {
  CHECK(list_and_vector<TestType, heap_storage>().agree(4000, 300));
  CHECK(list_and_vector<TestType, plain_storage>().agree(2000, 100));
  CHECK(list_and_vector<TestType, inline_storage<4>>().agree(500, 8));
  CHECK(list_and_vector<TestType, inline_storage<100>>().agree(4000, 300));
  CHECK(list_and_vector<TestType, bounded_storage>().agree(2000, 300));
  for (int tables = 0; tables < 5; ++tables) {
    INFO("room for " << tables << " tables");
    int left = tables;
    CHECK(list_and_vector<TestType, scarce_storage>({{}, &left}).agree(2000, 300));
    CHECK(left == (hashable_file<TestType> ? std::max(0, tables - 4) : tables));
  }
}
template <class Storage>
constexpr bool agree() {
  list_and_vector<file_id, Storage> both;
  return both.agree(100, 60) && both.size() > linear_limit;
}
static_assert(agree<heap_storage>() && agree<inline_storage<40>>());

// The largest limit of tables that the index takes.
struct huge_storage : heap_storage {
  template <class T>
  struct tables : heap_storage::tables<T> {
    static constexpr std::size_t limit = std::size_t{1} << 30;
    using heap_storage::tables<T>::tables;
  };
};
static_assert(sizeof(file_list<int, no_group, huge_storage>) > 0);

// These values were calculated without this header. Other values are possible, but look-ups must
// not become slower by accident.
static_assert(kvm_vfio::detail::mix(0) == 0);
static_assert(kvm_vfio::detail::mix(1) == 0x5692161d);
static_assert(kvm_vfio::detail::mix(0x558123456780) == 0xa4f11709);
static_assert(kvm_vfio::detail::mix(std::uint64_t{1} << 63) == 0x25c26ea5);
static_assert(kvm_vfio::detail::mix(~std::uint64_t{0}) == 0xb4d055fd);

// The steps that finding each of `n` files takes, per file, when there are as many chains.
double steps_per_look_up(std::uint32_t n, std::uint64_t (*identity)(std::uint64_t)) {
  std::vector<std::uint32_t> chains(n);
  for (std::uint64_t i = 0; i < n; ++i) ++chains[kvm_vfio::detail::mix(identity(i)) % n];
  std::uint64_t steps = 0;
  for (const std::uint64_t length : chains) steps += length * (length + 1) / 2;
  return static_cast<double>(steps) / n;
}

TEST_CASE("Chains are short, in whatever bits the identities differ") {
  const struct {
    const char* what;
    std::uint64_t (*identity)(std::uint64_t);
  } rows[] = {
      {"small numbers", [](std::uint64_t i) { return i; }},
      {"addresses of words", [](std::uint64_t i) { return 0x5581'2345'6780 + i * 8; }},
      {"addresses of cache lines", [](std::uint64_t i) { return 0x7f00'0000'0000 + i * 64; }},
      {"addresses of pages", [](std::uint64_t i) { return 0xffff'8881'0000'0000 + i * 4096; }},
      {"high halves", [](std::uint64_t i) { return i << 32; }},
      {"both ends", [](std::uint64_t i) { return i << 48 | i << 16; }},
      {"the same in both halves", [](std::uint64_t i) { return i << 44 | i << 12; }},
      {"bits reversed", [](std::uint64_t i) { return i << 40 | (~i & 0xffff); }},
  };
  for (const auto& row : rows)
    for (const std::uint32_t n : {32U, 256U, 4096U, 65536U}) {
      INFO(row.what << ", " << n);
      CHECK(steps_per_look_up(n, row.identity) < 1.5 + 4 / std::sqrt(n));  // chance: 1.5
    }
}

TEST_CASE("A list that shrinks forgets its index, and one that grows makes it again") {
  file_list<counted<1>, no_group, heap_storage> list(heap_storage{});
  const auto comparisons = [&](int number) {
    counted<1>::comparisons = 0;
    CHECK(list.find({number}));
    return counted<1>::comparisons;
  };
  const auto resize = [&](int from, int to) {
    for (int i = from; i < to; ++i) list.append(*list.make({i}));
    for (int i = from; i > to; --i) {
      auto* const e = list.find({i - 1});
      REQUIRE(e);
      list.unlink(*e);
      list.destroy(*e);
    }
  };
  resize(0, 17);
  CHECK(comparisons(16) == 1);
  resize(17, 9);
  CHECK(comparisons(8) == 1);
  resize(9, 8);
  CHECK(comparisons(7) == 8);
  resize(8, 16);
  CHECK(comparisons(15) == 16);
  resize(16, 200);
  CHECK(comparisons(199) == 1);
  resize(200, 0);
}

TEST_CASE("A DEL that set_kvm refuses leaves the index of Linux 7.3, which unlinks afterwards") {
  // With 9 files there still is an index. It is forgotten when there are 8, as 6.12 shows.
  const auto tables_left = [](auto release) {
    journal log;
    fault_plan plan;
    failing_symbols<recording_symbols> vfio(plan, log);
    recording_iommu iommu(log);
    told_storage::tables_told told;
    device dev(vfio, null_lock{}, iommu, vm_id{1}, release, told_storage{{}, &told});
    std::vector<file_id> made;
    for (std::size_t i = 0; i <= linear_limit; ++i) {
      made.push_back(vfio.make());
      REQUIRE(dev.add(made.back()) == errc::ok);
    }
    for (; made.size() > linear_limit / 2 + 1; made.pop_back())
      REQUIRE(dev.del(made.back()) == errc::ok);
    REQUIRE(told.alive.size() == 1);
    plan.fail(fault::set_kvm, 1, errc::nodev);
    CHECK(dev.del(made.back()) == errc::nodev);
    CHECK(dev.size() == linear_limit / 2 + 1);
    return told.alive.size();
  };
  CHECK(tables_left(linux_7_3{}) == 1);
  CHECK(tables_left(linux_6_12{}) == 0);
}

TEST_CASE("Tables double, up to the storage's limit, and all go back with their sizes") {
  using sizes = std::vector<std::size_t>;
  const std::size_t first = 32;
  const struct {
    int files;
    sizes tables;
  } rows[] = {
      {static_cast<int>(linear_limit), {}},
      {static_cast<int>(linear_limit) + 1, {first}},
      {32, {first}},
      {33, {first, 32}},
      {64, {first, 32}},
      {65, {first, 32, 64}},
      {128, {first, 32, 64}},
      {129, {first, 32, 64, 128}},
      {256, {first, 32, 64, 128}},
      {257, {first, 32, 64, 128}},  // 256 elements are the limit
      {1000, {first, 32, 64, 128}},
  };
  for (const auto& row : rows)
    for (const bool drained : {false, true}) {
      INFO(row.files << " files, " << (drained ? "drained" : "gone with their list"));
      told_storage::tables_told told;
      {
        std::vector<file_list<int, no_group, told_storage>::entry*> entries;
        file_list<int, no_group, told_storage> list(told_storage{{}, &told});
        for (int i = 0; i < row.files; ++i) {
          entries.push_back(list.make(i));
          REQUIRE(entries.back());
          list.append(*entries.back());
        }
        CHECK(told.made == row.tables);
        CHECK(told.alive == row.tables);
        bool right = true;
        for (int i = 0; i < row.files; ++i)
          right = list.find(i) == entries[static_cast<std::size_t>(i)] && right;
        CHECK(right);
        if (drained)
          for (auto* const e : entries) list.unlink(*e);
        CHECK(told.alive == (drained ? sizes{} : row.tables));
        for (auto* const e : entries) list.destroy(*e);
      }
      CHECK(told.alive.empty());
      CHECK(told.last_goes_first);
    }
}

TEST_CASE("Integers and pointers are found by what they are") {
  CHECK(identity_hash(7) == 7);
  static_assert(identity_hash(static_cast<const char*>(nullptr)) == 0);
  CHECK(identity_hash(-1) == ~std::uint64_t{0});
  CHECK(identity_hash(std::uint64_t{1} << 63) == std::uint64_t{1} << 63);
  const int object = 0;
  CHECK(identity_hash(&object) == reinterpret_cast<std::uintptr_t>(&object));
  file_list<int, no_group, inline_storage<40>> list(inline_storage<40>{});
  for (int i = 0; i < 40; ++i) list.append(*list.make(i));
  bool right = true;
  for (int i = 0; i < 40; ++i) right = list.find(i) && list.find(i)->file == i && right;
  CHECK(right);
  CHECK_FALSE(list.find(40));
  while (auto* e = list.first()) {
    list.unlink(*e);
    list.destroy(*e);
  }
}

TEST_CASE("An index that was refused is made when there is memory again") {
  int left = 0;
  file_list<counted<1>, no_group, scarce_storage> list(scarce_storage{{}, &left});
  const auto add = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      auto* const made = list.make({i});
      REQUIRE(made);
      list.append(*made);
    }
  };
  const auto comparisons = [&](int number) {
    counted<1>::comparisons = 0;
    CHECK(list.find({number}));
    return counted<1>::comparisons;
  };
  add(0, 100);
  CHECK(comparisons(99) == 100);
  left = 8;
  add(100, 101);
  CHECK(left < 8);
  CHECK(comparisons(99) == 1);
  CHECK(comparisons(100) == 1);
  while (auto* e = list.first()) {
    list.unlink(*e);
    list.destroy(*e);
  }
}

TEST_CASE(
    "An index that comes late has the chains for its files, and one that lags behind catches up") {
  int left = 0;
  file_list<int, no_group, scarce_storage> list(scarce_storage{{}, &left});
  int files = 0;
  const auto grow_to = [&](int size) {
    while (files < size) list.append(*list.make(++files));
  };
  // Without memory until there are 31 files. The 32nd needs one table, the 33rd another.
  grow_to(31);
  left = 8;
  grow_to(32);
  CHECK(left == 7);
  grow_to(33);
  CHECK(left == 6);
  // With two tables for 64 chains, and without memory until there are 95 files. Then each file
  // splits two chains, until there are as many chains as files, at the 126th file.
  left = 0;
  grow_to(95);
  left = 8;
  grow_to(96);
  CHECK(left == 7);
  grow_to(126);
  CHECK(left == 7);
  grow_to(129);
  CHECK(left == 6);
  while (auto* e = list.first()) {
    list.unlink(*e);
    list.destroy(*e);
  }
}

// Comparisons for looking up every one of `n` files, and as many that are not there.
template <class File, class Storage>
std::pair<std::size_t, std::size_t> comparisons(int n) {
  auto list = file_list<File, no_group, Storage>(Storage{});
  for (int i = 0; i < n; ++i) list.append(*list.make(File{i * 64}));
  bool right = true;
  File::comparisons = 0;
  for (int i = 0; i < n; ++i) right = list.find(File{i * 64}) && right;
  const std::size_t found = File::comparisons;
  File::comparisons = 0;
  for (int i = 0; i < n; ++i) right = !list.find(File{i * 64 + 1}) && right;
  CHECK(right);
  const std::size_t missed = File::comparisons;
  while (auto* e = list.first()) {
    list.unlink(*e);
    list.destroy(*e);
  }
  return {found, missed};
}

TEST_CASE("From the 17th file on a look-up compares once, or not at all") {
  CHECK(comparisons<counted<1>, heap_storage>(16) == std::pair<std::size_t, std::size_t>(136, 256));
  for (const int n : {17, 32, 33, 1000, 5000}) {
    INFO(n << " files");
    const auto files = static_cast<std::size_t>(n);
    CHECK(comparisons<counted<1>, heap_storage>(n) == std::pair(files, std::size_t{0}));
    CHECK(comparisons<counted<1>, inline_storage<5000>>(n) == std::pair(files, std::size_t{0}));
    if (n <= 1000) {
      CHECK(comparisons<counted<0>, heap_storage>(n) ==
            std::pair(files * (files + 1) / 2, files * files));
    }
  }
}

TEST_CASE("Tables are no allocation that anybody hears of, and ADD has one that can fail") {
  journal log;
  fault_plan plan;
  recording_symbols vfio(log);
  recording_iommu iommu(log);
  constexpr int files = 200;
  {
    device dev(vfio, null_lock{}, iommu, vm_id{1}, linux_7_3{}, failing_storage<>(plan, &log));
    static_assert(decltype(dev)::indexed);
    watched_device calls{dev, vfio, iommu, log, &plan};
    for (int i = 1; i <= files; ++i) {
      const file_id f = vfio.make();
      plan.fail(fault::allocate, 1, errc::nomem);
      CHECK(calls.add(f) == errc::nomem);
      CHECK(plan.struck() == i);
      plan.fail(fault::allocate, 2, errc::nomem);
      CHECK(calls.add(f) == errc::ok);
      CHECK(plan.struck() == i);
      plan.clear();
      CHECK(log.count(call::allocate) == static_cast<std::size_t>(2 * i));
    }
  }
  CHECK(log.count(call::free) == static_cast<std::size_t>(files));
}

}  // namespace
}  // namespace tests
