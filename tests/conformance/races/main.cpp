// SPDX-License-Identifier: BSL-1.0
// Threads race on a kernel with several processors. Every outcome must be one that the model of
// kvm-vfio, or the simulated VFIO, can have. --help says more.
#include "conformance/kvm_vfio/tracer.hpp"
#include "conformance/support/command_line.hpp"
#include "possible.hpp"
#include "runner.hpp"
#include "simulated.hpp"

#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace races;
namespace sim = kvm_vfio::sim;

namespace {

constexpr const char* usage =
    "usage: races [option=value]...\n"
    "  profile=7.3|6.12|6.1  the Linux release of the model and of the simulator (7.3)\n"
    "  seconds=N             race for N seconds, each race equally long, at least 3 runs (12)\n"
    "  runs=N                run no race more often than N times\n"
    "  seed=N                the seed of the delays (1)\n"
    "  only=N                only race N, from 1 on\n"
    "  events=FILE           count registrations of noncoherent DMA with these kprobe events\n"
    "  simulator=1           race on the simulator instead of the kernel\n"
    "  verbose=1             print how often each outcome was seen\n"
    "  leave_out=1           leave the outcome of the threads one after the other out of each\n"
    "                        set, to show that the comparison can fail\n"
    "Exit status: 0 every outcome was possible; 1 one was not; 2 it could not run; 77 there are\n"
    "no VFIO groups.\n";

struct options {
  std::string profile = "7.3";
  long seconds = 12;
  long runs = std::numeric_limits<long>::max();
  std::uint64_t seed = 1;
  std::size_t only = 0;
  std::vector<std::string> events{};
  bool simulator = false;
  bool verbose = false;
  bool leave_out = false;
};

options parse(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; ++i) {
    const command_line::option given(argv[i]);
    const auto& [key, value] = given;
    const auto n = [&] { return given.number(); };
    if (key == "profile") o.profile = value;
    else if (key == "seconds") o.seconds = n();
    else if (key == "runs") o.runs = n();
    else if (key == "seed") o.seed = static_cast<std::uint64_t>(n());
    else if (key == "only") o.only = static_cast<std::size_t>(n());
    else if (key == "events") o.events.push_back(value);
    else if (key == "simulator") o.simulator = n() != 0;
    else if (key == "verbose") o.verbose = n() != 0;
    else if (key == "leave_out") o.leave_out = n() != 0;
    else throw std::runtime_error("unknown option: " + key);
  }
  if (o.profile != "7.3" && o.profile != "6.12" && o.profile != "6.1")
    throw std::runtime_error("unknown profile: " + o.profile);
  if (o.only > all_races().size()) throw std::runtime_error("there is no such race");
  return o;
}

/// A host with one device, for races on the simulator.
sim::topology one_device() {
  sim::topology t;
  sim::device_spec d;
  d.name = "0000:00:04.0";
  d.file_number = 0;
  t.groups.push_back({});
  t.groups.front().devices.push_back(d);
  return t;
}

/// Returns the machine with the device of the races. Without a device, the group is empty.
machine find(const options& o) {
  machine m;
  m.profile = o.profile;
  m.topology = one_device();
  if (!o.simulator) {
    sim::topology_result host = sim::topology_from_sysfs("/sys", false);
    if (!host) throw std::runtime_error("the topology from /sys:\n" + to_text(host.errors));
    m.topology = std::move(host.machine);
  }
  // QEMU's IOMMU does not isolate interrupts, which sysfs does not tell.
  m.world.allow_unsafe_interrupts = true;
  for (sim::iommu_spec& iommu : m.topology.iommus) iommu.interrupt_remapping = false;
  m.world.device_files = o.simulator ? o.profile != "6.1" : ::access("/dev/iommu", F_OK) == 0;
#if defined __powerpc64__
  if (!o.simulator) {
    m.world.iommu = sim::iommu_kind::spapr;
    m.on.iommu = VFIO_SPAPR_TCE_IOMMU;
  }
#endif
  // The device must be alone in its group.
  for (const sim::group_spec& g : m.topology.groups) {
    if (g.devices.size() != 1 || !m.on.group.empty()) continue;
    const sim::device_spec& d = g.devices.front();
    if (d.bound != sim::driver::vfio || d.mediated || !d.pci.intx) continue;
    m.on.group = "/dev/vfio/" + std::to_string(g.number);
    m.on.device = d.name;
    if (d.file_number >= 0) m.on.cdev = "/dev/vfio/devices/vfio" + std::to_string(d.file_number);
  }
  return m;
}

