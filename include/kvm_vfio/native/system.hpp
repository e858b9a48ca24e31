// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The system calls of kvm_vfio/native. They return error numbers as `errc`. Only this header and
/// same_file.hpp read errno.

#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace kvm_vfio::native::sys {

/// Returns the error of the last system call of this thread.
[[nodiscard]] inline errc last_error() noexcept { return to_errc(errno); }

namespace detail {
// The type of a request is unsigned long in some C libraries, and int in others.
template <class Request>
Request request_of(int (*)(int, Request, ...));
using request = decltype(request_of(&::ioctl));
}  // namespace detail

/// Returns the number of the calling thread, for system calls that take a process number. The
/// number of the process would name the main thread. That thread may have ended, or may have other
/// descriptors.
[[nodiscard]] inline pid_t thread_id() noexcept {
  return static_cast<pid_t>(::syscall(SYS_gettid));
}

/// Calls ioctl(2).
/// \param argument a pointer or an unsigned long
/// \return a number that is not negative
/// \par Errors
/// - each error of ioctl(2)
template <class Argument>
[[nodiscard]] inline result<int> ioctl(int fd, unsigned long request, Argument argument) noexcept {
  const int answer = ::ioctl(fd, kvm_vfio::detail::convert<detail::request>(request), argument);
  if (answer < 0) return last_error();
  return answer;
}
/// Calls ioctl(2) with the argument 0.
/// \return a number that is not negative
/// \par Errors
/// - each error of ioctl(2)
[[nodiscard]] inline result<int> ioctl(int fd, unsigned long request) noexcept {
  return ioctl(fd, request, 0UL);
}

/// Opens a file with open(2) and O_CLOEXEC. Repeats the call if a signal interrupts it.
/// \par Errors
/// - each error of open(2), except `errc::intr`
[[nodiscard]] inline result<unique_fd> open(const char* path, int flags) noexcept {
  int fd = -1;
  do fd = ::open(path, flags | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return last_error();
  return unique_fd(fd);
}

/// Makes one more descriptor of the open file behind `fd`, with O_CLOEXEC and a number of at least
/// 3.
/// \par Errors
/// - `errc::badf`: `fd` is not open
/// - `errc::mfile`: the process has no free descriptor
[[nodiscard]] inline result<int> dup(int fd) noexcept {
  constexpr int lowest = 3;
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, lowest);
  if (copy >= 0) return copy;
  // EINVAL means that the limit on descriptors is below `lowest`.
  return errno == EINVAL ? errc::mfile : last_error();
}

}  // namespace kvm_vfio::native::sys
