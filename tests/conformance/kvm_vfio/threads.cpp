// SPDX-License-Identifier: BSL-1.0
#include "threads.hpp"

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/kvm.hpp>

#include "support/threads.hpp"

#include <fcntl.h>

#include <array>
#include <atomic>
#include <mutex>

namespace conformance {

namespace {

namespace kv = kvm_vfio;

constexpr int thread_count = 4, rounds = 500;

/// VFIO for threads: files are numbers; counts what it is told.
struct counting_vfio : kv::linked_symbols {
  using file = int;
  using vm = int;
  explicit counting_vfio(bool all_coherent) : coherent(all_coherent) {}
  bool file_is_valid(int) noexcept { return true; }
  bool file_is_group(int) noexcept { return true; }
  void file_set_kvm(int f, int to) noexcept { owner[static_cast<std::size_t>(f)] = to; }
  bool file_enforced_coherent(int) noexcept { return coherent; }
  bool coherent;
  std::array<std::atomic<int>, 16> owner{};
};
struct counting_iommu {
  std::atomic<int> registered = 0;
  std::atomic<bool> alternated = true;
  void register_noncoherent_dma(int) noexcept { alternated = alternated && ++registered == 1; }
  void unregister_noncoherent_dma(int) noexcept { alternated = alternated && --registered == 0; }
  void start_assignment(int) noexcept {}
  void end_assignment(int) noexcept {}
};
struct KVM_VFIO_CAPABILITY("mutex") mutex {
  void lock() noexcept KVM_VFIO_ACQUIRE() { m.lock(); }
  void unlock() noexcept KVM_VFIO_RELEASE() { m.unlock(); }
  std::mutex m;
};

/// Which of the files are tracked when all threads are done: the same whatever the order, because
/// a thread has files of its own and the common one is deleted at the end.
using held = std::array<bool, 16>;

/// \param change adds (true) or deletes (false) a file, by number; true: done
template <class Change>
held play(std::uint64_t seed, int files, Change change) {
  support::on_threads(thread_count, [=](int t) {
    std::uint64_t state = seed * 977 + static_cast<std::uint64_t>(t) + 1;
    for (int i = 0; i < rounds; ++i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      const auto choice = static_cast<int>(state >> 40);
      const int own =
          1 + t + thread_count * (choice % ((files - 1 + thread_count - 1) / thread_count));
      const int file = choice % 3 == 0 || own >= files ? 0 : own;
      change(file, (choice >> 8) % 2 == 0);
    }
  });
  held result{};
  change(0, false);
  for (int f = 0; f < files; ++f) {
    result[static_cast<std::size_t>(f)] = change(f, false);
    if (change(f, false)) result[15] = true;  // deleted twice: tracked twice
  }
  return result;
}

template <class Profile>
std::string play_on_model(const setting& s, std::uint64_t seed, int files, held& result) {
  counting_vfio vfio(s.facts.coherent);
  counting_iommu iommu;
  kv::device<counting_vfio, mutex, counting_iommu, Profile> dev(vfio, iommu, 1);
  result = play(seed, files, [&dev](int f, bool add) {
    return (add ? dev.add(f) : dev.del(f)) == kv::errc::ok;
  });
  if (!iommu.alternated || iommu.registered != 0) return "the model's registrations";
  for (const auto& owner : vfio.owner)
    if (owner != 0) return "a file of the model's has a VM still";
  return {};
}

// The trace: registrations alternate, and no file keeps its VM.
std::string check_calls(const std::vector<kernel_call>& calls) {
  using kvm_vfio::testing::call;
  int registered = 0;
  std::map<std::uint64_t, std::uint64_t> owner;
  for (const kernel_call& c : calls) {
    if (c.what == call::register_noncoherent && ++registered != 1) return "registered twice";
    if (c.what == call::unregister_noncoherent && --registered != 0) return "unregistered twice";
    if (c.what == call::set_kvm) owner[c.file] = c.vm;
  }
  if (registered != 0) return "still registered";
  for (const auto& [file, vm] : owner)
    if (vm != 0) return "a file has a VM still";
  return {};
}

}  // namespace

std::string compare_threads(const setting& s, std::uint64_t seed) {
  const auto kvm = kv::native::kvm::open();
  if (!kvm) return "cannot open /dev/kvm";
  const auto vm = kvm->create_vm();
  if (!vm) return "no VM";
  const auto device = vm->create_kvm_vfio_device();
  if (!device) return "no kvm-vfio";
  std::vector<kv::native::unique_fd> groups;
  for (int g = 0; g < s.has.groups; ++g) {
    const char* const path = s.kernel->devices[static_cast<std::size_t>(g)].group.c_str();
    const auto fd = kv::native::host().open(path, O_RDWR);
    if (!fd) return std::string(path) + " cannot be opened";
    groups.emplace_back(*fd);
  }
  const int files = static_cast<int>(groups.size());
  if (s.trace) s.trace->take();
  const held kernels = play(seed, files, [&](int f, bool add) {
    const int fd = groups[static_cast<std::size_t>(f)].get();
    return (add ? kv::file_add(*device, fd) : kv::file_del(*device, fd)) == kv::errc::ok;
  });
  if (s.trace)
    if (const std::string what = check_calls(s.trace->take()); !what.empty()) return what;

  held models{};
  std::string what;
  if (s.profile == "6.1") what = play_on_model<kv::linux_6_1>(s, seed, files, models);
  else if (s.profile == "6.12") what = play_on_model<kv::linux_6_12>(s, seed, files, models);
  else if (s.profile == "7.3") what = play_on_model<kv::linux_7_3>(s, seed, files, models);
  else return "no model for the profile " + s.profile;
  if (!what.empty()) return what;
  if (kernels != models) return "kernel and model hold different files";

  for (kv::native::unique_fd& fd : groups) fd = {};
  for (int g = 0; g < s.has.groups; ++g) {
    const char* const path = s.kernel->devices[static_cast<std::size_t>(g)].group.c_str();
    const auto fd = kv::native::host().open(path, O_RDWR);
    if (!fd) return std::string(path) + " is still busy";
    const kv::native::unique_fd closed(*fd);
  }
  return "equal";
}

}  // namespace conformance
