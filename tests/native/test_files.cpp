// SPDX-License-Identifier: BSL-1.0
// Identity of open files, references by descriptors, and memory that may not be there: with and
// without a sandbox that forbids the exact way.
#include "forbid.hpp"
#include "support.hpp"

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/native/caller.hpp>
#include <kvm_vfio/native/path.hpp>
#include <kvm_vfio/native/process.hpp>

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <array>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

// A child's status: the kernel takes no seccomp filter, or does not let a thread go its own way.
constexpr int no_filter = 100;
constexpr int not_possible = 101;

// Kinds of files: /dev nodes, anonymous inodes, pipes.
native::unique_fd open_one(int kind) {
  switch (kind) {
    case 0: return native::unique_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
    case 1: return native::unique_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    case 2: return native::unique_fd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    case 3: return native::unique_fd(::eventfd(0, EFD_CLOEXEC));
    case 4: return native::unique_fd(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
    default: return native::unique_fd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
}
constexpr int kinds = 6;

// Whether a comparison tells a dup from a second open, for every kind; the first kind that fails
// plus one, or 0.
template <class Same>
int wrong_about(Same&& same) {
  for (int kind = 0; kind < kinds; ++kind) {
    const native::unique_fd a = open_one(kind);
    const native::unique_fd b = open_one(kind);
    const native::unique_fd dup(::dup(a.get()));
    const bool right = a && b && dup && same(a.get(), a.get()) && same(a.get(), dup.get()) &&
                       same(dup.get(), a.get()) && !same(a.get(), b.get()) &&
                       !same(b.get(), dup.get());
    if (!right) return kind + 1;
  }
  return 0;
}

// Whether /proc shows a lock that this open file owns.
bool owns_lock(int fd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(fd);
  bool found = false;
  std::FILE* const file = std::fopen(path.c_str(), "re");
  REQUIRE(file);
  for (char line[512]; std::fgets(line, sizeof line, file);)
    found = found || std::strncmp(line, "lock:", 5) == 0;
  std::fclose(file);
  return found;
}

TEST_CASE_METHOD(support::no_leaks, "Equal files are one open file description") {
  CHECK(wrong_about(native::same_file) == 0);
  const native::unique_fd a = open_one(0);
  CHECK(native::file{a.get()} == native::file{a.get()});
  CHECK(native::file{a.get()} != native::file{});
  CHECK(native::file{} == native::file{});
  CHECK_FALSE(native::same_file(a.get(), 99999));
  CHECK_FALSE(native::same_file(-1, a.get()));
}

TEST_CASE_METHOD(support::no_leaks, "A file's hash is its inode") {
  static_assert(kv::has_index<native::file, kv::heap_storage>);
  const support::pipe_ends first;
  const support::pipe_ends second;
  const native::unique_fd dup(::dup(first.in.get()));
  const auto hash = [](const native::unique_fd& fd) {
    return identity_hash(native::file{fd.get()});
  };
  CHECK(hash(first.in) == hash(dup));
  CHECK(hash(first.in) != hash(second.in));
  CHECK(identity_hash(native::file{}) == 0);
  CHECK(identity_hash(native::file{99999}) == 0);
}

TEST_CASE_METHOD(support::no_leaks,
                 "Many files are told apart, with inodes of their own or without") {
  struct none {};
  constexpr int count = 40;
  for (const bool apart : {true, false}) {
    std::vector<native::unique_fd> fds;
    for (int i = 0; i < count; ++i)
      fds.emplace_back(apart ? ::memfd_create("file", MFD_CLOEXEC) : ::eventfd(0, EFD_CLOEXEC));
    kv::file_list<native::file, none, kv::heap_storage> list(kv::heap_storage{});
    for (const auto& fd : fds) list.append(*list.make({fd.get()}));
    int wrong = 0;
    for (const auto& fd : fds) {
      const native::unique_fd dup(::dup(fd.get()));
      const auto* const found = list.find({dup.get()});
      wrong += !found || found->file.fd != fd.get();
    }
    CHECK(wrong == 0);
    const native::unique_fd another(::eventfd(0, EFD_CLOEXEC));
    CHECK_FALSE(list.find({another.get()}));
    while (auto* e = list.first()) {
      list.unlink(*e);
      list.destroy(*e);
    }
  }
}

TEST_CASE_METHOD(support::no_leaks, "Identity without kcmp is as exact and leaves no lock") {
  CHECK(wrong_about(native::detail::same_file_by_lock) == 0);

  const native::unique_fd a = open_one(0);
  const native::unique_fd dup(::dup(a.get()));
  CHECK(native::detail::same_file_by_lock(a.get(), dup.get()));
  CHECK_FALSE(owns_lock(a.get()));
  CHECK_FALSE(native::detail::same_file_by_lock(a.get(), 99999));
  CHECK_FALSE(native::detail::same_file_by_lock(99999, a.get()));
}

TEST_CASE_METHOD(support::no_leaks, "Locks of others on the file do not change its identity") {
  const native::unique_fd made(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!made) return support::skip("/tmp has no O_TMPFILE", native::sys::last_error());
  const std::string path = "/proc/self/fd/" + std::to_string(made.get());
  const native::unique_fd a(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const native::unique_fd b(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(a);
  REQUIRE(b);
  const native::unique_fd dup(::dup(a.get()));
  // On its first page, then on all bytes that there can be, which are those of the comparison too.
  for (const off_t length : {off_t{4096}, off_t{0}}) {
    struct flock range{};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_len = length;
    REQUIRE(::fcntl(b.get(), F_OFD_SETLK, &range) == 0);
    CHECK(owns_lock(b.get()));
    CHECK_FALSE(native::detail::same_file_by_lock(a.get(), b.get()));
    CHECK_FALSE(native::detail::same_file_by_lock(b.get(), a.get()));
    // Of all bytes the lock is in the way of ours: what is not sure is not the same.
    CHECK(native::detail::same_file_by_lock(a.get(), dup.get()) == (length != 0));
    CHECK(native::same_file(a.get(), dup.get()));
    // The lock is still there.
    struct flock asked = range;
    REQUIRE(::fcntl(a.get(), F_OFD_GETLK, &asked) == 0);
    CHECK(asked.l_type == F_WRLCK);
  }
}

// A process of its own that holds a lock on the byte that this thread compares by, of the inode of
// a file that it opens itself. (Not on all bytes: every anonymous file of the machine would
// notice.)
class other_process {
 public:
  explicit other_process(int kind) {
    native::detail::lock_probe probe(F_WRLCK);  // made here: this thread's byte
    support::pipe_ends ready;
    support::pipe_ends done;
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      done.in.reset();
      const native::unique_fd its_own = open_one(kind);
      const char locked = probe.lock(its_own.get()) ? 1 : 0;
      char c = 0;
      ::_exit(::write(ready.in.get(), &locked, 1) == 1 && ::read(done.out.get(), &c, 1) == 0 ? 0
                                                                                             : 1);
    }
    char locked = 0;
    REQUIRE(::read(ready.out.get(), &locked, 1) == 1);
    REQUIRE(locked == 1);
    done_ = std::move(done.in);
  }
  other_process(const other_process&) = delete;
  other_process& operator=(const other_process&) = delete;
  ~other_process() {
    done_.reset();
    int status = 0;
    CHECK(::waitpid(pid_, &status, 0) == pid_);
    CHECK(status == 0);
  }

 private:
  pid_t pid_ = -1;
  native::unique_fd done_;
};

TEST_CASE_METHOD(support::no_leaks, "Another process's lock makes no two files one") {
  constexpr int event = 3;
  const native::unique_fd a = open_one(event);
  const native::unique_fd b = open_one(event);
  const native::unique_fd dup(::dup(a.get()));
  const other_process locks(event);
  CHECK_FALSE(native::detail::same_file_by_lock(a.get(), b.get()));
  CHECK_FALSE(native::detail::same_file_by_lock(a.get(), dup.get()));
  CHECK(wrong_about(native::same_file) == 0);
}

TEST_CASE_METHOD(support::no_leaks, "Another process's lock leaves a device node to its inode") {
  const native::unique_fd null = open_one(0);
  const native::unique_fd dup(::dup(null.get()));
  const native::unique_fd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  const other_process locks(0);
  CHECK(native::detail::same_file_by_lock(null.get(), dup.get()));
  CHECK_FALSE(native::detail::same_file_by_lock(null.get(), zero.get()));
  CHECK(native::same_file(null.get(), dup.get()));
  CHECK(wrong_about(native::same_file) == 0);
}

// What a comparison needs may be forbidden, alone or together.
TEST_CASE_METHOD(support::no_leaks, "A seccomp filter does not change the answers") {
  struct sandbox {
    const char* name;
    bool kcmp, query;
  };
  for (const sandbox& s : {sandbox{"kcmp", true, false}, sandbox{"F_DUPFD_QUERY", false, true},
                           sandbox{"both", true, true}}) {
    INFO(s.name << " is forbidden");
    const int answer = support::in_child([&] {
      constexpr unsigned query = native::detail::dupfd_query;
      // A number that no system call has instead of kcmp's.
      const unsigned kcmp = s.kcmp ? SYS_kcmp : ~0U;
      if (!(s.query ? support::forbid({kcmp}, {query}) : support::forbid({kcmp}))) return no_filter;
      const long self = ::getpid();
      if (s.kcmp && ::syscall(SYS_kcmp, self, self, KCMP_FILE, 0, 0) != -1) return no_filter;
      if (s.query && (::fcntl(0, native::detail::dupfd_query, 0) != -1 || errno != EPERM))
        return no_filter;
      return wrong_about(native::same_file);
    });
    if (answer == no_filter) return support::skip("no seccomp filter", errc::inval);
    CHECK(answer == 0);
  }
}

TEST_CASE_METHOD(support::no_leaks, "A filter that kills who calls kcmp is not met") {
  if (::fcntl(0, native::detail::dupfd_query, 0) < 0)
    return support::skip("no F_DUPFD_QUERY before Linux 6.10", native::sys::last_error());
  const int answer = support::in_child([] {
    if (!support::forbid({SYS_kcmp}, {}, SECCOMP_RET_KILL_PROCESS)) return no_filter;
    const native::unique_fd open = open_one(0);
    if (native::same_file(open.get(), 99999) || native::same_file(99999, open.get())) return 50;
    return wrong_about(native::same_file);
  });
  if (answer == no_filter) return support::skip("no seccomp filter", errc::inval);
  CHECK(answer == 0);
}

// Whether a thread of this process, which may be its first, has ended.
bool has_ended(pid_t thread) {
  native::path at;
  at << "/proc/self/task/" << static_cast<unsigned>(thread) << "/stat";
  const native::unique_fd stat(::open(at.get(), O_RDONLY | O_CLOEXEC));
  char text[256] = {};
  if (::read(stat.get(), text, sizeof text - 1) <= 0) return false;
  const char* const name_end = std::strrchr(text, ')');
  return name_end && name_end[1] == ' ' && name_end[2] == 'Z';
}

// Runs `body` in a child's second thread after the first is gone.
template <class Body>
int without_main_thread(const Body& body) {
  return support::in_child([&]() -> int {
    // As pthread_exit(3), but without unwinding what the parent has on the stack.
    const pid_t first = ::getpid();
    std::thread([&] {
      while (!has_ended(first)) std::this_thread::yield();
      ::_exit(body());
    }).detach();
    ::syscall(SYS_exit, 0);
    return 255;
  });
}

// Runs `body` in a child's second thread, which has a table of descriptors of its own.
template <class Body>
int with_own_table(const Body& body) {
  return support::in_child([&] {
    int answer = not_possible;
    std::thread([&] {
      if (::unshare(CLONE_FILES) == 0) answer = body();
    }).join();
    return answer;
  });
}

TEST_CASE_METHOD(support::no_leaks, "Files are the same without the main thread") {
  constexpr unsigned query = native::detail::dupfd_query;
  const int exact = without_main_thread([] { return wrong_about(native::same_file); });
  CHECK(exact == 0);
  const int by_kcmp = without_main_thread(
      [] { return support::forbid({}, {query}) ? wrong_about(native::same_file) : no_filter; });
  CHECK((by_kcmp == 0 || by_kcmp == no_filter));
}

TEST_CASE_METHOD(support::no_leaks, "Files are the same by the thread's own table") {
  for (const bool by_kcmp : {false, true}) {
    INFO((by_kcmp ? "kcmp" : "F_DUPFD_QUERY"));
    const native::unique_fd a = open_one(3);
    const native::unique_fd same(::dup(a.get()));
    const native::unique_fd other = open_one(3);
    const int answer = with_own_table([&] {
      if (by_kcmp && !support::forbid({}, {native::detail::dupfd_query})) return no_filter;
      // The other way around here than in the first thread's table.
      if (::dup2(other.get(), same.get()) < 0 || ::dup2(a.get(), other.get()) < 0) return 50;
      if (native::same_file(a.get(), same.get())) return 51;
      return native::same_file(a.get(), other.get()) ? 0 : 52;
    });
    if (answer == no_filter) return support::skip("no seccomp filter", errc::inval);
    if (answer == not_possible) return support::skip("no unshare(CLONE_FILES)", errc::perm);
    CHECK(answer == 0);
  }
}

TEST_CASE_METHOD(support::no_leaks, "A descriptor that is closed, negative or O_PATH is EBADF") {
  const native::current_task task;
  const native::unique_fd path(::open("/", O_PATH | O_CLOEXEC));
  CHECK(task.fget(-1).error() == errc::badf);
  CHECK(task.fget(99999).error() == errc::badf);
  CHECK(task.fget(path.get()).error() == errc::badf);
}

TEST_CASE_METHOD(support::no_leaks, "A held file lives until it is given back") {
  const native::current_task task;
  const native::held_files files;
  support::pipe_ends pipe;
  const auto found = task.fget(pipe.in.get());
  REQUIRE(found);
  CHECK(*found == native::file{pipe.in.get()});
  const auto held = files.get_file(*found);
  REQUIRE(held);
  CHECK((::fcntl(held->fd, F_GETFD) & FD_CLOEXEC) != 0);
  files.fput(*found);
  pipe.in.reset();
  CHECK(::write(held->fd, "x", 1) == 1);
  files.fput(*held);
  char c = 0;
  CHECK(::read(pipe.out.get(), &c, 1) == 1);
  CHECK(::read(pipe.out.get(), &c, 1) == 0);  // end of file: nobody holds the writing end
}

TEST_CASE_METHOD(support::no_leaks, "No descriptor left is EMFILE, also below the standard three") {
  const native::current_task task;
  const native::held_files files;
  const errc looked_up = support::without_descriptors([&] { return task.fget(0).error(); });
  CHECK(looked_up == errc::mfile);
  const errc held =
      support::without_descriptors([&] { return files.get_file(native::file{0}).error(); });
  CHECK(held == errc::mfile);
  errc answer{};
  {
    const support::descriptor_limit low(2);
    answer = files.get_file(native::file{0}).error();
  }
  CHECK(answer == errc::mfile);
  CHECK(files.get_file(native::file{99999}).error() == errc::badf);
}

// Three pages: read-write, read-only, none; and a hole after them.
class pages {
 public:
  pages() : size_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
    at_ = static_cast<char*>(
        ::mmap(nullptr, 4 * size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(static_cast<void*>(at_) != MAP_FAILED);
    REQUIRE(::mprotect(at_ + size_, size_, PROT_READ) == 0);
    REQUIRE(::mprotect(at_ + 2 * size_, size_, PROT_NONE) == 0);
    REQUIRE(::munmap(at_ + 3 * size_, size_) == 0);
  }
  pages(const pages&) = delete;
  pages& operator=(const pages&) = delete;
  ~pages() { ::munmap(at_, 3 * size_); }
  [[nodiscard]] std::uint64_t at(std::size_t page) const {
    return reinterpret_cast<std::uintptr_t>(at_) + page * size_;
  }
  /// The page that was unmapped, or the next that is: a thread that has begun since may have got
  /// it.
  [[nodiscard]] std::uint64_t unmapped() const {
    unsigned char resident = 0;
    char* page = at_ + 3 * size_;
    while (::mincore(page, size_, &resident) == 0) page += size_;
    return reinterpret_cast<std::uintptr_t>(page);
  }

 private:
  std::size_t size_;
  char* at_ = nullptr;
};

struct access {
  const char* where;
  std::uint64_t address;
  bool readable, writable;
};
// On the stack, because an allocation might take the page that is unmapped.
std::array<access, 12> accesses(const pages& p) {
  return {{
      {"writable page", p.at(0), true, true},
      {"its last word", p.at(1) - 4, true, true},
      {"unaligned", p.at(0) + 1, true, true},
      {"straddles into a read-only page", p.at(1) - 2, true, false},
      {"read-only page", p.at(1), true, false},
      {"straddles into PROT_NONE", p.at(2) - 2, false, false},
      {"PROT_NONE", p.at(2), false, false},
      {"unmapped", p.unmapped(), false, false},
      {"null", 0, false, false},
      {"past the address space", ~std::uint64_t{0} - 1, false, false},
      {"the kernel's half", std::uint64_t{1} << 63, false, false},
      {"past a 32-bit pointer", sizeof(void*) < 8 ? p.at(0) | std::uint64_t{1} << 32 : 0, false,
       false},
  }};
}

// The first access that is answered wrongly plus one, or 0.
int wrong_access(const pages& p) {
  const native::own_memory memory;
  int number = 0;
  for (const access& a : accesses(p)) {
    ++number;
    std::int32_t value = 0;
    if (memory.copy_to_user(a.address, std::int32_t{0x1234567}) != a.writable) return number;
    if (memory.copy_from_user(a.address, value) != a.readable) return number;
    if (a.readable && a.writable && value != 0x1234567) return number;
  }
  return 0;
}

TEST_CASE_METHOD(support::no_leaks, "A bad address is an answer, not a crash") {
  const pages p;
  const int wrong = wrong_access(p);
  INFO((wrong ? accesses(p)[static_cast<std::size_t>(wrong) - 1].where : ""));
  CHECK(wrong == 0);
}

TEST_CASE_METHOD(support::no_leaks, "A bad address is an answer in a sandbox as well") {
  const pages p;
  const int wrong = support::in_child([&] {
    if (!support::forbid({SYS_process_vm_readv, SYS_process_vm_writev})) return no_filter;
    return wrong_access(p);
  });
  if (wrong == no_filter) return support::skip("no seccomp filter", errc::inval);
  INFO((wrong ? accesses(p)[static_cast<std::size_t>(wrong) - 1].where : ""));
  CHECK(wrong == 0);
}

TEST_CASE_METHOD(support::no_leaks, "A bad address is an answer without the main thread") {
  const pages p;
  CHECK(without_main_thread([&] { return wrong_access(p); }) == 0);
  if (support::skip_without_own_copy()) return;
  // Not only by the pipe, which needs descriptors.
  const int bare = without_main_thread([&] {
    const rlimit none{};
    std::int32_t value = 0;
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 50;
    return native::own_memory().copy_from_user(p.at(0), value) ? 0 : 51;
  });
  CHECK(bare == 0);
}

TEST_CASE_METHOD(support::no_leaks,
                 "Memory that only the kernel's own copy reaches is no bad address") {
  // An emulator checks the protection of pages itself.
  if (support::skip_emulated()) return;
  const native::own_memory memory;
  const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto reaches = [&](void* page) {
    const auto address = reinterpret_cast<std::uintptr_t>(page);
    std::int32_t value = 0;
    CHECK(memory.copy_to_user(address, std::int32_t{0x1234567}));
    CHECK(memory.copy_from_user(address, value));
    CHECK(value == 0x1234567);
    // That takes descriptors.
    const errc bare = support::without_descriptors(
        [&] { return memory.copy_from_user(address, value) ? errc::ok : errc::fault; });
    CHECK(bare == errc::fault);
    CHECK(::munmap(page, size) == 0);
  };
  constexpr int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  void* const write_only = ::mmap(nullptr, size, PROT_WRITE, anonymous, -1, 0);
  REQUIRE(write_only != MAP_FAILED);
  reaches(write_only);

#ifdef SYS_memfd_secret
  const native::unique_fd secret(static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC)));
  if (!secret) return support::skip("no memfd_secret", native::sys::last_error());
  REQUIRE(::ftruncate(secret.get(), static_cast<off_t>(size)) == 0);
  void* const hidden = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, secret.get(), 0);
  REQUIRE(hidden != MAP_FAILED);
  reaches(hidden);
#else
  support::skip("the headers lack memfd_secret", errc::inval);
#endif
}

TEST_CASE_METHOD(support::no_leaks, "Ordinary memory is read without a free descriptor") {
  if (support::skip_without_own_copy()) return;
  const native::own_memory memory;
  const std::int32_t there = 0x1234567;
  std::int32_t value = 0;
  const errc read = support::without_descriptors([&] {
    return memory.copy_from_user(reinterpret_cast<std::uintptr_t>(&there), value) ? errc::ok
                                                                                  : errc::fault;
  });
  CHECK(read == errc::ok);
  CHECK(value == there);
}

// A file of the model's that counts its releases.
struct counted final : kv::open_file<native::process> {
  int released = 0;
  [[nodiscard]] const char* name() const noexcept override { return "counted"; }
  [[nodiscard]] errc ioctl(native::process&, std::uint64_t, std::uint64_t) noexcept override {
    return errc::ok;
  }
  [[nodiscard]] errc lseek() noexcept override { return errc::spipe; }
  void release() noexcept override { ++released; }
};

TEST_CASE_METHOD(support::no_leaks, "The last descriptor of a model's file releases it once") {
  counted made;
  {
    native::process p;
    const auto first = p.install(made);
    REQUIRE(first);
    const auto second = p.dup(*first);
    REQUIRE(second);
    CHECK((::fcntl(*second, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(p.close(*first) == errc::ok);
    CHECK(p.close(*first) == errc::badf);
    CHECK(made.released == 0);
    CHECK(p.ioctl(*second, 0, 0) == errc::ok);
  }
  CHECK(made.released == 1);
}

TEST_CASE_METHOD(support::no_leaks, "An ioctl of another file is ENOTTY, of an O_PATH one EBADF") {
  native::process p;
  const native::unique_fd event(::eventfd(0, EFD_CLOEXEC));
  const native::unique_fd path(::open("/dev/null", O_PATH | O_CLOEXEC));
  REQUIRE(path);
  CHECK(p.ioctl(event.get(), 0, 0) == errc::notty);
  CHECK(p.ioctl(path.get(), 0, 0) == errc::badf);
  if (support::skip_emulated()) return;
  // As the kernel has it.
  CHECK(native::host().ioctl(event.get(), 0, 0).error() == errc::notty);
  CHECK(native::host().ioctl(path.get(), 0, 0).error() == errc::badf);
}

TEST_CASE_METHOD(support::no_leaks, "An error of close(2) releases a model's file all the same") {
  counted made;
  {
    native::process p;
    const auto fd = p.install(made);
    REQUIRE(fd);
    REQUIRE(::close(*fd) == 0);  // behind its back
    CHECK(p.close(*fd) == errc::badf);
    CHECK(made.released == 1);
    CHECK(p.ioctl(*fd, 0, 0) == errc::badf);
  }
  CHECK(made.released == 1);
}

TEST_CASE("The address space is the process's") {
  const native::current_task task;
  const int mine = task.address_space();
  CHECK(mine == task.address_space());
  CHECK(support::in_child([&] { return task.address_space() == mine ? 1 : 0; }) == 0);
}

}  // namespace
