// SPDX-License-Identifier: BSL-1.0
// Many threads on one device and on one VM, with a real lock. What the policies do under the lock
// is plain memory, so the thread sanitizer sees a call that is made without it.

#include <kvm_vfio/kvm_vfio.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "calls.hpp"
#include "support/attribute.hpp"
#include "support/own_memory.hpp"
#include "support/threads.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;

class KVM_VFIO_CAPABILITY("mutex") mutex_lock {
 public:
  void lock() noexcept KVM_VFIO_ACQUIRE() { mutex_.lock(); }
  void unlock() noexcept KVM_VFIO_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};
static_assert(lockable<mutex_lock>);

// More than are looked for one by one, so that there is an index.
constexpr int file_count = 48;

// Files 1 … 48, every third of them noncoherent. Validity is asked without the lock, and symbols
// are looked up for it: these are atomic or constant. The rest is not.
class shared_vfio {
 public:
  using file = int;
  using vm = int;
  bool symbol_get(symbol) noexcept {
    ++symbols_;
    return true;
  }
  void symbol_put(symbol) noexcept { --symbols_; }
  bool file_is_valid(const file& f) noexcept { return f > 0 && f <= file_count; }
  bool file_is_group(const file& f) noexcept { return file_is_valid(f); }
  void file_set_kvm(const file& f, const vm& to) noexcept { vms_[index(f)] = to; }
  bool file_enforced_coherent(const file& f) noexcept {
    ++asked_;
    return f % 3 != 0;
  }
  [[nodiscard]] int vm_of(file f) const { return vms_[index(f)]; }
  [[nodiscard]] int symbols() const { return symbols_; }
  [[nodiscard]] int asked() const { return asked_; }

 private:
  static std::size_t index(file f) { return static_cast<std::size_t>(f); }
  std::atomic<int> symbols_ = 0;
  std::array<int, file_count + 1> vms_{};
  int asked_ = 0;
};

struct shared_iommu {
  int registered = 0;
  int assigned = 0;
  int edges = 0;
  bool alternates = true;
  void register_noncoherent_dma(int) noexcept {
    ++edges;
    alternates = ++registered == 1 && alternates;
  }
  void unregister_noncoherent_dma(int) noexcept { alternates = --registered == 0 && alternates; }
  void start_assignment(int) noexcept { ++assigned; }
  void end_assignment(int) noexcept { --assigned; }
};

// References on files, which come and go without the device's lock.
using counts = std::array<std::atomic<int>, file_count + 1>;
struct shared_files {
  counts* references;
  result<int> get_file(int f) noexcept {
    if (f > 0 && f <= file_count) ++(*references)[static_cast<std::size_t>(f)];
    return f;
  }
  void fput(int f) noexcept {
    if (f > 0 && f <= file_count) --(*references)[static_cast<std::size_t>(f)];
  }
};

TEMPLATE_TEST_CASE("Threads add, delete and observe on one device", "", linux_7_3, linux_6_12,
                   linux_6_1) {
  shared_vfio vfio;
  shared_iommu iommu;
  counts references{};
  std::array<std::atomic<int>, file_count + 1> balance{};  // ADDs less DELs that said ok
  std::atomic<int> surprises = 0;
  {
    device<shared_vfio, mutex_lock, shared_iommu, TestType, inline_storage<file_count>,
           shared_files>
        dev(vfio, iommu, 1, TestType{}, {}, shared_files{&references});
    support::on_threads(4, [&](int t) {
      for (int i = 0; i < 300; ++i) {
        const int f = 1 + (i * (t + 1)) % file_count;
        const auto at = static_cast<std::size_t>(f);
        const errc added = dev.add(f);
        if (added == errc::ok) ++balance[at];
        else if (added != errc::exists) ++surprises;
        if (dev.add(0) != errc::inval) ++surprises;
        (void)dev.noncoherent();
        std::size_t visited = 0;
        dev.for_each([&visited](int) { ++visited; });
        if (visited > file_count || dev.size() > file_count) ++surprises;
        const int gone = 1 + (i + t) % file_count;
        const errc deleted = dev.del(gone);
        if (deleted == errc::ok) --balance[static_cast<std::size_t>(gone)];
        else if (deleted != errc::noent) ++surprises;
      }
    });
    CHECK(surprises == 0);
    CHECK(iommu.alternates);
    std::array<int, file_count + 1> tracked{};
    bool noncoherent = false;
    dev.for_each([&](int f) {
      ++tracked[static_cast<std::size_t>(f)];
      noncoherent = noncoherent || f % 3 == 0;
    });
    int count = 0;
    for (int f = 1; f <= file_count; ++f) {
      const auto at = static_cast<std::size_t>(f);
      INFO("file " << f);
      CHECK(tracked[at] == balance[at]);
      CHECK(references[at] == tracked[at]);
      CHECK(vfio.vm_of(f) == tracked[at]);
      count += tracked[at];
    }
    CHECK(dev.size() == static_cast<std::size_t>(count));
    CHECK(dev.noncoherent() == noncoherent);
    CHECK(iommu.registered == (noncoherent ? 1 : 0));
    CHECK(iommu.assigned == (TestType::counts_assignments ? count : 0));
    CHECK(vfio.asked() > 0);
  }
  CHECK(vfio.symbols() == 0);
  CHECK(iommu.registered == 0);
  CHECK(iommu.assigned == 0);
  for (const auto& r : references) CHECK(r == 0);
}

