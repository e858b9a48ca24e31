// SPDX-License-Identifier: BSL-1.0
// Fuzzes descriptors of simulated processes: open, dup, dup2, close, fork, exec, exit, descriptors
// sent to another process, chosen numbers, limits and faults, in any order. An obvious model knows
// which numbers each process must have, and which file stands behind each.
#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/trace/checker.hpp>

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "input.hpp"

namespace {

namespace sim = kvm_vfio::sim;
using fuzz::input;
using fuzz::require;
using kvm_vfio::errc;
using kvm_vfio::trace::answer;

constexpr int numbers = 40;

bool equal(const answer& a, const answer& b) {
  return a && b ? *a == *b : !a && !b && a.error() == b.error();
}
constexpr const char* paths[] = {"/dev/vfio/vfio", "/dev/iommu", "/dev/vfio/1", "/dev/kvm",
                                 "/none"};

struct slot {
  sim::file* file = nullptr;
  bool path_only = false;
};

// A process and what it must have.
struct task {
  task(sim::filesystem& files, int space) : process(files, memory, space) {}

  // The number that the next new descriptor gets, or an error.
  answer free_number(int lowest) {
    if (chosen >= 0) return chosen;
    int at = lowest;
    while (open.count(at) != 0) ++at;
    return static_cast<std::size_t>(at) >= limit ? answer(errc::mfile) : answer(at);
  }

  kvm_vfio::trace::memory memory;
  sim::process process;
  std::map<int, slot> open;
  std::size_t limit = 1 << 20;
  int chosen = -1;
  bool fails = false;  // the next call does
};

class session {
 public:
  session(input& in, bool watched) : in_(in), watched_(watched) {
    for (auto& t : tasks_) t = fresh();
  }

  void run() {
    while (!in_.empty()) {
      step();
      compare();
    }
    for (auto& t : tasks_) exit(*t);
    require(kernel_.world().containers() == 0 && kernel_.world().iommufds() == 0 && held_.empty(),
            "a file is left");
    (void)checker_.text();
  }

 private:
  static sim::topology host() {
    sim::topology t;
    t.groups.push_back({.number = 1, .devices = {{}}});
    return t;
  }
  std::unique_ptr<task> fresh() {
    auto made = std::make_unique<task>(kernel_, ++spaces_);
    if (watched_) made->process.observe(checker_);
    return made;
  }

  void step() {
    const unsigned what = in_.below(16);
    auto& mine = tasks_[in_.below(std::size(tasks_))];
    auto& other = tasks_[in_.below(std::size(tasks_))];
    task& t = *mine;
    const int fd = static_cast<int>(in_.below(numbers)) - 1;
    switch (what) {
      case 0:
      case 1: open(t, paths[in_.below(std::size(paths))], in_.one_of(4)); break;
      case 2: event(t); break;
      case 3:
      case 4: close(t, fd); break;
      case 5:
      case 6: dup(t, fd, 0); break;
      case 7: dup(t, fd, static_cast<int>(in_.below(numbers)) - 1); break;
      case 8:
      case 9: install(t, fd, *other, static_cast<int>(in_.below(numbers))); break;
      case 10: send(t, fd, *other); break;
      case 11: lend(t, fd, *other, static_cast<int>(in_.below(numbers))); break;
      case 12:
        if (mine == other) exec(mine, fd);
        else fork(t, other);
        break;
      case 13: exit(t); break;
      case 14:
        if (in_.below(2) == 0) t.process.limit(t.limit = in_.below(numbers));
        else t.process.next_descriptor(t.chosen = static_cast<int>(in_.below(numbers)));
        break;
      default:
        if (!t.fails) t.process.fail_call(1, errc::intr);
        t.fails = true;
        break;
    }
  }

  // Takes note of a descriptor that a call made, or of the error that the call must have.
  void made(task& t, const answer& a, const answer& wanted, sim::file* file, bool path_only) {
    require(equal(a, wanted), "another descriptor, or another error");
    if (!a) return;
    t.chosen = -1;
    put(t, static_cast<int>(*a), file ? file : t.process.file_of(static_cast<int>(*a)), path_only);
  }
  void put(task& t, int fd, sim::file* file, bool path_only) {
    ++held_[file];  // first, because the descriptor may have this file already
    drop(t, fd);
    t.open[fd] = {file, path_only};
  }
  void drop(task& t, int fd) {
    const auto at = t.open.find(fd);
    if (at == t.open.end()) return;
    if (--held_[at->second.file] == 0) {
      held_.erase(at->second.file);
      if (at->second.file == group_) group_ = nullptr;
    }
    t.open.erase(at);
  }
  // Whether a fault makes this call fail.
  static bool struck(task& t) { return std::exchange(t.fails, false); }

