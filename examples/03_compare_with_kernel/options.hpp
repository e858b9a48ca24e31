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
    "Makes the same calls on the kernel's kvm-vfio device and on the model. Prints for each call\n"
    "the answer of the kernel, the answer of the model, and whether they are equal. The calls use\n"
    "the VFIO files that you name (/dev/vfio/N, /dev/vfio/devices/vfioN), or else all files below\n"
    "/dev/vfio that can be opened. These files are added to a VM and deleted again; they are not\n"
    "bound or reset.\n"
    "\n"
    "  --profile P  the Linux release that the model follows (7.3)\n"
    "  --json       print JSON instead of a table\n"
    "  --kvm FILE   the file of KVM (/dev/kvm)\n"
    "  --help       print this\n"
    "\n"
    "Exit status:\n"
    "  0   all answers are equal\n"
    "  1   some answers differ\n"
    "  2   the command line is wrong, the file of --kvm does not exist or is not KVM, or a call\n"
    "      that the comparison needs failed\n"
    "  77  this machine or this user has no KVM: only the model ran, and nothing was compared\n";

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
