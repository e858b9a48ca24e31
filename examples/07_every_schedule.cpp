// SPDX-License-Identifier: BSL-1.0
// Runs every schedule of two threads that use a symbol provider with a lock of its own.

#include <kvm_vfio/device.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/testing/schedules/explore.hpp>
#include <kvm_vfio/testing/schedules/scheduled_lock.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

#include <cstdio>

namespace kv = kvm_vfio;
namespace testing = kvm_vfio::testing;

// The code under test: a provider that two devices share. It counts the files that have a VM. The
// lock is a template parameter, so that a test can give it the scheduler's lock.
template <class Lock, bool Careful>
class counting_vfio {
 public:
  using file = int;
  using vm = int;

  bool symbol_get(kv::symbol) noexcept { return true; }
  void symbol_put(kv::symbol) noexcept {}
  bool file_is_valid(const file&) noexcept { return true; }
  bool file_enforced_coherent(const file&) noexcept { return true; }
  void file_set_kvm(const file&, const vm& to) noexcept {
    if constexpr (Careful) {
      const kv::guard held(lock_);
      count_ += to != 0 ? 1 : -1;
    } else {  // reads and writes under the lock, but releases the lock between
      const int before = count();
      const kv::guard held(lock_);
      count_ = before + (to != 0 ? 1 : -1);
    }
  }
  int count() noexcept {
    const kv::guard held(lock_);
    return count_;
  }

 private:
  Lock lock_;
  int count_ = 0;
};

struct no_iommu {
  void register_noncoherent_dma(const int&) noexcept {}
  void unregister_noncoherent_dma(const int&) noexcept {}
};

// Two VMs with a kvm-vfio device each. Each thread adds a file to the device of one VM.
template <bool Careful>
struct two_vms {
  static constexpr int threads = 2;

  using provider = counting_vfio<testing::scheduled_lock, Careful>;
  using device = kv::device<provider, testing::scheduled_lock, no_iommu>;

  void run(int thread) noexcept { (void)(thread == 0 ? first.add(10) : second.add(20)); }
  const char* check() noexcept { return nullptr; }
  const char* finish() noexcept { return vfio.count() == 2 ? nullptr : "a file was not counted"; }

  provider vfio;
  no_iommu iommu;
  device first{vfio, iommu, 1};
  device second{vfio, iommu, 2};
};

int main() {
  const auto careless = [] { return two_vms<false>(); };
  const testing::exploration found = testing::explore(careless);
  std::printf("without care: %s\nschedule: %s\n%s", found.failure.c_str(), found.schedule.c_str(),
              found.listing.c_str());
  // The text of the schedule shows the mistake again, for example in a debugger.
  const testing::exploration again = testing::replay(careless, found.schedule);

  const testing::exploration all = testing::explore([] { return two_vms<true>(); });
  std::printf("with care: %s\n", to_string(all).c_str());
  return found.failure == "a file was not counted" && again.failure == found.failure && all.passed()
             ? 0
             : 1;
}
