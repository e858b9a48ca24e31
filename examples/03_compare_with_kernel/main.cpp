// SPDX-License-Identifier: BSL-1.0
// Makes the same calls on the kernel's kvm-vfio, through /dev/kvm, and on the model, and compares
// every answer. --help explains the options.
#include "options.hpp"
#include "remedy.hpp"
#include "report.hpp"
#include "rows.hpp"
#include "system.hpp"

#include <kvm_vfio/native/explain.hpp>

#include <sys/utsname.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

using namespace compare;

namespace {

std::unique_ptr<compare::system> model_of(const std::string& profile) {
  if (profile == "6.1") return std::make_unique<model_system<kv::linux_6_1>>();
  if (profile == "6.12") return std::make_unique<model_system<kv::linux_6_12>>();
  return std::make_unique<model_system<kv::linux_7_3>>();
}

// Returns the VFIO files of this host that can be opened.
std::vector<std::string> find_vfio_files() {
  std::vector<std::string> found;
  for (const char* directory : {"/dev/vfio", "/dev/vfio/devices"}) {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(directory, none)) {
      const std::string name = entry.path().filename();
      if (name == "vfio" || !entry.is_character_file(none)) continue;
      const int fd = ::open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
      if (fd < 0) continue;
      ::close(fd);
      found.push_back(entry.path());
    }
  }
  return found;
}

std::vector<outcome> run(compare::system* kernel, compare::system& model,
                         const std::vector<std::string>& vfio_files) {
  std::vector<outcome> outcomes;
  stage on_model(model);
  const auto on_kernel = kernel ? std::make_unique<stage>(*kernel) : nullptr;
  const auto play = [&](const std::vector<row>& rows) {
    for (const row& r : rows) {
      std::optional<std::string> answer;
      if (on_kernel) answer = r.run(*on_kernel);
      outcomes.push_back({r.section, r.call, answer, r.run(on_model)});
    }
  };
  play(common_rows());
  for (const std::string& path : vfio_files) play(vfio_rows(path));
  return outcomes;
}

}  // namespace

int main(int argc, char** argv) {
  options o = parse({argv + 1, argv + argc});
  if (!o.error.empty()) {
    std::fprintf(stderr, "03_compare_with_kernel: %s\n%s", o.error.c_str(), usage);
    return 2;
  }
  if (o.help) {
    std::fputs(usage, stdout);
    return 0;
  }
  if (o.vfio_files.empty()) o.vfio_files = find_vfio_files();

  setting where{"", "Linux " + o.profile};
  std::unique_ptr<compare::system> kernel;
  kv::result<kv::native::kvm> kvm = kv::native::kvm::open(o.kvm.c_str());
  if (kvm) {
    utsname release{};
    ::uname(&release);
    where.kernel = release.release;
    kernel = std::make_unique<kernel_system>(std::move(kvm).value());
  } else if (kvm.error() == kv::errc::noent && o.kvm != "/dev/kvm") {
    std::fprintf(
        stderr,
        "03_compare_with_kernel: --kvm %s: the file does not exist; the usual path is /dev/kvm\n",
        o.kvm.c_str());
    return 2;
  } else if (!kv::native::kvm_is_lacking(kvm.error())) {
    std::fprintf(stderr, "03_compare_with_kernel: --kvm %s: %s: %s\n", o.kvm.c_str(),
                 words(kvm.error()).c_str(),
                 kv::native::explain(kv::native::operation::open_kvm, kvm.error()));
    return 2;
  } else {
    std::fprintf(stderr, "%s: %s; only the model runs, and nothing is compared\n%s", o.kvm.c_str(),
                 std::strerror(static_cast<int>(kvm.error())), remedy(o.kvm, kvm.error()).c_str());
  }
  const auto model = model_of(o.profile);
  const std::vector<outcome> outcomes = run(kernel.get(), *model, o.vfio_files);
  if (o.json) print_json(where, outcomes);
  else print_table(where, outcomes);
  if (!kernel) return 77;
  return count(outcomes).differing == 0 ? 0 : 1;
}