// The same files with answers that change, and their epoch: both in one word, so that nobody sees
// an answer that is newer than the epoch that can be read. At most one class of files is
// noncoherent at a time.
class changing_vfio : public shared_vfio {
 public:
  bool file_enforced_coherent(const file& f) noexcept { return coherent(f); }
  std::uint64_t coherency_epoch() noexcept { return word_ >> classes; }
  [[nodiscard]] bool coherent(file f) const noexcept { return !(word_ >> (f % classes) & 1); }
  // All files coherent, or if they are, this class noncoherent.
  void change(unsigned which) noexcept {
    std::uint64_t now = word_;
    const auto next = [which](std::uint64_t w) {
      const std::uint64_t epoch = (w >> classes) + 1;
      const bool all = (w & ((1u << classes) - 1)) == 0;
      return epoch << classes | (all ? std::uint64_t{1} << which % classes : 0);
    };
    while (!word_.compare_exchange_weak(now, next(now))) {
    }
  }

 private:
  static constexpr int classes = 16;
  std::atomic<std::uint64_t> word_ = 0;
};
static_assert(epoch_symbol_provider<changing_vfio> && group_symbol_provider<changing_vfio>);

template <class Profile, class Storage>
using changing_device =
    device<changing_vfio, mutex_lock, shared_iommu, Profile, Storage, shared_files>;
using on_heap = changing_device<linux_7_3, heap_storage>;
using inside = changing_device<linux_7_3, inline_storage<file_count>>;
using linux_6_12_on_heap = changing_device<linux_6_12, heap_storage>;
using linux_6_1_on_heap = changing_device<linux_6_1, heap_storage>;

