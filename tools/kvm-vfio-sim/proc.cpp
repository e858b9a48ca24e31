// SPDX-License-Identifier: BSL-1.0
#include "proc.hpp"

#include "remote_memory.hpp"

#include <elf.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <system_error>
#include <thread>

namespace kvm_vfio_sim {
namespace {

struct closer {
  void operator()(std::FILE* f) const { (void)std::fclose(f); }
};
using text_file = std::unique_ptr<std::FILE, closer>;

text_file open_text(pid_t task, const std::string& name) {
  return text_file(std::fopen(in_proc(task, name).c_str(), "re"));
}

struct state {
  char letter = 'X';
  int parent = 0;
  unsigned long flags = 0;
  int status = 0;  // as waitpid(2) has it, after the process has begun to end
};

state state_of(pid_t process) {
  state s;
  const text_file stat = open_text(process, "stat");
  char text[1024];
  if (!stat) return s;
  text[std::fread(text, 1, sizeof text - 1, stat.get())] = 0;
  // The name may contain anything, and ends with the last parenthesis.
  const char* const rest = std::strrchr(text, ')');
  if (!rest ||
      std::sscanf(rest + 1, " %c %d %*d %*d %*d %*d %lu", &s.letter, &s.parent, &s.flags) != 3)
    return {};
  if (const char* const last = std::strrchr(rest, ' ')) s.status = std::atoi(last + 1);
  return s;
}

bool has_begun_to_end(const state& s) {
  constexpr unsigned long exiting = 4;  // the kernel's PF_EXITING
  return s.letter == 'Z' || s.letter == 'X' || (s.flags & exiting);
}

std::string all_of(const text_file& file) {
  std::string text;
  char part[4096];
  for (std::size_t n = 0; file && (n = std::fread(part, 1, sizeof part, file.get())) != 0;)
    text.append(part, n);
  return text;
}

// The environment that the program of a process started with. While a process executes a program,
// it has no environment and no arguments for a moment; only this moment is waited for.
std::string environment_of(pid_t process) {
  bool has_arguments = false;
  for (int tries = 0; tries != 200; ++tries) {
    std::string text = all_of(open_text(process, "environ"));
    // A thread of the kernel has no program.
    if (!text.empty() || has_arguments || has_begun_to_end(state_of(process)) ||
        link_of(in_proc(process, "exe")).empty())
      return text;
    has_arguments = !all_of(open_text(process, "cmdline")).empty();
    if (!has_arguments) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

}  // namespace

std::string in_proc(pid_t task, const std::string& rest) {
  return "/proc/" + std::to_string(task) + "/" + rest;
}

std::string link_of(const std::string& path) {
  char to[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), to, sizeof to);
  return n > 0 ? std::string(to, static_cast<std::size_t>(n)) : std::string();
}

std::string link_of(pid_t task, int fd) {
  return fd < 0 ? std::string() : link_of(in_proc(task, "fd/" + std::to_string(fd)));
}

std::uint64_t event_id(pid_t task, int fd) {
  const text_file info = open_text(task, "fdinfo/" + std::to_string(fd));
  if (!info) return 0;
  unsigned long long id = 0;
  char line[128];
  while (std::fgets(line, sizeof line, info.get()))
    if (std::sscanf(line, "eventfd-id: %llu", &id) == 1) break;
  return id + 1;
}

std::uint64_t lock_of(pid_t task, int fd) {
  const text_file info = open_text(task, "fdinfo/" + std::to_string(fd));
  if (!info) return 0;
  char line[256];
  while (std::fgets(line, sizeof line, info.get())) {
    std::uint64_t start = 0;
    if (std::sscanf(line, "lock: %*s OFDLCK %*s %*s %*s %*s %" SCNu64, &start) == 1) return start;
  }
  return 0;
}

int free_descriptor(pid_t task, int from) {
  int fd = from;
  for (const int end = from + 64; fd < end; ++fd)
    if (link_of(task, fd).empty()) return fd;
  // Many descriptors: one list is faster than a look at each.
  std::set<int> used;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(in_proc(task, "fd"), failed), last;
       !failed && at != last; at.increment(failed))
    used.insert(std::atoi(at->path().filename().c_str()));
  while (used.count(fd) != 0) ++fd;
  return fd;
}

bool is_exiting(pid_t process) { return has_begun_to_end(state_of(process)); }

std::optional<int> status_of(pid_t process) {
  const state s = state_of(process);
  if (!has_begun_to_end(s) || s.parent == 0) return {};
  return s.status;
}

pid_t parent_of(pid_t process) { return state_of(process).parent; }

std::vector<pid_t> children_of(pid_t process) {
  std::vector<pid_t> all;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(in_proc(process, "task"), failed), end;
       !failed && at != end; at.increment(failed)) {
    const text_file list(std::fopen((at->path() / "children").c_str(), "re"));
    int child = 0;
    while (list && std::fscanf(list.get(), "%d", &child) == 1) all.push_back(child);
  }
  return all;
}

pid_t process_of(pid_t thread) {
  const text_file status = open_text(thread, "status");
  if (!status) return 0;
  int process = 0;
  char line[256];
  while (std::fgets(line, sizeof line, status.get()))
    if (std::sscanf(line, "Tgid: %d", &process) == 1) break;
  return process;
}

std::string program_of(pid_t process) {
  const std::string path = link_of(in_proc(process, "exe"));
  return path.substr(path.rfind('/') + 1);
}

std::vector<pid_t> processes_with(const std::string& variable) {
  std::vector<pid_t> found;
  std::error_code failed;
  for (std::filesystem::directory_iterator at("/proc", failed), end; !failed && at != end;
       at.increment(failed)) {
    const pid_t process = std::atoi(at->path().filename().c_str());
    if (process <= 0) continue;
    const std::string text = '\0' + environment_of(process);
    if (text.find('\0' + variable + '\0') != std::string::npos && !is_exiting(process))
      found.push_back(process);
  }
  return found;
}

std::string program_mark(pid_t process) {
  const text_file auxv = open_text(process, "auxv");
  if (!auxv) return {};
  unsigned long entry[2];  // the type and the value
  char bytes[16];
  while (std::fread(entry, sizeof entry, 1, auxv.get()) == 1)
    if (entry[0] == AT_RANDOM && remote_memory(process).read(entry[1], bytes, sizeof bytes))
      return std::string(bytes, sizeof bytes);
  return {};
}

std::uint64_t address_of(pid_t process, std::uint64_t inode, std::uint64_t offset,
                         std::uint64_t size,
                         const std::vector<std::pair<std::uint64_t, std::uint64_t>>& known) {
  const text_file maps = open_text(process, "maps");
  if (!maps) return 0;
  char line[512];
  while (std::fgets(line, sizeof line, maps.get())) {
    std::uint64_t first = 0;
    std::uint64_t behind = 0;
    std::uint64_t start = 0;
    std::uint64_t of = 0;
    if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %" SCNu64, &first, &behind,
                    &start, &of) != 4 ||
        of != inode || offset < start || offset - start + size > behind - first)
      continue;
    // The kernel shows neighbouring mappings as one.
    const std::uint64_t at = first + (offset - start);
    if (std::none_of(known.begin(), known.end(), [at](const auto& m) { return m.first == at; }))
      return at;
  }
  return 0;
}

}  // namespace kvm_vfio_sim
