// SPDX-License-Identifier: BSL-1.0
// kvm-vfio-sim: runs a program on a simulated host with VFIO, iommufd and kvm-vfio.
#include "faults.hpp"
#include "host.hpp"
#include "protocol.hpp"
#include "run.hpp"

#include <kvm_vfio/sim/topology_json.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>
#include <kvm_vfio/version.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace kvm_vfio_sim;
namespace sim = kvm_vfio::sim;

constexpr const char introduction[] =
    R"(kvm-vfio-sim runs a program on a simulated host with passed-through devices. The program needs no
hardware and no root: VFIO, iommufd, kvm-vfio and their part of sysfs are simulated. Everything else,
KVM included, is the real kernel's.

)";

constexpr const char run_usage[] =
    R"(  kvm-vfio-sim run --topology FILE [OPTION…] -- PROGRAM [ARGUMENT…]
      --topology FILE   the host, as JSON (topology.schema.json)
      --profile NAME    the Linux release: linux-6.1, linux-6.12 or linux-7.3 (the default)
      --log FILE        writes every simulated call to FILE, one JSON object on a line
      --faults FILE     lets calls fail: [{"request": "VFIO_DEVICE_SET_IRQS", "nth": 2, "errno": "ENOMEM"}]
                        (fault-plan.schema.json)
      --kvm WHICH       real: /dev/kvm is the real one. simulated: it is simulated, and runs no vCPU.
                        auto (the default): real, if this user can open it
      --transport HOW   preload: an object in the program sends the calls. seccomp: the kernel reports
                        them, also those of statically linked programs, and each costs more.
                        auto (the default): seccomp for programs that cannot load the object
      --unsafe-interrupts
                        allow_unsafe_interrupts=1, for a host whose IOMMUs remap no interrupts
      --strict          the exit status is 120 if the checker found a mistake (not for notes), or if no
                        call had a fault of the plan; and 121 if there was no simulated call
      --quiet           says nothing at the end if the checker found nothing
)";

constexpr const char topology_usage[] =
    R"(  kvm-vfio-sim topology [SYSFS]
      prints the topology of this host as JSON, from /sys or a copy of it
)";

constexpr const char statuses[] = R"(
The exit status is that of the program, 128 + N if signal N killed it, 127 if it was not found, 126 if
it could not be executed, 125 if kvm-vfio-sim itself failed, and 120 or 121 as --strict says.

The manual page kvm-vfio-sim(1) says more. The schemas of FILE are in share/doc/kvm-vfio-sim of the
installation.
)";

constexpr const char try_this[] = R"(
Try it: a host with one device, and lspci:

  echo '{"groups": [{"number": 1, "devices": [{"name": "0000:01:00.0", "pci": {"bars": [{"size": "0x4000"}]}}]}]}' > host.json
  kvm-vfio-sim run --topology host.json -- lspci -nn
)";

void print(std::initializer_list<const char*> texts) {
  for (const char* const text : texts) (void)std::fputs(text, stdout);
}

void print_help() {
  print(
      {introduction, run_usage, topology_usage, "  kvm-vfio-sim --version\n", statuses, try_this});
}

// Whether the arguments of a command ask for help.
bool asks_for_help(const std::vector<std::string_view>& arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](std::string_view argument) {
    return argument == "--help" || argument == "-h";
  });
}

bool read_file(const std::string& path, std::string& to) {
  std::FILE* const f = std::fopen(path.c_str(), "re");
  if (!f) return false;
  char part[4096];
  for (std::size_t n = sizeof part; n == sizeof part;) {
    n = std::fread(part, 1, sizeof part, f);
    to.append(part, n);
  }
  const bool good = std::ferror(f) == 0;
  (void)std::fclose(f);
  return good;
}

