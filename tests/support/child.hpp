// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Forked children, and processes without free descriptors. Failures of the calls that this takes
/// are thrown as std::system_error.

#include <kvm_vfio/errc.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <system_error>

namespace support {

namespace detail {
inline void check_call(bool holds, const char* what) {
  if (!holds) throw std::system_error(errno, std::generic_category(), what);
}
}  // namespace detail

/// How a child ended.
struct child_end {
  bool exited;
  int number;  ///< `exited`: its exit status; otherwise the signal that ended it
};

/// Runs `body()` in a forked child; its answer is the child's exit status.
template <class Body>
child_end end_of_child(Body&& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  detail::check_call(child >= 0, "fork");
  if (child == 0) ::_exit(body());
  int status = 0;
  detail::check_call(::waitpid(child, &status, 0) == child, "waitpid");
  return WIFEXITED(status) ? child_end{true, WEXITSTATUS(status)}
                           : child_end{false, WTERMSIG(status)};
}

/// Runs `body()` in a forked child. Returns its answer, which must fit an exit status, or
/// `crashed` if a signal ended the child.
inline constexpr int crashed = 255;
template <class Body>
int in_child(Body&& body) {
  const child_end end = end_of_child(body);
  return end.exited ? end.number : crashed;
}

/// Returns the signal that ended a forked child which ran `body()`, or 0 if the child came to an
/// end of its own. The child writes no core file, and a sanitizer does not handle its signals.
template <class Body>
int signal_that_ends(Body&& body) {
  const child_end end = end_of_child([&] {
    const rlimit no_core{};
    (void)::setrlimit(RLIMIT_CORE, &no_core);
    for (const int signal : {SIGILL, SIGTRAP, SIGABRT}) (void)::signal(signal, SIG_DFL);
    body();
    return 0;
  });
  return end.exited ? 0 : end.number;
}

/// While it lives, this process gets no descriptor of the number `limit` or above.
class descriptor_limit {
 public:
  explicit descriptor_limit(int limit) {
    detail::check_call(::getrlimit(RLIMIT_NOFILE, &before_) == 0, "getrlimit");
    rlimit now = before_;
    now.rlim_cur = static_cast<rlim_t>(limit);
    detail::check_call(::setrlimit(RLIMIT_NOFILE, &now) == 0, "setrlimit");
  }
  descriptor_limit(const descriptor_limit&) = delete;
  descriptor_limit& operator=(const descriptor_limit&) = delete;
  ~descriptor_limit() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

/// Returns the number that the next descriptor of this process gets.
inline int lowest_free_descriptor() {
  const int lowest = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
  detail::check_call(lowest >= 0, "fcntl");
  ::close(lowest);
  return lowest;
}

/// Returns the answer of `call()` while the process has no free descriptor. The call must do
/// nothing else: neither Catch nor the sanitizers expect that.
template <class Call>
kvm_vfio::errc without_descriptors(Call&& call) {
  const descriptor_limit none(lowest_free_descriptor());
  return call();
}

}  // namespace support
