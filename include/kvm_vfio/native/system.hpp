// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The system calls that this room makes, with their error numbers as `errc`. The only place that
/// reads errno.

#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>

namespace kvm_vfio::native::sys {

/// Why the last system call of this thread failed.
[[nodiscard]] inline errc last_error() noexcept { return to_errc(errno); }

namespace detail {
// C libraries disagree about the type of a request: unsigned long or int.
template <class Request>
Request request_of(int (*)(int, Request, ...));
using request = decltype(request_of(&::ioctl));
}  // namespace detail

/// The calling thread, to calls that take a process: the main thread, whose number is the
/// process's, may be gone or have descriptors of its own.
[[nodiscard]] inline pid_t thread_id() noexcept {
  return static_cast<pid_t>(::syscall(SYS_gettid));
}

/// ioctl(2): a number that is not negative, or the error.
/// \param argument a pointer or an unsigned long
template <class Argument>
[[nodiscard]] inline result<int> ioctl(int fd, unsigned long request, Argument argument) noexcept {
  const int answer = ::ioctl(fd, kvm_vfio::detail::convert<detail::request>(request), argument);
  if (answer < 0) return last_error();
  return answer;
}
/// ioctl(2) without an argument.
[[nodiscard]] inline result<int> ioctl(int fd, unsigned long request) noexcept {
  return ioctl(fd, request, 0UL);
}

/// open(2), with O_CLOEXEC and again when a signal interrupts it.
[[nodiscard]] inline result<unique_fd> open(const char* path, int flags) noexcept {
  int fd = -1;
  do fd = ::open(path, flags | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return last_error();
  return unique_fd(fd);
}

/// One more descriptor of the open file, O_CLOEXEC and above the standard three. badf · mfile
[[nodiscard]] inline result<int> dup(int fd) noexcept {
  constexpr int lowest = 3;
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, lowest);
  if (copy >= 0) return copy;
  // EINVAL: the limit on descriptors is below `lowest`.
  return errno == EINVAL ? errc::mfile : last_error();
}

}  // namespace kvm_vfio::native::sys
