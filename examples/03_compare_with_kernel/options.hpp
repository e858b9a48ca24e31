// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The command line.

#include <string>
#include <vector>

namespace compare {

struct options {
  bool help = false;
  bool json = false;
  std::string profile = "7.3";
  std::string kvm = "/dev/kvm";
  std::vector<std::string> vfio_files;
  std::string error;  ///< what is wrong with the command line; empty: nothing
};

inline constexpr const char* usage =
    "usage: 03_compare_with_kernel [--profile 7.3|6.12|6.1] [--json] [--kvm FILE] [VFIO FILE...]\n"
    "\n"
    "Makes the same calls on the kernel's kvm-vfio device and on the model, and prints for each\n"
    "what the kernel answered, what the model answered, and whether they agree. The VFIO files\n"
    "(/dev/vfio/N, /dev/vfio/devices/vfioN) are those named, or else all under /dev/vfio that can\n"
    "be opened; they are added to a VM and deleted again, never bound or reset.\n"
    "\n"
    "  --profile P  the Linux release that the model follows (7.3)\n"
    "  --json       print JSON instead of a table\n"
    "  --kvm FILE   KVM's device (/dev/kvm)\n"
    "  --help       print this\n"
    "\n"
    "Exit status: 0 all answers agree; 1 some differ; 2 the command line is wrong, --kvm names a\n"
    "file that is not there or not KVM's, or a call that the comparison itself needs failed; 77 "
    "this machine "
    "or\n"
    "user has no KVM: the model ran alone and nothing was compared.\n";

inline options parse(const std::vector<std::string>& arguments) {
  options o;
  bool only_files = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& a = arguments[i];
    const auto value = [&](const char* what) -> std::string {
      if (i + 1 < arguments.size()) return arguments[++i];
      o.error = a + " needs " + what;
      return {};
    };
    if (only_files || a.empty() || a[0] != '-') o.vfio_files.push_back(a);
    else if (a == "--") only_files = true;
    else if (a == "--help" || a == "-h") o.help = true;
    else if (a == "--json") o.json = true;
    else if (a == "--kvm") o.kvm = value("a file");
    else if (a == "--profile") o.profile = value("7.3, 6.12 or 6.1");
    else o.error = "unknown option " + a;
    if (!o.error.empty()) return o;
  }
  if (o.profile != "7.3" && o.profile != "6.12" && o.profile != "6.1")
    o.error = "unknown profile " + o.profile + "; there are 7.3, 6.12 and 6.1";
  return o;
}

}  // namespace compare
