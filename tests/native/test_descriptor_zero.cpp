// SPDX-License-Identifier: BSL-1.0
// Descriptor 0 is a descriptor: a daemon without standard input gets it from its next open(2).

#include <kvm_vfio/native/explain.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/process.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/native/vfio_symbols.hpp>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cerrno>
#include <string>
#include <utility>

#include "forbid.hpp"
#include "support.hpp"

namespace {

namespace vfio = native::vfio;

// Without standard input while it lives.
struct no_standard_input : support::no_leaks {
  no_standard_input() {
    if (kept_ >= 0) REQUIRE(::close(0) == 0);
  }
  ~no_standard_input() {
    if (kept_ < 0) {
      (void)::close(0);
      return;
    }
    (void)::dup2(kept_, 0);
    (void)::close(kept_);
  }

 private:
  int kept_ = ::dup(0);
};

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

TEST_CASE_METHOD(no_standard_input, "Descriptor 0 is owned and closed as any other") {
  const auto number = native::host().open("/dev/null", O_RDWR);
  REQUIRE(number);
  native::unique_fd opened(*number);
  REQUIRE(opened.get() == 0);
  CHECK(opened);
  native::unique_fd moved(std::move(opened));
  CHECK_FALSE(opened);
  CHECK(moved);
  CHECK(moved.get() == 0);
  CHECK(is_open(0));
  moved.reset();
  CHECK_FALSE(moved);
  CHECK_FALSE(is_open(0));
  {
    const native::unique_fd goes(::open("/dev/null", O_RDWR | O_CLOEXEC));
    REQUIRE(goes.get() == 0);
  }
  CHECK_FALSE(is_open(0));
}

TEST_CASE_METHOD(no_standard_input, "What owns descriptor 0 is not empty") {
  {
    native::vm vm(native::unique_fd(::open("/dev/null", O_RDWR | O_CLOEXEC)));
    REQUIRE(vm.fd() == 0);
    CHECK(vm);
    const native::vm moved(std::move(vm));
    CHECK_FALSE(vm);
    CHECK(moved);
    CHECK(is_open(0));
  }
  CHECK_FALSE(is_open(0));
}

TEST_CASE("What owns nothing closes nothing") {
  native::unique_fd none;
  CHECK_FALSE(none);
  CHECK_FALSE(native::vm());
  errno = 0;
  none.reset();
  CHECK(errno == 0);
}

TEST_CASE_METHOD(no_standard_input, "The file of descriptor 0 has an identity") {
  const native::unique_fd event(::eventfd(0, EFD_CLOEXEC));
  REQUIRE(event.get() == 0);
  const native::unique_fd dup(::dup(0));
  const native::unique_fd other(::eventfd(0, EFD_CLOEXEC));
  CHECK(native::file{0} == native::file{dup.get()});
  CHECK(native::file{dup.get()} == native::file{0});
  CHECK(native::file{0} != native::file{other.get()});
}

TEST_CASE_METHOD(support::no_leaks,
                 "A descriptor without O_CLOEXEC is open where kcmp must be asked") {
  constexpr int no_filter = 100;
  const int answer = support::in_child([] {
    // What F_DUPFD_QUERY says of a file that was opened with O_PATH, before Linux 6.10.
    if (!support::forbid({}, {native::detail::dupfd_query}, SECCOMP_RET_ERRNO | EBADF))
      return no_filter;
    const int first = ::open("/dev/null", O_PATH), second = ::dup(first);
    const int other = ::open("/dev/null", O_PATH);
    const int same = native::same_file(first, second) ? 0 : 1;
    const int different = native::same_file(first, other) ? 2 : 0;
    return same | different | (native::same_file(first, 99999) ? 4 : 0);
  });
  if (answer == no_filter) return support::skip("no seccomp filter", errc::inval);
  CHECK(answer == 0);
}

TEST_CASE_METHOD(no_standard_input, "The file of descriptor 0 has a hash") {
  const native::unique_fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  REQUIRE(null.get() == 0);
  const native::unique_fd dup(::dup(0));
  CHECK(identity_hash(native::file{0}) == identity_hash(native::file{dup.get()}));
  CHECK(identity_hash(native::file{0}) != 0);
}

TEST_CASE_METHOD(no_standard_input, "The caller's descriptor 0 is looked up, whatever its flags") {
  const native::current_task task;
  {
    support::pipe_ends pipe;  // the reading end has no flag at all
    REQUIRE(pipe.out.get() == 0);
    REQUIRE(::fcntl(0, F_GETFL) == 0);
    const auto seen = task.fdget(0);
    REQUIRE(seen);
    CHECK(seen->fd == 0);
    const auto held = task.fget(0);
    REQUIRE(held);
    CHECK(*held == native::file{0});
    native::held_files().fput(*held);
  }
  CHECK(task.fdget(0).error() == errc::badf);
  CHECK(task.fget(0).error() == errc::badf);
}

TEST_CASE_METHOD(support::no_leaks,
                 "Without sysfs a character device may be VFIO's, by descriptor 0") {
  constexpr int no_chroot = 100;
  const int answer = support::in_child([] {
    (void)::close(0);
    const native::unique_fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    // There is neither /sys nor /proc below.
    if (::chroot("/dev") != 0) return no_chroot;
    if (null.get() != 0) return 1;
    return native::vfio_kind_of(0) == native::vfio_file_kind::unknown ? 0 : 2;
  });
  if (answer == no_chroot) return support::skip("chroot(2) is not allowed", errc::perm);
  CHECK(answer == 0);
  CHECK(native::vfio_kind_of(-1) == native::vfio_file_kind::none);
}

TEST_CASE("A container of descriptor 0 is known, the empty one is not") {
  const native::unique_fd event(::eventfd(0, EFD_CLOEXEC));
  const native::file file{event.get()};
  const auto zero = native::one_container{vfio::container_ref(0)}(file);
  REQUIRE(zero);
  CHECK(zero->fd() == 0);
  CHECK(native::one_container{}(file).error() == errc::noent);
}

// Says that each file is in this container.
struct in_this {
  vfio::container_ref container;
  kv::result<vfio::container_ref> operator()(const native::file&) const noexcept {
    return container;
  }
};

TEST_CASE_METHOD(no_standard_input, "A container of descriptor 0 is asked for coherency") {
  const native::unique_fd event(::eventfd(0, EFD_CLOEXEC));  // does not answer: not coherent
  REQUIRE(event.get() == 0);
  using symbols_6_1 = native::vfio_symbols<native::kvm_vfio_device_ref, in_this, kv::linux_6_1>;
  const native::file file{event.get()};
  CHECK_FALSE(symbols_6_1(native::kvm_vfio_device_ref(), {vfio::container_ref(0)})
                  .file_enforced_coherent(file));
  // In none: on Linux 6.1 coherent.
  CHECK(symbols_6_1(native::kvm_vfio_device_ref(), {}).file_enforced_coherent(file));
}

TEST_CASE("Group 0 and device 0 are numbers, -1 is none") {
  CHECK(vfio::group::open(0).error() != errc::inval);
  CHECK(vfio::group::open(-1).error() == errc::inval);
  CHECK(vfio::device::open(0).error() != errc::inval);
  CHECK(vfio::device::open(-1).error() == errc::inval);
}

TEST_CASE("An explanation names descriptor 0, and no descriptor -1") {
  char text[256];
  const auto explained = [&](int fd) {
    native::explain(text, sizeof text, native::operation::file_add, errc::badf, fd);
    return std::string(text);
  };
  CHECK(explained(0).find(" of descriptor 0: ") != std::string::npos);
  CHECK(explained(-1).find("descriptor -") == std::string::npos);
  CHECK(explained(-1).find(" of descriptor ") == std::string::npos);
}

}  // namespace
