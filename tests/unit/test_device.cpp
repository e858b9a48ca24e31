// SPDX-License-Identifier: BSL-1.0
// The device as a class: without a VM or descriptors around it.

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "calls.hpp"
#include "watched_device.hpp"
#include "world.hpp"

// An explicit instantiation has every function of the class, the private ones, too. Without an
// sPAPR backend it must leave out those of attribute 3: they could not be compiled. Clang before 16
// does not look at the requires-clauses here.
#if !defined __clang__ || __clang_major__ >= 16
template class kvm_vfio::device<kvm_vfio::testing::recording_symbols, kvm_vfio::null_lock,
                                kvm_vfio::testing::recording_iommu>;
#endif

namespace tests {
namespace {

// The simulated VFIO asks this of a profile, and the device does not.
static_assert(linux_6_1::group_without_container_is_coherent);
static_assert(!linux_6_12::group_without_container_is_coherent);
static_assert(!linux_7_3::group_without_container_is_coherent);

TEST_CASE("The device on its own: a unit test's view") {
  journal log;
  recording_symbols vfio(log);
  recording_iommu iommu(log);
  const vm_id vm{1};
  device dev{vfio, null_lock{}, iommu, vm};
  watched_device calls{dev, vfio, iommu, log};
  const file_id gpu = vfio.make({.coherent = false});

  CHECK(dev.vm() == vm);
  CHECK(calls.add(gpu) == errc::ok);
  CHECK(calls.add(gpu) == errc::exists);
  CHECK(dev.size() == 1);
  CHECK(dev.noncoherent());
  CHECK(log.calls() == std::vector{events::is_valid(gpu, true), events::set_kvm(gpu, vm),
                                   events::enforced_coherent(gpu, false),
                                   events::register_noncoherent(vm), events::is_valid(gpu, true)});
  log.clear();
  CHECK(calls.del(gpu) == errc::ok);
  CHECK(calls.del(gpu) == errc::noent);
  CHECK(dev.size() == 0);
  CHECK_FALSE(dev.noncoherent());
  CHECK(log.calls() == std::vector{events::set_kvm(gpu, {}), events::unregister_noncoherent(vm)});
}

TEST_CASE("A lock of its own, a lock by value and a lock of the caller's") {
  journal log;
  recording_symbols vfio(log);
  recording_iommu iommu(log);
  const file_id f = vfio.make();
  counting_lock shared;
  device by_reference(vfio, shared, iommu, vm_id{1});
  CHECK(by_reference.add(f) == errc::ok);
  CHECK(shared.acquisitions() == 1);
  CHECK(by_reference.size() == 1);
  CHECK_FALSE(by_reference.noncoherent());
  CHECK(shared.acquisitions() == 1);  // these two do not wait
  by_reference.for_each([](file_id) {});
  CHECK(shared.acquisitions() == 2);
  CHECK_FALSE(shared.held());
  CHECK_FALSE(shared.misused());

  device by_value(vfio, counting_lock(log), iommu, vm_id{2});
  log.clear();
  by_value.for_each([](file_id) {});
  CHECK(log.all() == std::vector{events::lock(), events::unlock()});

  device<recording_symbols, counting_lock, recording_iommu> own(vfio, iommu, vm_id{3});
  CHECK(own.add(f) == errc::ok);
}

TEST_CASE("for_each holds the lock and goes by insertion") {
  journal log;
  recording_symbols vfio(log);
  recording_iommu iommu(log);
  counting_lock lock;
  device dev(vfio, lock, iommu, vm_id{1});
  const file_id a = vfio.make(), b = vfio.make(), c = vfio.make();
  for (const file_id f : {c, a, b}) CHECK(dev.add(f) == errc::ok);
  std::vector<file_id> seen;
  bool held = true;
  dev.for_each([&](const file_id& f) {
    seen.push_back(f);
    held = held && lock.held();
  });
  CHECK(seen == std::vector{c, a, b});
  CHECK(held);
}

TEST_CASE("An ADD made directly holds a reference of its own while it runs, a DEL needs none") {
  journal log;
  fault_plan plan;
  recording_symbols vfio(log);
  recording_iommu iommu(log);
  open_files files(log, &plan);
  const file_id f = vfio.make();
  {
    device dev(vfio, null_lock{}, iommu, vm_id{1}, linux_7_3{}, heap_storage{},
               open_files::policy(files));
    plan.fail(fault::get_file, 1, errc::mfile);
    CHECK(dev.add(f) == errc::mfile);
    CHECK(log.calls().empty());
    CHECK(dev.add(f) == errc::ok);
    CHECK(files.references(f) == 1);
    plan.fail(fault::get_file, 1, errc::mfile);
    CHECK(dev.del(f) == errc::ok);
    CHECK(files.references(f) == 0);
    CHECK(dev.add(f) == errc::mfile);  // only now
    CHECK(dev.add(f) == errc::ok);
  }
  CHECK(files.references(f) == 0);
  {
    device dev(vfio, null_lock{}, iommu, vm_id{1}, linux_6_1{}, heap_storage{},
               open_files::policy(files));
    CHECK(dev.add(f) == errc::ok);
    CHECK(files.references(f) == 1);
    CHECK(dev.add(f) == errc::exists);
    CHECK(files.references(f) == 1);
    CHECK(dev.del(f) == errc::ok);
    CHECK(files.references(f) == 0);
  }
}

TEST_CASE("Observers do not wait: they read what the last call left") {
  // Looks at the device in the middle of its calls, where the lock is held.
  struct nosy {
    using file = int;
    using vm = int;
    const void* dev = nullptr;
    std::size_t (*size)(const void*) = nullptr;
    std::vector<std::size_t> seen;
    bool symbol_get(symbol) noexcept { return true; }
    void symbol_put(symbol) noexcept {}
    bool file_is_valid(int) noexcept { return true; }
    errc file_set_kvm(int f, int) noexcept {
      seen.push_back(size(dev));
      return f == 3 ? errc::io : errc::ok;
    }
    bool file_enforced_coherent(int f) noexcept { return f != 2; }
  };
  nosy vfio;
  struct silent {
    void register_noncoherent_dma(int) noexcept {}
    void unregister_noncoherent_dma(int) noexcept {}
  } iommu;
  device<nosy, null_lock, silent> dev(vfio, iommu, 1);
  vfio.dev = &dev;
  vfio.size = [](const void* d) {
    return static_cast<const device<nosy, null_lock, silent>*>(d)->size();
  };
  CHECK(dev.add(1) == errc::ok);
  CHECK(dev.add(2) == errc::ok);
  CHECK(dev.noncoherent());
  CHECK(dev.add(3) == errc::io);
  CHECK(dev.del(1) == errc::ok);
  CHECK(dev.size() == 1);
  CHECK(vfio.seen == std::vector<std::size_t>{0, 1, 2, 2});
}

TEST_CASE("A snapshot has the oldest files, as many as there is room for") {
  journal log;
  recording_symbols vfio(log);
  recording_iommu iommu(log);
  device dev(vfio, null_lock{}, iommu, vm_id{1});
  watched_device calls{dev, vfio, iommu, log};
  for (int i = 0; i < 5; ++i) CHECK(calls.add(vfio.make()) == errc::ok);
  CHECK(calls.del({2}) == errc::ok);
  std::vector<file_id> files(3);
  CHECK(dev.snapshot(files.data(), files.size()) == 4);
  CHECK(files == std::vector<file_id>{{1}, {3}, {4}});
  files.assign(6, {});
  CHECK(dev.snapshot(files.data(), files.size()) == 4);
  CHECK(files == std::vector<file_id>{{1}, {3}, {4}, {5}, {}, {}});
  CHECK(dev.snapshot(nullptr, 0) == 4);
}

// A lock that does something before it is taken for the next time, as another thread may.
struct contended_lock {
  std::function<void()> before;
  void lock() noexcept {
    if (before) std::exchange(before, nullptr)();
  }
  void unlock() noexcept {}
};

TEST_CASE("A snapshot has what another thread did before the lock was free") {
  journal log;
  recording_symbols vfio(log);
  recording_iommu iommu(log);
  contended_lock lock;
  device<recording_symbols, contended_lock&, recording_iommu> dev(vfio, lock, iommu, vm_id{1});
  const file_id a = vfio.make(), b = vfio.make();
  CHECK(dev.add(a) == errc::ok);
  lock.before = [&] { CHECK(dev.add(b) == errc::ok); };
  std::vector<file_id> files(2);
  CHECK(dev.snapshot(files.data(), files.size()) == 2);
  CHECK(files == std::vector<file_id>{a, b});
}

// A handle that knows with which reference it came. Handles of one file are equal.
struct numbered_handle {
  int number = 0;
  int reference = 0;
  friend bool operator==(const numbered_handle& a, const numbered_handle& b) noexcept {
    return a.number == b.number;
  }
};
struct numbered_vfio : linked_symbols {
  using file = numbered_handle;
  using vm = int;
  [[nodiscard]] bool file_is_valid(const file&) noexcept { return true; }
  void file_set_kvm(const file&, int) noexcept {}
  [[nodiscard]] bool file_enforced_coherent(const file&) noexcept { return true; }
};
struct numbered_iommu {
  void register_noncoherent_dma(int) noexcept {}
  void unregister_noncoherent_dma(int) noexcept {}
};
struct numbered_files {
  int* taken;
  std::vector<int>* given_back;
  result<numbered_handle> get_file(const numbered_handle& f) noexcept {
    return numbered_handle{f.number, ++*taken};
  }
  void fput(const numbered_handle& f) noexcept { given_back->push_back(f.reference); }
};

TEST_CASE("A tracked file is given back with the handle that its own reference came with") {
  numbered_vfio vfio;
  numbered_iommu iommu;
  int taken = 0;
  std::vector<int> given_back;
  device dev(vfio, null_lock{}, iommu, 1, linux_7_3{}, heap_storage{},
             numbered_files{&taken, &given_back});
  // The first reference is that of the call, the second is the entry's.
  CHECK(dev.add({1, 0}) == errc::ok);
  CHECK(given_back == std::vector{1});
  CHECK(dev.del({1, 0}) == errc::ok);
  CHECK(given_back == std::vector{1, 2});
}

}  // namespace
}  // namespace tests