TEMPLATE_TEST_CASE("Threads use the index and the epoch while answers change", "", on_heap, inside,
                   linux_6_12_on_heap, linux_6_1_on_heap) {
  static_assert(TestType::indexed && TestType::coherency_epoch);
  constexpr int rounds = 20, threads = 4, steps = 150;
  changing_vfio vfio;
  shared_iommu iommu;
  counts references{};
  shared_files files{&references};
  std::array<std::atomic<int>, file_count + 1> balance{};
  std::atomic<int> surprises = 0;
  {
    TestType dev(vfio, iommu, 1, {}, {}, files);
    for (int f = 1; f < file_count; ++f) REQUIRE(dev.add(f) == errc::ok);
    for (int f = 1; f < file_count; ++f) balance[static_cast<std::size_t>(f)] = 1;
    for (int round = 0; round < rounds; ++round) {
      const bool changes = round % 2 == 0;
      support::on_threads(threads, [&](int t) {
        std::uint32_t random = static_cast<std::uint32_t>(round * threads + t);
        for (int i = 0; i < steps; ++i) {
          random = random * 1664525 + 1013904223;
          // The last file is the checks'. Two ADDs for a DEL: most are tracked.
          const int f = 1 + static_cast<int>(random >> 8) % (file_count - 1);
          const bool adds = (random >> 20) % 3 != 0;
          const errc e = adds ? dev.add(f) : dev.del(f);
          if (e == errc::ok) balance[static_cast<std::size_t>(f)] += adds ? 1 : -1;
          else if (e != (adds ? errc::exists : errc::noent)) ++surprises;
          if (changes && i % 4 == 0) vfio.change(random >> 24);
          if (i % 8 != 0) continue;
          // What was copied stays referenced, whoever deletes it.
          std::array<int, file_count> copy{};
          const result<std::size_t> n = dev.snapshot(copy.data(), copy.size(), files);
          if (!n || *n > copy.size()) ++surprises;
          for (std::size_t c = 0; c < *n; ++c) {
            if (references[static_cast<std::size_t>(copy[c])] < 1) ++surprises;
            files.fput(copy[c]);
          }
        }
      });
      // At rest. An update after the last change hears of it; without changes each did.
      if (changes) {
        REQUIRE(dev.add(file_count) == errc::ok);
        REQUIRE(dev.del(file_count) == errc::ok);
      }
      std::array<int, file_count + 1> tracked{};
      bool noncoherent = false;
      dev.for_each([&](int f) {
        ++tracked[static_cast<std::size_t>(f)];
        noncoherent = noncoherent || !vfio.coherent(f);
      });
      CHECK(dev.noncoherent() == noncoherent);
      CHECK(iommu.registered == (noncoherent ? 1 : 0));
      for (int f = 1; f < file_count; ++f) {
        const auto at = static_cast<std::size_t>(f);
        INFO("round " << round << ", file " << f);
        CHECK(tracked[at] == balance[at]);
        CHECK(references[at] == tracked[at]);
        CHECK(vfio.vm_of(f) == tracked[at]);
        // Whether the index has it, and nothing else.
        CHECK((tracked[at] ? dev.add(f) : dev.del(f)) ==
              (tracked[at] ? errc::exists : errc::noent));
      }
    }
    CHECK(surprises == 0);
    CHECK(iommu.alternates);
    CHECK(dev.size() > 16);
    CHECK(iommu.edges > rounds);
  }
  CHECK(iommu.registered == 0);
  for (const auto& r : references) CHECK(r == 0);
}

TEST_CASE("Threads that share a pool never have the same object") {
  constexpr int threads = 4, steps = 20000;
  inline_storage<threads>::pool<std::atomic<int>> pool{inline_storage<threads>{}};
  std::atomic<int> surprises = 0;
  support::on_threads(threads, [&](int t) {
    for (int i = 0; i < steps; ++i) {
      std::atomic<int>* const mine = pool.make(0);
      if (!mine) {
        ++surprises;  // There is one for each thread.
        continue;
      }
      for (int add = 0; add < 4; ++add)
        if (mine->fetch_add(t + 1) != add * (t + 1)) ++surprises;
      pool.destroy(mine);
    }
  });
  CHECK(surprises == 0);
}

// References that run out after so many.
struct scarce_files {
  int left = 0;
  int taken = 0;
  int given_back = 0;
  result<int> get_file(int f) noexcept {
    if (left == 0) return errc::mfile;
    --left;
    ++taken;
    return f + 100;  // a handle of its own
  }
  void fput(int f) noexcept { given_back += f > 100; }
};

TEST_CASE("A snapshot with references has all of them or none") {
  shared_vfio vfio;
  shared_iommu iommu;
  device<shared_vfio, mutex_lock, shared_iommu> dev(vfio, iommu, 1);
  for (int f = 1; f <= 5; ++f) REQUIRE(dev.add(f) == errc::ok);
  std::array<int, 6> copy{};
  scarce_files enough{.left = 5};
  CHECK(dev.snapshot(copy.data(), copy.size(), enough).value() == 5);
  CHECK(copy == std::array{101, 102, 103, 104, 105, 0});
  CHECK(enough.taken == 5);
  CHECK(enough.given_back == 0);
  // For those that there is room for.
  scarce_files two{.left = 2};
  copy = {};
  CHECK(dev.snapshot(copy.data(), 2, two).value() == 5);
  CHECK(copy == std::array{101, 102, 0, 0, 0, 0});
  // They run out: what was taken goes back.
  scarce_files few{.left = 3};
  CHECK(dev.snapshot(copy.data(), copy.size(), few).error() == errc::mfile);
  CHECK(few.taken == 3);
  CHECK(few.given_back == 3);
  CHECK(dev.snapshot(nullptr, 0, few).value() == 5);
}

