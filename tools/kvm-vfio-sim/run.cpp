// SPDX-License-Identifier: BSL-1.0
#include "run.hpp"

#include "host.hpp"
#include "protocol.hpp"
#include "server.hpp"
#include "unique_fd.hpp"

#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/sysfs_view.hpp>

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

namespace kvm_vfio_sim {
namespace {

namespace sim = kvm_vfio::sim;
namespace fs = std::filesystem;

// The program, for the signals that only this process gets.
volatile sig_atomic_t child = 0;

void pass_on(int signal) {
  if (child > 0) (void)::kill(child, signal);
}

int complain(const std::string& what) {
  (void)std::fprintf(stderr, "kvm-vfio-sim: %s\n", what.c_str());
  return own_failure;
}

std::string reason() { return std::strerror(errno); }

// A folder for the run, which is removed at the end.
class run_directory {
 public:
  run_directory() {
    const char* const base = std::getenv("TMPDIR");
    std::string name = std::string(base && base[0] == '/' ? base : "/tmp") + "/kvm-vfio-sim.XXXXXX";
    if (::mkdtemp(name.data())) path_ = name;
  }
  run_directory(const run_directory&) = delete;
  run_directory& operator=(const run_directory&) = delete;
  ~run_directory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

sim::linux_release release_named(const std::string& profile) {
  if (profile == "linux-6.1") return sim::release_of<kvm_vfio::linux_6_1>();
  if (profile == "linux-6.12") return sim::release_of<kvm_vfio::linux_6_12>();
  return sim::release_of<kvm_vfio::linux_7_3>();
}

// The preloaded object: beside this program, as the build has it, or where it is installed.
std::string find_object() {
  std::error_code failed;
  const fs::path self = fs::read_symlink("/proc/self/exe", failed);
  for (const fs::path& place : {self.parent_path() / KVM_VFIO_SIM_OBJECT,
                                self.parent_path() / KVM_VFIO_SIM_OBJECT_DIR / KVM_VFIO_SIM_OBJECT})
    if (fs::exists(place, failed)) return fs::weakly_canonical(place, failed).string();
  return {};
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* const path = std::getenv("PATH");
  std::string rest = path ? path : "/usr/bin:/bin";
  for (std::size_t at = 0; at <= rest.size();) {
    const std::size_t end = std::min(rest.find(':', at), rest.size());
    std::string tried = rest.substr(at, end - at);
    tried += (tried.empty() ? "./" : "/") + name;
    if (::access(tried.c_str(), X_OK) == 0) return tried;
    at = end + 1;
  }
  return name;
}

// Whether a program is an ELF file that no dynamic loader loads. Preloading does not reach it. (The
// loader itself names no loader, but it preloads.)
bool is_static(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name.starts_with("ld-") || name.starts_with("ld.so")) return false;
  const unique_fd f(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Elf64_Ehdr head{};
  if (!f || ::pread(f.get(), &head, sizeof head, 0) != sizeof head ||
      std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64)
    return false;
  for (unsigned i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part{};
    const auto at = static_cast<off_t>(head.e_phoff + std::uint64_t{i} * head.e_phentsize);
    if (::pread(f.get(), &part, sizeof part, at) != sizeof part) return false;
    if (part.p_type == PT_INTERP) return false;
  }
  return true;
}

bool write_nodes(const std::string& path, const std::vector<sim::device_node>& nodes) {
  std::FILE* const f = std::fopen(path.c_str(), "we");
  if (!f) return false;
  for (const sim::device_node& n : nodes)
    (void)std::fprintf(f, "%s %u %u\n", n.path.c_str(), n.major, n.minor);
  return std::fclose(f) == 0;
}

// The child: becomes the program. Writes the number of the error into `failure` if it cannot.
[[noreturn]] void become(char** program, const std::string& object, const std::string& directory,
                         bool kvm, int failure) {
  for (const int s : {SIGINT, SIGQUIT, SIGTERM, SIGHUP}) (void)std::signal(s, SIG_DFL);
  std::string preload = object;
  if (const char* const more = std::getenv("LD_PRELOAD"); more && *more)
    preload += ":" + std::string(more);
  (void)::setenv("LD_PRELOAD", preload.c_str(), 1);
  (void)::setenv(directory_variable, directory.c_str(), 1);
  if (kvm) (void)::setenv(kvm_variable, "1", 1);
  (void)::execvp(program[0], program);
  const int error = errno;
  (void)!::write(failure, &error, sizeof error);
  ::_exit(own_failure);
}

std::string times(std::uint64_t n, const char* what) {
  return std::to_string(n) + " " + what +
         (n == 1                               ? ""
          : what[std::strlen(what) - 1] == 's' ? "es"
                                               : "s");
}

}  // namespace

int run_program(const sim::topology& machine, const run_options& options, char** program) {
  const std::unique_ptr<host> simulated = make_host(options.profile, machine);
  if (!simulated)
    return complain("there is no profile \"" + options.profile +
                    "\"; the profiles are linux-6.1, linux-6.12 and linux-7.3");
  const std::string object = find_object();
  if (object.empty()) return complain(std::string(KVM_VFIO_SIM_OBJECT) + " was not found");
  if (const std::string path = find_program(program[0]); is_static(path))
    return complain(path +
                    " is statically linked. kvm-vfio-sim preloads an object, which reaches "
                    "dynamically linked programs only");
  const run_directory directory;
  if (directory.path().empty()) return complain("no folder for the run: " + reason());
  const auto release = release_named(options.profile);
  if (const auto errors = sim::write_sysfs_view(machine, directory.path(), release);
      !errors.empty())
    return complain(sim::to_text(errors));
  const auto nodes = sim::device_nodes(machine, release);
  if (!write_nodes(directory.path() + nodes_name, nodes))
    return complain("the device nodes: " + reason());
  unique_fd log;
  if (!options.log.empty()) {
    log = unique_fd(
        ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666));
    if (!log) return complain(options.log + ": " + reason());
  }
  const bool kvm = options.kvm == "simulated" ||
                   (options.kvm == "auto" && ::access("/dev/kvm", R_OK | W_OK) != 0);
  if (kvm && !options.quiet)
    (void)std::fputs("kvm-vfio-sim: /dev/kvm is simulated, too: it has VMs, but runs no vCPU\n",
                     stderr);
  server answers(*simulated, nodes, options.faults, log.get());
  if (const int error = answers.listen(directory.path() + socket_name); error != 0)
    return complain("the socket of the run: " + std::string(std::strerror(error)));