/// A VM that exists during all races. When the first VM begins and when the last one ends, Linux
/// changes the code of its scheduler while the other processors run it. QEMU 7.2 can execute the
/// old code later, and Linux 6.12 then panics. The VM keeps Linux from these changes.
class standing_vm {
 public:
  standing_vm() : kvm_(::open("/dev/kvm", O_RDWR | O_CLOEXEC)) {
    if (kvm_ >= 0) vm_ = ::ioctl(kvm_, KVM_CREATE_VM, 0);
    if (vm_ < 0) throw std::runtime_error("cannot create a VM that exists during all races");
  }
  standing_vm(const standing_vm&) = delete;
  standing_vm& operator=(const standing_vm&) = delete;
  ~standing_vm() {
    ::close(vm_);
    ::close(kvm_);
  }

 private:
  int kvm_;
  int vm_ = -1;
};

/// Counts the calls that register and unregister noncoherent DMA.
class registrations {
 public:
  explicit registrations(const std::vector<std::string>& events) : trace_(events, true) {}
  outcome take() {
    outcome n{0, 0};
    for (const conformance::kernel_call& c : trace_.take()) {
      n[0] += c.what == kvm_vfio::testing::call::register_noncoherent;
      n[1] += c.what == kvm_vfio::testing::call::unregister_noncoherent;
    }
    return n;
  }

 private:
  conformance::tracer trace_;
};

tally run_one(const race& r, const machine& m, const options& o, const limit& most,
              registrations* trace) {
  const auto count = [&] { return trace ? trace->take() : outcome{}; };
  tally seen;
  if (!o.simulator) return run_race(r, kvm_vfio::native::host{}, m.on, o.seed, most, count);
  on_simulator(m, [&](sim::process& task) {
    seen = run_race(r, sim::process_ref(task), m.on, o.seed, most, count);
  });
  return seen;
}

/// What all races together showed.
struct sum {
  long races = 0, possible = 0, seen = 0, runs = 0, outside = 0;
};

void report(const race& r, const possible& can, const tally& seen, const options& o, sum& all) {
  long runs = 0, inside = 0, outside = 0;
  for (const auto& [end, n] : seen) {
    const bool in = can.all.contains(end);
    runs += n;
    inside += in;
    if (!in) outside += n;
    if (!in || o.verbose)
      std::printf("  %s%ld of %s:%s\n", in ? "" : "MISMATCH ", n, r.name,
                  to_string(r, end).c_str());
  }
  for (const outcome& end : can.all)
    if (o.verbose && !seen.contains(end))
      std::printf("  not seen of %s:%s\n", r.name, to_string(r, end).c_str());
  std::printf("RACE %s: possible=%zu by=%s orders=%lu seen=%ld runs=%ld outside=%ld\n", r.name,
              can.all.size(), r.from == source::explorer ? "explorer" : "sequential", can.runs,
              inside, runs, outside);
  ++all.races;
  all.possible += static_cast<long>(can.all.size());
  all.seen += inside;
  all.runs += runs;
  all.outside += outside;
}

int run(const options& o) {
  const auto start = std::chrono::steady_clock::now();
  const machine m = find(o);
  if (m.on.group.empty()) {
    std::puts("SKIPPED: no VFIO group with one PCI device that has an interrupt");
    return 77;
  }
  bool counts = !o.simulator && !o.events.empty();
#if !defined __x86_64__
  counts = false;  // the kernel has no functions that register
#endif
  std::vector<const race*> chosen;
  for (const race& r : all_races())
    if ((!r.needs_iommufd || (m.world.device_files && !m.on.cdev.empty())) &&
        (o.only == 0 || &r == &all_races()[o.only - 1]))
      chosen.push_back(&r);
  sum all;
  std::optional<standing_vm> standing;
  if (!o.simulator) standing.emplace();
  // The threads of a race are made after the trace begins, so it sees them.
  std::unique_ptr<registrations> trace;
  for (const race* const chosen_race : chosen) {
    const race& r = *chosen_race;
    const bool counted = counts && r.counted;
    possible can = r.from == source::explorer ? explored(r, m, counted) : in_every_order(r, m);
    if (o.leave_out) can.all.erase(can.in_order);
    if (!counted) trace.reset();
    else if (!trace) trace = std::make_unique<registrations>(o.events);
    const std::chrono::milliseconds slice(o.seconds * 1000 / static_cast<long>(chosen.size()));
    report(r, can, run_one(r, m, o, {o.runs, slice}, trace.get()), o, all);
  }
  utsname u{};
  ::uname(&u);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf(
      "RACES kernel=%s profile=%s processors=%ld counted=%d iommufd=%d races=%ld possible=%ld "
      "seen=%ld "
      "runs=%ld mismatches=%ld seconds=%.1f\n",
      o.simulator ? "none" : u.release, o.profile.c_str(), ::sysconf(_SC_NPROCESSORS_ONLN),
      static_cast<int>(counts), static_cast<int>(m.world.device_files), all.races, all.possible,
      all.seen, all.runs, all.outside, seconds.count());
  return all.outside == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  return command_line::main("races", usage, argc, argv,
                            [](int count, char** given) { return run(parse(count, given)); });
}
