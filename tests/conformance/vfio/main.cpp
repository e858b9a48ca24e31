// SPDX-License-Identifier: BSL-1.0
// The simulator in lock-step with the running kernel's VFIO: the same system calls on both, every
// answer and every byte written back compared. --help says more.
#include "combinations.hpp"
#include "conformance/support/command_line.hpp"
#include "conformance/support/hex_lines.hpp"
#include "conformance/support/shrink.hpp"
#include "facts.hpp"
#include "fixed/sequences.hpp"
#include "info_sizes.hpp"
#include "locked_memory.hpp"
#include "machines.hpp"
#include "passthrough.hpp"
#include "player.hpp"
#include "real_pair.hpp"
#include "sim/scenarios.hpp"
#include "simulated_pair.hpp"
#include "support/real_system.hpp"
#include "support/sim_system.hpp"
#include "sysfs_view.hpp"
#include "view.hpp"

#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/topology_json.hpp>

#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace vfio_lockstep;
namespace sim = kvm_vfio::sim;

namespace {

// A run of so many calls must compare most combinations.
constexpr long many = 15000;

constexpr const char* usage =
    "usage: vfio_lockstep [option=value]...\n"
    "  profile=7.3|6.12|6.1   the simulator's Linux release (7.3)\n"
    "  coherent=0|1           whether the IOMMU enforces coherency (0)\n"
    "  remap=0|1              whether the IOMMU remaps interrupts (0)\n"
    "  unsafe=0|1             whether VFIO and iommufd allow unsafe interrupts (1)\n"
    "  seed=N operations=N    where to start, and at least how many calls to compare (1, 20000)\n"
    "  length=N               calls per sequence (100)\n"
    "  transcripts=1          print what the scenarios answered\n"
    "  verbose=1              print every call\n"
    "  keep_going=1           after a mismatch too, up to ten\n"
    "  table=1                print how often each combination was compared\n"
    "  percent=N              fail if less of the combinations were compared often enough (95);\n"
    "                         runs of less than 15000 calls do not fail\n"
    "  simulator=FILE         compare the simulator with itself, on the topology of a JSON file;\n"
    "                         the fixed sequences run on it, too, and nothing is compared\n"
    "  iommufd=0|1            with simulator=FILE: whether the machine has iommufd (1)\n"
    "  processor=x86|arm64|power  with simulator=FILE: the machine's (that of this program)\n"
    "  fixed=0                leave out the scenarios and the fixed sequences\n"
    "  functions=1            compare only virtual functions, their physical functions, and "
    "devices\n"
    "                         on buses that can be reset, with the fixed sequences and the "
    "requests\n"
    "                         for information\n"
    "  sysfs=1                compare only the files of /sys\n"
    "  corpus=FILE            compare the inputs of the corpus for this machine, too\n"
    "  topology=1             print the machine's topology for the corpus, and end\n"
    "Exit status: 0 no mismatch; 1 a mismatch; 2 it could not run; 77 this machine has no VFIO\n"
    "groups.\n";

struct options {
  circumstances machine{};
  std::uint64_t seed = 1;
  long operations = 20000;
  int length = 100;
  bool transcripts = false;
  bool verbose = false;
  bool keep_going = false;
  bool table = false;
  long percent = 95;
  std::string simulator{};
  std::string corpus{};
  bool iommufd = true;
  bool fixed = true;
  bool functions = false;
  bool sysfs = false;
  bool topology = false;
};

processor processor_of(const std::string& name) {
  if (name == "x86") return processor::x86;
  if (name == "arm64") return processor::arm64;
  if (name == "power") return processor::power;
  throw std::runtime_error("unknown processor: " + name);
}

options parse(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; ++i) {
    const command_line::option given(argv[i]);
    const auto& [key, value] = given;
    const auto n = [&] { return given.number(); };
    if (key == "profile") o.machine.profile = value;
    else if (key == "coherent") o.machine.coherent = n() != 0;
    else if (key == "remap") o.machine.remap = n() != 0;
    else if (key == "unsafe") o.machine.unsafe = n() != 0;
    else if (key == "seed") o.seed = static_cast<std::uint64_t>(n());
    else if (key == "operations") o.operations = n();
    else if (key == "length") o.length = static_cast<int>(n());
    else if (key == "transcripts") o.transcripts = n() != 0;
    else if (key == "verbose") o.verbose = n() != 0;
    else if (key == "keep_going") o.keep_going = n() != 0;
    else if (key == "table") o.table = n() != 0;
    else if (key == "percent") o.percent = n();
    else if (key == "simulator") o.simulator = value;
    else if (key == "fixed") o.fixed = n() != 0;
    else if (key == "functions") o.functions = n() != 0;
    else if (key == "sysfs") o.sysfs = n() != 0;
    else if (key == "iommufd") o.iommufd = n() != 0;
    else if (key == "processor") o.machine.cpu = processor_of(value);
    else if (key == "corpus") o.corpus = value;
    else if (key == "topology") o.topology = n() != 0;
    else throw std::runtime_error("unknown option: " + key);
  }
  if (o.simulator.empty() && o.machine.cpu != own_processor)
    throw std::runtime_error("processor= needs simulator=");
  if (o.machine.profile != "7.3" && o.machine.profile != "6.12" && o.machine.profile != "6.1")
    throw std::runtime_error("unknown profile: " + o.machine.profile);
  return o;
}