  int failure[2];
  if (::pipe2(failure, O_CLOEXEC) != 0) return complain("a pipe: " + reason());
  // A terminal sends these to the program, too.
  for (const int s : {SIGINT, SIGQUIT}) (void)std::signal(s, SIG_IGN);
  for (const int s : {SIGTERM, SIGHUP}) (void)std::signal(s, pass_on);
  const pid_t made = ::fork();
  if (made < 0) return complain("fork: " + reason());
  if (made == 0) become(program, object, directory.path(), kvm, failure[1]);
  child = made;
  (void)::close(failure[1]);
  const unique_fd ended(static_cast<int>(::syscall(SYS_pidfd_open, made, 0)));
  if (!ended) return complain("pidfd_open: " + reason());
  answers.run(ended.get());

  int status = 0;
  while (::waitpid(made, &status, 0) < 0 && errno == EINTR) continue;
  child = 0;
  int error = 0;
  const bool not_executed = ::read(failure[0], &error, sizeof error) == sizeof error;
  (void)::close(failure[0]);
  if (not_executed) {
    (void)complain(std::string(program[0]) + ": " + std::strerror(error));
    return error == ENOENT ? 127 : 126;
  }
  if (answers.log().failed()) (void)complain(options.log + ": the log is not complete");
  std::uint64_t mistakes = 0;
  std::uint64_t notes = 0;
  std::string found;
  for (const auto& report : answers.checker().reports()) {
    ++(kvm_vfio::trace::is_note(report.broken) ? notes : mistakes);
    found += to_string(report);
  }
  if (!found.empty()) {
    (void)std::fprintf(stderr, "kvm-vfio-sim: the checker found %s and %s:\n%s",
                       times(mistakes, "mistake").c_str(), times(notes, "note").c_str(),
                       found.c_str());
  } else if (!options.quiet) {
    (void)std::fprintf(stderr, "kvm-vfio-sim: %s of %s; the checker found nothing%s\n",
                       times(answers.log().calls(), "call").c_str(),
                       times(answers.processes(), "process").c_str(),
                       answers.processes() == 0 ? " (the program used no simulated device)" : "");
  }
  if (options.strict && mistakes != 0) return findings;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace kvm_vfio_sim
