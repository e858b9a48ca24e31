// SPDX-License-Identifier: BSL-1.0
// What the heap pool and the index take from the heap, and that all of it goes back.

#include <kvm_vfio/kvm_vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/replaced_new.hpp"

// This program's heap counts.
namespace {
std::size_t taken = 0, given_back = 0;
// If not null: what the next allocation returns, and what does not go back to malloc.
void* next_place = nullptr;
const void* no_malloc = nullptr;
}  // namespace
KVM_VFIO_REPLACED void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++taken;
  if (next_place) return std::exchange(next_place, nullptr);
  return std::malloc(size);
}
KVM_VFIO_REPLACED void* operator new(std::size_t size) {
  if (void* const p = operator new(size, std::nothrow)) return p;
  throw std::bad_alloc();
}
KVM_VFIO_REPLACED void operator delete(void* p) noexcept {
  given_back += p ? 1 : 0;
  if (p != no_malloc) std::free(p);
}
KVM_VFIO_REPLACED void operator delete(void* p, std::size_t) noexcept { operator delete(p); }

namespace {

using namespace kvm_vfio;

// What a step did to the heap.
struct heap {
  std::size_t took, gave;
  friend bool operator==(const heap&, const heap&) = default;
  friend std::ostream& operator<<(std::ostream& to, const heap& h) {
    return to << "took " << h.took << ", gave back " << h.gave;
  }
};
template <class Step>
heap during(Step&& step) {
  taken = given_back = 0;
  step();
  return {taken, given_back};
}

struct object {
  std::uint64_t values[2] = {};
};
using objects = std::vector<object*>;
constexpr std::size_t room = 8, most = 16;  // as own_pool documents

// A pool that comes and goes within a test.
struct pool_steps {
  std::optional<own_pool<heap_storage, object>> pool{std::in_place, heap_storage{}};
  heap make(objects& all) {
    return during([&] {
      for (object*& o : all) o = pool->make();
    });
  }
  heap destroy(const objects& all) {
    return during([&] {
      for (object* const o : all) pool->destroy(o);
    });
  }
  heap end() {
    return during([&] { pool.reset(); });
  }
};

TEST_CASE("The heap pool's own room holds 8 objects, again and again") {
  pool_steps steps;
  objects inside(room), one_more(1);
  for (int round = 0; round < 3; ++round) {
    INFO("round " << round);
    CHECK(steps.make(inside) == heap{0, 0});
    CHECK(steps.make(one_more) == heap{round == 0 ? 1U : 0U, 0});
    CHECK(steps.destroy(one_more) == heap{0, 0});
    CHECK(steps.destroy(inside) == heap{0, 0});
  }
  CHECK(steps.end() == heap{0, 1});
}

TEST_CASE("The heap pool keeps the memory of 16 objects that went, and no more") {
  pool_steps steps;
  objects inside(room), kept(most), one_more(1), others(40);
  CHECK(steps.make(inside) == heap{0, 0});
  for (int round = 0; round < 3; ++round) {
    INFO("round " << round);
    CHECK(steps.make(others) == heap{others.size() - (round == 0 ? 0 : most), 0});
    CHECK(steps.destroy(others) == heap{0, others.size() - most});
  }
  // What is kept is taken before the heap's, and is then no longer counted as kept.
  for (int round = 0; round < 3; ++round) {
    INFO("round " << round);
    CHECK(steps.make(kept) == heap{0, 0});
    CHECK(steps.make(one_more) == heap{1, 0});
    CHECK(steps.destroy(kept) == heap{0, 0});
    CHECK(steps.destroy(one_more) == heap{0, 1});
  }
  // What is inside is never counted.
  for (int round = 0; round < 3; ++round) {
    INFO("round " << round);
    CHECK(steps.destroy(inside) == heap{0, 0});
    CHECK(steps.make(inside) == heap{0, 0});
    CHECK(steps.make(kept) == heap{0, 0});
    CHECK(steps.make(one_more) == heap{1, 0});
    CHECK(steps.destroy(kept) == heap{0, 0});
    CHECK(steps.destroy(inside) == heap{0, 0});
    CHECK(steps.make(inside) == heap{0, 0});
    CHECK(steps.destroy(one_more) == heap{0, 1});
  }
  CHECK(steps.destroy(inside) == heap{0, 0});
  CHECK(steps.end() == heap{0, most});
}

TEST_CASE("An object right behind the heap pool's own room belongs to the heap") {
  using pool_type = own_pool<heap_storage, object>;
  alignas(pool_type) unsigned char bytes[sizeof(pool_type) + sizeof(object)];
  auto* const pool = new (bytes) pool_type(heap_storage{});
  void* const behind = bytes + sizeof(pool_type);
  object* last_inside = nullptr;
  for (std::size_t i = 0; i < room; ++i) last_inside = pool->make();
  // The room ends where the pool ends.
  REQUIRE(static_cast<void*>(last_inside + 1) == behind);
  next_place = behind;
  no_malloc = behind;
  object* const outside = pool->make();
  CHECK(static_cast<void*>(outside) == behind);
  CHECK(during([&] { pool->destroy(outside); }) == heap{0, 0});
  CHECK(during([&] { pool->~pool_type(); }) == heap{0, 1});
  no_malloc = nullptr;
}

// A device's files, without what the mocks take from the heap.
struct symbols : linked_symbols {
  using file = int;
  using vm = int;
  [[nodiscard]] bool file_is_valid(int) noexcept { return true; }
  void file_set_kvm(int, int) noexcept {}
  [[nodiscard]] bool file_enforced_coherent(int) noexcept { return true; }
};
struct iommu {
  void register_noncoherent_dma(int) noexcept {}
  void unregister_noncoherent_dma(int) noexcept {}
};

TEST_CASE("A device with up to 8 files takes no memory from the heap") {
  symbols vfio;
  iommu backend;
  bool right = true;
  device dev(vfio, null_lock{}, backend, 1);
  CHECK(during([&] {
          for (int round = 0; round < 3; ++round) {
            for (int i = 0; i < 8; ++i) right = dev.add(i) == errc::ok && right;
            for (int i = 0; i < 8; ++i) right = dev.del(i) == errc::ok && right;
          }
          for (int i = 0; i < 8; ++i) right = dev.add(i) == errc::ok && right;
        }) == heap{0, 0});
  CHECK(during([&] { right = dev.add(8) == errc::ok && right; }).took > 0);
  CHECK(right);
}

TEST_CASE("A device gives back all that it took, index and entries") {
  symbols vfio;
  iommu backend;
  for (const int files : {9, 16, 17, 24, 33, 65, 500}) {
    INFO(files << " files");
    bool right = true;
    const heap whole_life = during([&] {
      device dev(vfio, null_lock{}, backend, 1);
      for (int i = 0; i < files; ++i) right = dev.add(i) == errc::ok && right;
    });
    CHECK(right);
    CHECK(whole_life.took > 0);
    CHECK(whole_life.took == whole_life.gave);
  }
}

}  // namespace
