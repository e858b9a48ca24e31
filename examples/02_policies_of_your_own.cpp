// SPDX-License-Identifier: BSL-1.0
// Policies of your own: a symbol provider, a lock and an IOMMU backend without the library's mocks.
#include <kvm_vfio/kvm_vfio.hpp>

#include <cstdio>
#include <mutex>

namespace kv = kvm_vfio;

// The types of a VMM for a passed-through device and for a VM.
struct passthrough {
  const char* name;
  bool snooped;
  int owner = 0;
};
struct machine {
  int number;
};

// The symbol provider. Pointers are the handles of files and VMs; null is the empty handle. No
// symbol can be missing here.
struct my_vfio : kv::linked_symbols {
  using file = passthrough*;
  using vm = const machine*;

  bool file_is_valid(file f) noexcept { return f != nullptr; }
  void file_set_kvm(file f, vm to) noexcept { f->owner = to ? to->number : 0; }
  bool file_enforced_coherent(file f) noexcept { return f->snooped; }
};
static_assert(kv::symbol_provider<my_vfio>);

// The lock: any type whose lock and unlock do not throw. (The macros are for Clang's thread-safety
// analysis, which checks std::mutex of libc++.)
class KVM_VFIO_CAPABILITY("mutex") my_lock {
 public:
  void lock() noexcept KVM_VFIO_ACQUIRE() { mutex_.lock(); }
  void unlock() noexcept KVM_VFIO_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};
static_assert(kv::lockable<my_lock>);

// The IOMMU backend: the VMM's reaction when DMA bypasses the caches.
struct my_iommu {
  void register_noncoherent_dma(const machine* m) noexcept {
    std::printf("machine %d: noncoherent DMA, honour the guest's cache flushes\n", m->number);
  }
  void unregister_noncoherent_dma(const machine* m) noexcept {
    std::printf("machine %d: coherent again\n", m->number);
  }
};
static_assert(kv::iommu_backend<my_iommu, const machine*>);

int main() {
  my_vfio vfio;
  my_iommu iommu;
  const machine vm{7};
  passthrough nic{"nic", true};
  passthrough gpu{"gpu", false};

  // The device needs no heap: it has room for four files inside. It makes the mutex in place.
  kv::device<my_vfio, my_lock, my_iommu, kv::linux_7_3, kv::inline_storage<4>> dev(vfio, iommu,
                                                                                   &vm);
  for (passthrough* f : {&nic, &gpu})
    if (const kv::errc e = dev.add(f); e != kv::errc::ok) {
      std::printf("%s: %s\n", f->name, name(e));
      return 1;
    }
  const bool owned = nic.owner == 7 && gpu.owner == 7 && dev.noncoherent();
  const bool left = dev.del(&gpu) == kv::errc::ok && gpu.owner == 0 && !dev.noncoherent();
  return owned && left ? 0 : 1;
}