/// The running kernel's machine, or one with the topology of a JSON file.
facts find(const options& o, equipment& e) {
  if (o.simulator.empty()) return facts_of_this_machine(o.machine, e);
  e = equipment_of(o.iommufd, o.machine.cpu);
  return facts_of(read_topology(o.simulator), o.machine, e);
}

/// Gives CAP_SYS_RAWIO to this process, or takes it away. Exits if that fails.
void raw_io(bool yes) {
  struct {
    std::uint32_t version;
    int process;
  } header{0x20080522, 0};  // _LINUX_CAPABILITY_VERSION_3, this process
  struct {
    std::uint32_t effective, permitted, inheritable;
  } sets[2]{};
  constexpr std::uint32_t cap_sys_rawio = 1U << 17;
  bool good = ::syscall(SYS_capget, &header, sets) == 0;
  if (yes) sets[0].effective |= cap_sys_rawio;
  else sets[0].effective &= ~cap_sys_rawio;
  good = good && ::syscall(SYS_capset, &header, sets) == 0;
  if (!good) throw std::runtime_error("cannot change CAP_SYS_RAWIO of this process");
}

struct mismatch {
  std::size_t at = 0;
  std::string what;
};

class comparison {
 public:
  comparison(const options& o, facts f) : options_(o), facts_(std::move(f)) {}

