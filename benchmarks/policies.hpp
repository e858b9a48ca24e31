// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The cheapest policies that do something: what is left is the cost of the device itself.

#include <kvm_vfio/kvm_vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace bench {

using namespace kvm_vfio;

struct vfio_file {
  int vm = 0;
  bool valid = true;
  bool coherent = true;
};

/// VFIO that answers from the file itself.
struct symbols : linked_symbols {
  using file = vfio_file*;
  using vm = int;
  bool file_is_valid(file f) noexcept { return f->valid; }
  void file_set_kvm(file f, int to) noexcept { f->vm = to; }
  bool file_enforced_coherent(file f) noexcept { return f->coherent; }
};
/// The same with an epoch.
struct epoch_symbols : symbols {
  std::uint64_t epoch = 0;
  std::uint64_t coherency_epoch() noexcept { return epoch; }
};
static_assert(epoch_symbol_provider<epoch_symbols> && !epoch_symbol_provider<symbols>);

struct iommu {
  int registered = 0;
  void register_noncoherent_dma(int) noexcept { ++registered; }
  void unregister_noncoherent_dma(int) noexcept { --registered; }
};

class mutex {
 public:
  void lock() noexcept { mutex_.lock(); }
  void unlock() noexcept { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

/// So many files, one after the other in memory.
class files {
 public:
  explicit files(std::size_t n) : all_(n) {}
  vfio_file* operator[](std::size_t i) noexcept { return &all_[i]; }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

 private:
  std::vector<vfio_file> all_;
};

/// ADD and DEL as functions of their own, whatever else the program calls: otherwise a compiler
/// inlines the only call of a program, and not one of several, which is a fifth of the cost.
template <class Device>
[[gnu::noinline]] errc add(Device& device, vfio_file* f) noexcept {
  return device.add(f);
}
template <class Device>
[[gnu::noinline]] errc del(Device& device, vfio_file* f) noexcept {
  return device.del(f);
}

/// Adds the first `n` files. Quickly also without an epoch: one that is noncoherent while the
/// others come keeps the walk short.
template <class Device>
[[nodiscard]] bool fill_quickly(Device& device, files& all, std::size_t n) {
  if (n == 0) return true;
  all[0]->coherent = false;
  bool good = true;
  for (std::size_t i = 0; i < n; ++i) good = add(device, all[i]) == errc::ok && good;
  all[0]->coherent = true;
  return good;
}

}  // namespace bench