int run(std::vector<std::string_view> arguments, char** program) {
  run_options options;
  std::string topology_path;
  std::string faults_path;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string_view name = arguments[i];
    std::string value;
    bool has_value = false;
    if (const auto equals = name.find('='); equals != std::string_view::npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
      has_value = true;
    }
    if (name == "--strict" || name == "--quiet" || name == "--unsafe-interrupts") {
      if (has_value) return complain(std::string(name) + " has no value");
      (name == "--strict"  ? options.strict
       : name == "--quiet" ? options.quiet
                           : options.unsafe_interrupts) = true;
      continue;
    }
    std::string* const to = name == "--topology"    ? &topology_path
                            : name == "--profile"   ? &options.profile
                            : name == "--log"       ? &options.log
                            : name == "--faults"    ? &faults_path
                            : name == "--kvm"       ? &options.kvm
                            : name == "--transport" ? &options.transport
                                                    : nullptr;
    if (!to)
      return complain("there is no option \"" + std::string(name) +
                      R"("; the program comes behind "--" (kvm-vfio-sim --help))");
    if (!has_value) {
      if (++i == arguments.size()) return complain(std::string(name) + " has no value");
      value = arguments[i];
    }
    *to = value;
  }
  if (topology_path.empty()) return complain("--topology FILE is missing (kvm-vfio-sim --help)");
  if (!program || !*program)
    return complain("the program is missing: kvm-vfio-sim run … -- PROGRAM");
  if (options.kvm != "auto" && options.kvm != "real" && options.kvm != "simulated")
    return complain("--kvm is auto, real or simulated, and not \"" + options.kvm + "\"");
  if (options.transport != "auto" && options.transport != "preload" &&
      options.transport != "seccomp")
    return complain("--transport is auto, preload or seccomp, and not \"" + options.transport +
                    "\"");
  std::string text;
  if (!read_file(topology_path, text)) return complain(topology_path + ": " + std::strerror(errno));
  const sim::topology_result read = sim::topology_from_json(text);
  if (!read) return complain(topology_path + ":\n" + sim::to_text(read.errors));
  if (!faults_path.empty()) {
    std::string plan;
    if (!read_file(faults_path, plan)) return complain(faults_path + ": " + std::strerror(errno));
    options.faults = read_fault_plan(plan);
    if (!options.faults.error.empty()) return complain(faults_path + ": " + options.faults.error);
  }
  return run_program(read.machine, options, program);
}

int print_topology(const std::vector<std::string_view>& arguments) {
  if (arguments.size() > 1) return complain("topology takes one folder at most");
  const std::string root(arguments.empty() ? "/sys" : arguments[0]);
  const sim::topology_result read = sim::topology_from_sysfs(root);
  if (!read) return complain(root + ":\n" + sim::to_text(read.errors));
  for (const auto& missing : read.unknown)
    (void)std::fprintf(stderr, "kvm-vfio-sim: %s\n", missing.text().c_str());
  if (read.machine.groups.empty())
    return complain(root + " has no IOMMU group: the host has no active IOMMU");
  (void)std::puts(sim::topology_to_json(read.machine).c_str());
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    print_help();
    return own_failure;
  }
  const std::string_view command = arguments[1];
  int end = 2;
  while (end < count && std::strcmp(arguments[end], "--") != 0) ++end;
  const std::vector<std::string_view> own(arguments + 2, arguments + end);
  if (command == "--help" || command == "-h" || command == "help") {
    print_help();
    return 0;
  }
  if (command == "--version") {
    (void)std::printf("kvm-vfio-sim %d.%d.%d\n", KVM_VFIO_VERSION_MAJOR, KVM_VFIO_VERSION_MINOR,
                      KVM_VFIO_VERSION_PATCH);
    return 0;
  }
  if ((command == "run" || command == "topology") && asks_for_help(own)) {
    if (command == "run") print({run_usage, statuses, try_this});
    else print({topology_usage});
    return 0;
  }
  if (command == "run") return run(own, end < count ? arguments + end + 1 : nullptr);
  if (command == "topology") return print_topology(own);
  return complain("there is no command \"" + std::string(command) + "\" (kvm-vfio-sim --help)");
}