  /// Runs steps on fresh systems, up to the first mismatch.
  std::optional<mismatch> run(const std::vector<step>& steps) {
    std::optional<mismatch> found;
    on_both([&](auto& kernel, auto& simulator, view&) {
      for (std::size_t i = 0; i < steps.size() && !found; ++i)
        found = compare(kernel, simulator, steps[i], i);
    });
    return found;
  }
  /// Runs the steps that an input of the corpus chooses on fresh systems, up to the first mismatch.
  /// \param steps gets the steps
  std::optional<mismatch> run(const std::vector<unsigned char>& input, std::vector<step>& steps) {
    std::optional<mismatch> found;
    on_both([&](auto& kernel, auto& simulator, view& now) {
      const auto made = make_source(steps_of(input), facts_.has, rows_, now);
      for (std::vector<step> more = made->next(); !more.empty() && !found; more = made->next())
        for (step& s : more) {
          if (now.would_run(s)) ++corpus_calls;
          steps.push_back(std::move(s));
          bool good = false;
          found = compare(kernel, simulator, steps.back(), steps.size() - 1, &good);
          if (found) return;
        }
    });
    ++corpus;
    return found;
  }
  /// Makes steps and runs them on fresh systems, up to the first mismatch. Counts them.
  /// \param steps gets the steps
  std::optional<mismatch> run(std::uint64_t seed, std::vector<step>& steps) {
    std::optional<mismatch> found;
    on_both([&](auto& kernel, auto& simulator, view& now) {
      const auto made = make_source(seed, options_.length, facts_.has, now, seen_);
      for (std::vector<step> more = made->next(); !more.empty() && !found; more = made->next())
        for (step& s : more) {
          const bool runs = now.would_run(s);
          const std::string key = runs ? key_of(s, now, facts_.has) : std::string();
          const sim::file* const before = runs ? now.file(s.on) : nullptr;
          steps.push_back(std::move(s));
          bool good = false;
          found = compare(kernel, simulator, steps.back(), steps.size() - 1, &good);
          if (options_.verbose && runs) std::printf("  %s\n", key.c_str());
          if (found) return;
          if (!runs) continue;
          ++operations;
          seen_.count(key);
          now.remember(steps.back(), before, good);
        }
    });
    return found;
  }
  /// The scenarios of the simulator's tests. \return the lines that differ
  long scenarios_differ() {
    long differ = 0;
    for (const char* name : scenarios::names) {
      const target& t = facts_.has.targets.front();
      const scenarios::target on{.group = t.group, .device = t.device, .device_file = t.cdev};
      std::vector<std::string> simulated;
      on_simulator([&](sim::process& task, sim::world&) {
        support::sim_system s(task);
        simulated = scenarios::run(s, name, on);
      });
      const auto kernels = on_kernel([&] {
        support::real_system real;
        const int first = ::dup(STDOUT_FILENO);
        auto answers = scenarios::run(real, name, on);
        ::close_range(static_cast<unsigned>(first), ~0U, 0);  // some leave descriptors open
        return answers;
      });
      operations += static_cast<long>(kernels.size());
      differ += lines_differ(std::string("scenario ") + name, kernels, simulated);
    }
    return differ;
  }
  /// The example's VMM, once with each device that it can use. \return the lines that differ
  long passthrough_differs() {
    long differ = 0;
    for (const passthrough_case& c : passthrough_cases(facts_.topology, facts_.has.iommufd)) {
      if (!c.left_out.empty()) {
        std::printf("LEFT OUT passthrough of %s: %s\n", c.name.c_str(), c.left_out.c_str());
        continue;
      }
      const auto kernels = on_kernel([&] {
        return vmm::report(kvm_vfio::native::host{}, c.device, arena_.dma(), memory::page);
      });
      std::vector<std::string> simulated;
      on_simulator([&](sim::process& task, sim::world&) {
        simulated = vmm::report(sim::process_ref(task), c.device, arena_.dma(), memory::page);
      });
      passthrough += static_cast<long>(kernels.size());
      if (!kernels.empty() && kernels.back() == "unplug: OK 0") ++plugged;
      differ += lines_differ("passthrough of " + c.name, kernels, simulated);
    }
    return differ;
  }
  /// The simulator's view of /sys. It must be compared before a process opens a device, because
  /// Linux then shows the device as no process has used it. \return the lines that differ
  long sysfs_differs() {
    const sysfs_result found = compare_sysfs(facts_, options_.machine, options_.simulator.empty());
    sysfs += found.compared;
    for (const std::string& line : found.differences)
      std::printf("MISMATCH sysfs %s\n", line.c_str());
    return static_cast<long>(found.differences.size());
  }
  /// Calls that meet the limit on locked memory. \return the lines that differ
  long locked_memory_differs() {
    locked_memory_target on{.iommufd = facts_.has.iommufd, .spapr = facts_.has.spapr};
    for (const target& t : facts_.has.targets) {
      if (!t.comparable) continue;
      if (on.group.empty()) {
        on.group = t.group;
        on.device = t.device;
        on.device_file = t.cdev;
      } else if (t.group != on.group) {
        on.other_group = t.group;
        on.other_device_file = t.cdev;
        break;
      }
    }
    if (on.other_group.empty()) return 0;
    const locked_memory_pages pages;
    const auto kernels = on_kernel([&] {
      real_limit limit;
      return locked_memory<support::real_system, real_limit>({}, limit, pages).run(on);
    });
    std::vector<std::string> simulated;
    on_simulator([&](sim::process& task) {
      simulated_limit limit(task);
      simulated = locked_memory<support::sim_system, simulated_limit>(support::sim_system(task),
                                                                      limit, pages)
                      .run(on);
    });
    operations += static_cast<long>(kernels.size());
    locked += static_cast<long>(kernels.size());
    return lines_differ("locked memory", kernels, simulated);
  }
  /// Requests for information with every size of the struct. \return the lines that differ
  long info_sizes_differ() {
    long differ = 0;
    for (const target& t : facts_.has.targets) {
      if (!compared(t)) continue;
      const info_sizes_target on{.group = t.group,
                                 .device = t.device,
                                 .iommufd = facts_.has.iommufd,
                                 .spapr = facts_.has.spapr,
                                 .hot_reset = t.pci.bus_resets};
      const auto kernels = on_kernel([&] { return info_sizes<support::real_system>({}).run(on); });
      std::vector<std::string> simulated;
      on_simulator([&](sim::process& task) {
        simulated = info_sizes<support::sim_system>(support::sim_system(task)).run(on);
      });
      sizes += static_cast<long>(kernels.size());
      if (of_functions(t)) functions += static_cast<long>(kernels.size());
      differ += lines_differ("sizes of " + t.device, kernels, simulated);
    }
    return differ;
  }
  /// The fixed sequences, once with each device, up to the first that differs. \return the lines
  /// that differ
  long sequences_differ() {
    long differ = 0;
    const fixed::dma_memory memory = dma();
    for (const target& t : facts_.has.targets)
      for (const std::string_view name : fixed::names)
        if (compared(t) && (differ == 0 || options_.keep_going)) {
          const long before = fixed;
          differ += sequence_differs(name, t, memory, fixed);
          if (of_functions(t)) functions += fixed - before;
        }
    return differ;
  }
  /// The sequences that a process and its child make. \return the lines that differ
  long two_processes_differ() {
    long differ = 0;
    for (const target& t : facts_.has.targets)
      for (const std::string_view name : fixed::names_of_two) {
        const auto kernels = on_kernel([&] {
          real_pair pair;
          return fixed::run_two(name, pair, t, facts_.has, dma());
        });
        std::vector<std::string> simulated;
        on_simulator([&](sim::process& task, sim::filesystem& kernel) {
          simulated_pair pair(task, kernel);
          simulated = fixed::run_two(name, pair, t, facts_.has, dma());
        });
        fixed += static_cast<long>(kernels.size());
        differ += lines_differ(std::string(name) + " of " + t.device, kernels, simulated);
      }
    return differ;
  }
  /// The fixed sequences with each device that no IOMMU handles. \return the lines that differ
  long no_iommu_differs() {
    long differ = 0;
    const fixed::dma_memory memory = dma();
    for (const target& t : facts_.has.no_iommu) {
      const auto kernels = on_kernel([&] {
        return fixed::run_without_iommu(kvm_vfio::native::host{}, t, facts_.has, memory, raw_io);
      });
      std::vector<std::string> simulated;
      on_simulator([&](sim::process& task) {
        simulated = fixed::run_without_iommu(sim::process_ref(task), t, facts_.has, memory,
                                             [&](bool yes) { task.cap_sys_rawio(yes); });
      });
      no_iommu += static_cast<long>(kernels.size());
      differ += lines_differ("no IOMMU of " + t.device, kernels, simulated);
      for (const std::string_view name : fixed::names_without_iommu)
        differ += sequence_differs(name, t, memory, no_iommu);
    }
    return differ;
  }
  const machine& has() const { return facts_.has; }
  const combinations& seen() const { return seen_; }

