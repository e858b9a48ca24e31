// SPDX-License-Identifier: BSL-1.0
// The model in lock-step with the running kernel: the same steps on both, every answer and every
// call across the boundary of kvm-vfio compared. --help says more.
#include "comparison.hpp"
#include "conformance/support/command_line.hpp"
#include "support/emulated.hpp"
#include "threads.hpp"

#include <kvm_vfio/native/kvm.hpp>

#include <sys/utsname.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

using namespace conformance;

namespace {

constexpr const char* usage =
    "usage: lockstep [option=value]...\n"
    "  profile=7.3|6.12|6.1   the model's Linux release (7.3)\n"
    "  coherent=0|1           whether the IOMMU enforces coherency (0)\n"
    "  seed=N operations=N    where to start, and at least how many steps to compare (1, 20000)\n"
    "  length=N               steps per sequence (120)\n"
    "  events=FILE            compare the kernel's calls too, traced by these kprobe events; may "
    "be\n"
    "                         repeated\n"
    "  model=1                the model alone, without a kernel; groups=N mediated=N cdevs=N\n"
    "                         spapr=0|1 fail_nth=0|1 say what machine it was (0)\n"
    "  verbose=1              print every step\n"
    "Exit status: 0 no mismatch; 1 a mismatch; 2 it could not run; 77 this machine or user has no\n"
    "/dev/kvm.\n";

struct options {
  setting s;
  std::uint64_t seed = 1;
  long operations = 20000;
  int length = 120;
  std::vector<std::string> events;
  bool model_alone = false;
  bool verbose = false;
};

options parse(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; ++i) {
    const command_line::option given(argv[i]);
    const auto& [key, value] = given;
    const auto n = [&] { return given.number(); };
    if (key == "profile") o.s.profile = value;
    else if (key == "coherent") o.s.facts.coherent = n() != 0;
    else if (key == "seed") o.seed = static_cast<std::uint64_t>(n());
    else if (key == "operations") o.operations = n();
    else if (key == "length") o.length = static_cast<int>(n());
    else if (key == "events") o.events.push_back(value);
    else if (key == "model") o.model_alone = n() != 0;
    else if (key == "groups") o.s.has.groups = static_cast<int>(n());
    else if (key == "mediated") o.s.has.mediated = static_cast<int>(n());
    else if (key == "cdevs") o.s.has.cdevs = static_cast<int>(n());
    else if (key == "spapr") o.s.has.spapr = n() != 0;
    else if (key == "fail_nth") o.s.has.fail_nth = n() != 0;
    else if (key == "verbose") o.verbose = n() != 0;
    else throw std::runtime_error("unknown option: " + key);
  }
  if (!make_model(o.s.profile, {}, {})) throw std::runtime_error("unknown profile: " + o.s.profile);
  return o;
}

std::string in_words(const options& o) {
  const machine& m = o.s.has;
  const auto n = [](auto value) { return std::to_string(value); };
  return "profile=" + o.s.profile + " coherent=" + n(static_cast<int>(o.s.facts.coherent)) +
         " length=" + n(o.length) + " groups=" + n(m.groups) + " mediated=" + n(m.mediated) +
         " cdevs=" + n(m.cdevs) + " spapr=" + n(static_cast<int>(m.spapr)) +
         " fail_nth=" + n(static_cast<int>(m.fail_nth));
}

void report(const options& o, std::uint64_t seed, const std::vector<operation>& steps,
            const mismatch& found) {
  std::printf("MISMATCH at step %zu of seed %llu: %s\n  %s\n", found.step,
              static_cast<unsigned long long>(seed), to_string(steps[found.step]).c_str(),
              found.what.c_str());
  const std::vector<operation> shortest = shrink(o.s, steps, found.step);
  std::printf("SHORTEST %zu steps:\n", shortest.size());
  for (const operation& step : shortest) std::printf("  %s\n", to_string(step).c_str());
  tally unused;
  if (const auto again = compare(o.s, shortest, unused)) std::printf("  %s\n", again->what.c_str());
  std::printf("REPLAY model=1 verbose=1 operations=1 seed=%llu %s\n",
              static_cast<unsigned long long>(seed), in_words(o).c_str());
}

int run(options o) {
  host h;
  std::unique_ptr<tracer> trace;
  if (!o.model_alone) {
    if (const int answer = emulated_ioctl(); answer != 0) {
      std::printf("SKIPPED: an emulator answers ioctls: %s\n", std::strerror(answer));
      return 77;
    }
    const auto kvm = kvm_vfio::native::kvm::open();
    if (!kvm && kvm_vfio::native::kvm_is_lacking(kvm.error())) {
      std::printf("SKIPPED: /dev/kvm: %s\n", std::strerror(static_cast<int>(kvm.error())));
      return 77;
    }
    h = find_host();
    o.s.has = h.has;
    o.s.kernel = &h;
    if (!o.events.empty()) {
      trace = std::make_unique<tracer>(o.events);
      o.s.trace = trace.get();
    }
  }
#if !defined __x86_64__
  o.s.noncoherent_calls = false;
#endif
  const auto start = std::chrono::steady_clock::now();
  tally t;
  std::uint64_t seed = o.seed;
  for (; t.steps < o.operations; ++seed) {
    const std::vector<operation> steps = generate(seed, o.length, o.s.has);
    std::vector<std::string> log;
    const auto found = compare(o.s, steps, t, o.verbose ? &log : nullptr);
    for (const std::string& line : log) std::printf("%s\n", line.c_str());
    if (!found) continue;
    report(o, seed, steps, *found);
    return 1;
  }
  std::string threads = "none";
  if (!o.model_alone && o.s.has.groups > 0) {
    threads = compare_threads(o.s, o.seed);
    if (threads != "equal") {
      std::printf("MISMATCH of threads: %s\n", threads.c_str());
      return 1;
    }
  }
  utsname u{};
  ::uname(&u);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf(
      "LOCKSTEP kernel=%s %s seeds=%llu..%llu operations=%ld calls=%ld references=%ld "
      "locks=%d threads=%s "
      "mismatches=0 seconds=%.1f\n",
      o.model_alone ? "none" : u.release, in_words(o).c_str(),
      static_cast<unsigned long long>(o.seed), static_cast<unsigned long long>(seed - 1), t.steps,
      t.calls, t.references, trace ? trace->sees_locks() : 0, threads.c_str(), seconds.count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return command_line::main("lockstep", usage, argc, argv,
                            [](int count, char** given) { return run(parse(count, given)); });
}