  void open(task& t, std::string_view path, bool path_only) {
    const bool group = path == "/dev/vfio/1";
    answer wanted = t.free_number(0);
    if (group && group_ && !path_only) wanted = errc::busy;
    if (path == "/none") wanted = errc::noent;
    if (struck(t)) wanted = errc::intr;
    const answer a = t.process.open_path(path, path_only ? O_PATH : O_RDWR);
    // A group that is open may be named again by O_PATH only.
    made(t, a, wanted, nullptr, path_only);
    if (a && group && !path_only) group_ = t.process.file_of(static_cast<int>(*a));
  }
  void event(task& t) {
    const answer wanted = struck(t) ? answer(errc::intr) : t.free_number(0);
    made(t, t.process.eventfd(), wanted, nullptr, false);
  }
  void close(task& t, int fd) {
    const bool fault = struck(t);
    const errc wanted = fault ? errc::intr : t.open.count(fd) != 0 ? errc::ok : errc::badf;
    const answer a = t.process.close(fd);
    require((a ? errc::ok : a.error()) == wanted, "close answers something else");
    drop(t, fd);  // also after an error
  }
  void dup(task& t, int fd, int lowest) {
    const auto at = t.open.find(fd);
    answer wanted = errc::badf;
    const slot copied = at != t.open.end() ? at->second : slot{};
    if (copied.file) {
      const bool outside =
          lowest < 0 || (lowest != 0 && static_cast<std::size_t>(lowest) >= t.limit);
      wanted = outside ? answer(errc::inval) : t.free_number(lowest);
    }
    if (struck(t)) wanted = errc::intr;
    const answer a = lowest == 0 ? t.process.dup(fd) : t.process.dup(fd, lowest);
    made(t, a, wanted, copied.file, copied.path_only);
  }
  // The file behind a descriptor, with a reference; null if calls cannot use it.
  sim::file_ref look_up(task& t, int fd) {
    const auto at = t.open.find(fd);
    const auto f = t.process.fget(fd);
    require(static_cast<bool>(f) == (at != t.open.end() && !at->second.path_only),
            "fget answers something else");
    return sim::file_ref(f ? *f : nullptr);
  }
  // dup2, also of another process's file.
  void install(task& from, int fd, task& to, int at) {
    sim::file_ref f = look_up(from, fd);
    if (!f) return;
    sim::file* const file = f.get();
    require(equal(to.process.install_at(at, f.take()), at), "install_at fails");
    put(to, at, file, false);
  }
  // SCM_RIGHTS.
  void send(task& from, int fd, task& to) {
    sim::file_ref f = look_up(from, fd);
    if (!f) return;
    sim::file* const file = f.get();
    const answer wanted = to.free_number(0);
    made(to, to.process.insert(std::move(f)), wanted, file, false);
  }
  void lend(task& from, int fd, task& to, int at) {
    sim::file_ref f = look_up(from, fd);
    sim::file* const file = f.get();
    to.process.lend(at, f.take());
    if (file) put(to, at, file, false);
    else drop(to, at);
  }
  void fork(task& t, std::unique_ptr<task>& child) {
    exit(*child);
    child = fresh();
    t.process.fork_into(child->process);
    child->limit = t.limit;
    for (const auto& [fd, s] : t.open) put(*child, fd, s.file, s.path_only);
  }
  // `fd` is closed by execve(2).
  void exec(std::unique_ptr<task>& t, int fd) {
    auto made = fresh();
    t->process.fork_into(made->process);
    made->limit = t->limit;
    for (const auto& [n, s] : t->open) put(*made, n, s.file, s.path_only);
    exit(*t);
    t = std::move(made);
    close(*t, fd);
  }
  void exit(task& t) {
    t.process.exit();
    while (!t.open.empty()) drop(t, t.open.begin()->first);
  }

  void compare() {
    int containers = 0;
    for (const auto& [file, references] : held_) {
      require(file->references() == references, "another number of references");
      containers += file->kind() == sim::file_kind::container;
    }
    require(kernel_.world().containers() == containers, "another number of containers");
    for (const auto& t : tasks_) {
      require(t->process.descriptors() == t->open.size(), "another number of descriptors");
      for (int fd = -1; fd <= numbers; ++fd) {
        const auto at = t->open.find(fd);
        require(t->process.file_of(fd) == (at == t->open.end() ? nullptr : at->second.file),
                "another file behind a descriptor");
      }
    }
  }

  input& in_;
  bool watched_;
  sim::kernel<> kernel_{host()};
  kvm_vfio::trace::checker checker_;
  int spaces_ = 0;
  std::map<sim::file*, int> held_;  // the number of descriptors
  sim::file* group_ = nullptr;      // the open file of the group
  std::unique_ptr<task> tasks_[3];
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input in(data, size);
  const bool watched = in.byte() % 2 != 0;
  session(in, watched).run();
  return 0;
}