  long operations = 0;
  long functions = 0;     ///< of `sizes` and `fixed`: those of virtual and physical functions
  long fixed = 0;         ///< the answers of the fixed sequences that were compared
  long no_iommu = 0;      ///< the answers of devices without an IOMMU that were compared
  long passthrough = 0;   ///< the lines of the VMM that were compared
  long locked = 0;        ///< the calls around the limit on locked memory that were compared
  long sizes = 0;         ///< the requests for information with all sizes that were compared
  long sysfs = 0;         ///< the files of /sys that were compared
  long corpus = 0;        ///< the inputs of the corpus that were compared
  long corpus_calls = 0;  ///< the calls of these inputs that were compared
  long plugged = 0;       ///< the devices that the kernel let the VMM use and unplug

 private:
  /// Whether the device is a virtual function, or the physical function of one.
  [[nodiscard]] bool of_functions(const target& t) const {
    bool found = !t.physical.empty();
    for (const target& other : facts_.has.targets) found = found || other.physical == t.device;
    return found;
  }
  /// Whether the fixed sequences are compared with the device.
  [[nodiscard]] bool compared(const target& t) const {
    return t.comparable && (!options_.functions || of_functions(t) || t.pci.bus_resets);
  }
  /// The memory that the fixed sequences use.
  [[nodiscard]] fixed::dma_memory dma() const {
    const auto address = [](const unsigned char* p) { return reinterpret_cast<std::uintptr_t>(p); };
    return {address(arena_.dma()), address(arena_.absent()), address(arena_.read_only()),
            address(arena_.read_only_alias())};
  }
  /// A fixed sequence with a device. \param compared gets the answers added
  /// \return the lines that differ
  long sequence_differs(std::string_view name, const target& t, const fixed::dma_memory& memory,
                        long& compared) {
    const auto kernels = on_kernel(
        [&] { return fixed::run(name, kvm_vfio::native::host{}, t, facts_.has, memory); });
    std::vector<std::string> simulated;
    on_simulator([&](sim::process& task) {
      simulated = fixed::run(name, fixed::simulated(task), t, facts_.has, memory);
    });
    compared += static_cast<long>(kernels.size());
    return lines_differ(std::string(name) + " of " + t.device, kernels, simulated);
  }
  // The lines of the running kernel, or none if the simulator is compared with itself.
  template <class Run>
  std::vector<std::string> on_kernel(Run run) const {
    return options_.simulator.empty() ? run() : std::vector<std::string>();
  }
  /// Compares the lines of a kernel and of the simulator. \return the lines that differ
  [[nodiscard]] long lines_differ(const std::string& what, const std::vector<std::string>& kernels,
                                  const std::vector<std::string>& simulated) const {
    long differ = 0;
    if (!options_.simulator.empty()) return 0;  // nothing ran on a kernel
    for (std::size_t i = 0; i < kernels.size() || i < simulated.size(); ++i) {
      const std::string k = i < kernels.size() ? kernels[i] : "nothing";
      const std::string s = i < simulated.size() ? simulated[i] : "nothing";
      if (options_.transcripts) std::printf("TRANSCRIPT %s %s\n", what.c_str(), k.c_str());
      if (k == s) continue;
      ++differ;
      std::printf("MISMATCH %s, line %zu: kernel '%s', simulator '%s'\n", what.c_str(), i,
                  k.c_str(), s.c_str());
    }
    return differ;
  }
  // Runs a step on the kernel and on the simulator.
  template <class Kernel, class Simulator>
  std::optional<mismatch> compare(Kernel& kernel, Simulator& simulator, const step& s,
                                  std::size_t at, bool* good = nullptr) {
    const outcome k = kernel.run(s);
    const outcome o = simulator.run(s);
    if (good) *good = o.done && o.answer >= 0;
    if (options_.verbose && good)
      std::printf("%s: %s\n", to_string(s).c_str(), to_string(k).c_str());
    if (k == o) return {};
    return mismatch{at, "kernel " + to_string(k) + "\n  simulator " + to_string(o)};
  }
  // Calls `use` with a player of the kernel, a player of the simulator, and the simulator's state.
  template <class Use>
  void on_both(Use use) {
    on_simulator([&](sim::process& task, sim::world& world) {
      support::sim_system simulated(task);
      player<support::sim_system> simulator(simulated, arena_);
      view now(task, world, simulator);
      if (options_.simulator.empty()) {
        support::real_system real;
        player<support::real_system> kernel(real, arena_);
        use(kernel, simulator, now);
        return;
      }
      on_simulator([&](sim::process& other, sim::world&) {
        support::sim_system instead(other);
        player<support::sim_system> kernel(instead, arena_);
        use(kernel, simulator, now);
      });
    });
  }
  // Linux keeps the token of a physical function after the last close. A simulated world begins
  // with one that no process knows. So each physical function gets a token that no sequence uses.
  void forget_tokens() const {
    for (const target& t : facts_.has.targets) {
      fixed::enable_functions(t);
      if (t.physical_group.empty()) continue;
      support::vmm sys{support::real_system()};
      const auto group = sys.open(t.physical_group.c_str());
      if (!group) continue;
      const std::string name = t.physical + " vf_token=99999999-9999-9999-9999-999999999999";
      (void)sys.device_fd(*group, name.c_str());  // the token counts, although the open fails
      (void)sys.close(*group);
    }
  }
  template <class Use>
  void on_simulator(Use use) {
    if (options_.simulator.empty()) {
      forget_vectors(facts_.has);
      forget_tokens();
    }
    on_new_kernel(options_.machine.profile, facts_, arena_, use);
  }

