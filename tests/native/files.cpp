// SPDX-License-Identifier: BSL-1.0
// Identity of open files, references by descriptors, and memory that may not be there: with and
// without a sandbox that forbids the exact way.
#include "forbid.hpp"
#include "support.hpp"

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/native/caller.hpp>
#include <kvm_vfio/native/process.hpp>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <cstdint>
#include <vector>

namespace {

constexpr int no_filter = 100;  // a child's status: the kernel takes no seccomp filter

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
    CHECK(native::detail::same_file_by_lock(a.get(), dup.get()));
    // The lock is still there.
    struct flock asked = range;
    REQUIRE(::fcntl(a.get(), F_OFD_GETLK, &asked) == 0);
    CHECK(asked.l_type == F_WRLCK);
  }
}

TEST_CASE_METHOD(support::no_leaks, "A seccomp filter on kcmp does not change the answers") {
  const int answer = support::in_child([] {
    if (!support::forbid({SYS_kcmp})) return no_filter;
    if (::syscall(SYS_kcmp, ::getpid(), ::getpid(), KCMP_FILE, 0, 0) != -1) return no_filter;
    return wrong_about(native::same_file);
  });
  if (answer == no_filter) return support::skip("no seccomp filter", errc::inval);
  CHECK(answer == 0);
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
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit low = before;
  low.rlim_cur = 2;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  const errc answer = files.get_file(native::file{0}).error();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
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

 private:
  std::size_t size_;
  char* at_ = nullptr;
};

struct access {
  const char* where;
  std::uint64_t address;
  bool readable, writable;
};
std::vector<access> accesses(const pages& p) {
  return {
      {"writable page", p.at(0), true, true},
      {"its last word", p.at(1) - 4, true, true},
      {"unaligned", p.at(0) + 1, true, true},
      {"straddles into a read-only page", p.at(1) - 2, true, false},
      {"read-only page", p.at(1), true, false},
      {"straddles into PROT_NONE", p.at(2) - 2, false, false},
      {"PROT_NONE", p.at(2), false, false},
      {"unmapped", p.at(3), false, false},
      {"null", 0, false, false},
      {"past the address space", ~std::uint64_t{0} - 1, false, false},
      {"the kernel's half", std::uint64_t{1} << 63, false, false},
  };
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