// A task with one descriptor at a time, whose memory is this program's.
class tasklet : public support::own_memory {
 public:
  using address_space_id = int;
  int address_space() noexcept { return 1; }
  result<int> install(open_file<tasklet>& made) noexcept {
    made_ = &made;
    return 3;
  }
  result<int> fget(int fd) noexcept { return fd; }
  open_file<tasklet>* made() { return made_; }

 private:
  open_file<tasklet>* made_ = nullptr;
};

using support::address_of;
using support::file_attribute;

TEMPLATE_TEST_CASE("Threads create, use and close the one device of a VM", "", heap_storage,
                   inline_storage<8>) {
  using machine = kvm_vfio::vm<tasklet, int, mutex_lock, TestType>;
  shared_vfio vfio;
  shared_iommu iommu;
  typename machine::types types;
  mutex_lock vfio_lock;
  vfio_device_type<machine, shared_vfio, mutex_lock&, shared_iommu, linux_7_3, TestType> type(
      vfio, vfio_lock, iommu);
  REQUIRE(types.register_type(uapi::dev_type_vfio, type) == errc::ok);
  tasklet creator;
  machine kvm(types, 1, creator);
  std::atomic<int> created = 0, surprises = 0;
  support::on_threads(4, [&](int t) {
    tasklet task;
    for (int i = 0; i < 300; ++i) {
      kvm_create_device argument = support::create_argument();
      const errc answer = kvm.ioctl(task, uapi::create_device, address_of(argument));
      if (answer == errc::busy) continue;
      if (answer != errc::ok || argument.fd != 3) {
        ++surprises;
        continue;
      }
      if (created.fetch_add(1) < 0) ++surprises;
      std::int32_t fd = 1 + t;
      kvm_device_attr attr = file_attribute(uapi::dev_vfio_file_add, address_of(fd));
      if (task.made()->ioctl(task, uapi::set_device_attr, address_of(attr)) != errc::ok)
        ++surprises;
      if (task.made()->ioctl(task, uapi::set_device_attr, address_of(attr)) != errc::exists)
        ++surprises;
      task.made()->release();
    }
  });
  CHECK(created > 0);
  CHECK(surprises == 0);
  CHECK(kvm.users() == 1);
  CHECK(vfio.symbols() == 0);
  CHECK(iommu.registered == 0);
  for (int f = 1; f <= file_count; ++f) CHECK(vfio.vm_of(f) == 0);
}

TEST_CASE("A VM dies while its device is used") {
  using machine = kvm_vfio::vm<tasklet, int, mutex_lock>;
  shared_vfio vfio;
  shared_iommu iommu;
  machine::types types;
  vfio_device_type<machine, shared_vfio, mutex_lock, shared_iommu> type(vfio, iommu);
  REQUIRE(types.register_type(uapi::dev_type_vfio, type) == errc::ok);
  tasklet creator;
  machine kvm(types, 1, creator);
  kvm_create_device argument = support::create_argument();
  REQUIRE(kvm.ioctl(creator, uapi::create_device, address_of(argument)) == errc::ok);
  std::atomic<int> surprises = 0;
  support::on_threads(3, [&](int t) {
    if (t == 0) {
      kvm.kill();
      return;
    }
    tasklet task;
    kvm_device_attr attr = file_attribute(uapi::dev_vfio_file_add);
    for (int i = 0; i < 100; ++i) {
      const errc e = creator.made()->ioctl(task, uapi::has_device_attr, address_of(attr));
      if (e != errc::ok && e != errc::io) ++surprises;
    }
  });
  CHECK(surprises == 0);
  kvm_device_attr attr = file_attribute(uapi::dev_vfio_file_add);
  CHECK(creator.made()->ioctl(creator, uapi::has_device_attr, address_of(attr)) == errc::io);
  creator.made()->release();
  CHECK(kvm.users() == 1);
}

}  // namespace
}  // namespace tests