  options options_;
  facts facts_;
  combinations seen_{facts_.has};
  std::vector<row> rows_ = reachable_rows_of(facts_.has);
  memory arena_;
};

/// Prints a mismatch, and the shortest sequence that still has one.
void report(comparison& c, const std::string& of, const std::vector<step>& steps,
            const mismatch& differs) {
  std::printf("MISMATCH at call %zu of %s: %s\n  %s\n", differs.at, of.c_str(),
              to_string(steps[differs.at]).c_str(), differs.what.c_str());
  const std::vector<step> shortest =
      conformance::shrink(steps, differs.at, [&c](const std::vector<step>& candidate) {
        const auto again = c.run(candidate);
        return again ? std::optional(again->at) : std::nullopt;
      });
  std::printf("SHORTEST %zu calls:\n", shortest.size());
  for (const step& s : shortest) std::printf("  %s\n", to_string(s).c_str());
  if (const auto again = c.run(shortest)) std::printf("  %s\n", again->what.c_str());
}

/// Compares the inputs of the corpus for this machine. \return the mismatches
long corpus_differs(comparison& c, const options& o, const equipment& e) {
  long mismatches = 0;
  const auto inputs = conformance::read_hex_lines(o.corpus);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (mismatches > 0 && (!o.keep_going || mismatches == 10)) break;
    if (!c.has().books || machine_of(inputs[i]) != number_of(o.machine, e)) continue;
    std::vector<step> steps;
    const auto differs = c.run(inputs[i], steps);
    if (!differs) continue;
    ++mismatches;
    report(c, "line " + std::to_string(i + 1) + " of the corpus", steps, *differs);
  }
  return mismatches;
}

/// Prints what the corpus keeps of a machine.
void print_machine(const facts& f, const equipment& e) {
  std::printf("MACHINE iommufd=%d suspends=%d huge_pages=%d\n", static_cast<int>(e.iommufd),
              static_cast<int>(e.suspends), static_cast<int>(e.huge_pages));
  std::string text = "\n" + sim::topology_to_json(f.topology);
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2) {
    std::size_t blanks = at + 1;
    while (blanks < text.size() && text[blanks] == ' ') ++blanks;
    text.replace(at, blanks - at, "\nT ");
  }
  std::puts(text.c_str());
}

int run(const options& o) {
  const auto start = std::chrono::steady_clock::now();
  equipment e;
  facts found = find(o, e);
  if (o.topology) {
    print_machine(found, e);
    return 0;
  }
  if (found.has.targets.empty()) {
    std::puts("SKIPPED: no VFIO groups");
    return 77;
  }
  comparison c(o, std::move(found));
  const bool fixed = o.fixed && !o.sysfs, all = fixed && !o.functions;
  long mismatches = o.fixed || o.sysfs ? c.sysfs_differs() : 0;
  const auto go_on = [&] { return mismatches == 0 || o.keep_going; };
  if (all && go_on()) mismatches += c.scenarios_differ();
  if (all && go_on()) mismatches += c.locked_memory_differs();
  if (fixed && go_on()) mismatches += c.info_sizes_differ();
  if (fixed && go_on()) mismatches += c.sequences_differ();
  if (all && go_on()) mismatches += c.two_processes_differ();
  if (all && go_on()) mismatches += c.no_iommu_differs();
  if (all && go_on()) mismatches += c.passthrough_differs();
  std::uint64_t seed = o.seed;
  const long operations = o.functions || o.sysfs ? 0 : o.operations;
  for (; c.operations < operations && (mismatches == 0 || o.keep_going) && mismatches < 10;
       ++seed) {
    std::vector<step> steps;
    const auto differs = c.run(seed, steps);
    if (!differs) continue;
    ++mismatches;
    report(c, "seed " + std::to_string(seed), steps, *differs);
  }
  if (!o.corpus.empty() && (mismatches == 0 || o.keep_going)) mismatches += corpus_differs(c, o, e);
  if (o.table) c.seen().print_table();
  c.seen().print_summary(operations >= many);
  std::set<std::string> groups;
  for (const target& t : c.has().targets) groups.insert(t.group);
  utsname u{};
  ::uname(&u);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf(
      "VFIO-LOCKSTEP kernel=%s profile=%s coherent=%d groups=%zu devices=%zu iommufd=%d "
      "seeds=%llu..%llu "
      "operations=%ld functions=%ld fixed=%ld noiommu=%ld passthrough=%ld locked=%ld sizes=%ld "
      "plugged=%ld sysfs=%ld "
      "corpus=%ld corpus_calls=%ld "
      "combinations=%.1f%% mismatches=%ld "
      "seconds=%.1f\n",
      u.release, o.machine.profile.c_str(), static_cast<int>(o.machine.coherent), groups.size(),
      c.has().targets.size(), static_cast<int>(c.has().iommufd),
      static_cast<unsigned long long>(o.seed), static_cast<unsigned long long>(seed - 1),
      c.operations, c.functions, c.fixed, c.no_iommu, c.passthrough, c.locked, c.sizes, c.plugged,
      c.sysfs, c.corpus, c.corpus_calls, c.seen().percent(), mismatches, seconds.count());
  if (mismatches != 0) return 1;
  if (operations < many) return 0;
  return c.seen().percent() >= static_cast<double>(o.percent) && c.seen().unlisted().empty() ? 0
                                                                                             : 1;
}

}  // namespace

int main(int argc, char** argv) {
  return command_line::main("vfio_lockstep", usage, argc, argv,
                            [](int count, char** given) { return run(parse(count, given)); });
}
