// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The running kernel as a `system`: the real system calls, which report error numbers as `errc`.
/// Only this header and same_file.hpp read errno.

#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native {

namespace sys {

/// Returns the error of the last system call of this thread.
[[nodiscard]] inline errc last_error() noexcept { return to_errc(errno); }

/// Returns the number of the calling thread, for system calls that take a process number. The
/// number of the process would name the main thread. That thread may have ended, or may have other
/// descriptors.
[[nodiscard]] inline pid_t thread_id() noexcept {
  return static_cast<pid_t>(::syscall(SYS_gettid));
}

namespace detail {
// The type of a request is unsigned long in some C libraries, and int in others.
template <class Request>
Request request_of(int (*)(int, Request, ...));
using request = decltype(request_of(&::ioctl));

/// Returns the value of a system call, or the error of this thread if the value is negative.
template <class Value, class Answer>
[[nodiscard]] inline result<Value> value_of(Answer answer) noexcept {
  if (answer < 0) return last_error();
  return static_cast<Value>(answer);
}

// The offsets of VFIO's regions need 64 bits on every host.
#ifdef __GLIBC__
using offset = off64_t;
inline constexpr auto pread = &::pread64;
inline constexpr auto pwrite = &::pwrite64;
inline constexpr auto mmap = &::mmap64;
#else
using offset = off_t;
inline constexpr auto pread = &::pread;
inline constexpr auto pwrite = &::pwrite;
inline constexpr auto mmap = &::mmap;
#endif
}  // namespace detail

}  // namespace sys

/// The running kernel. Models `system`. It has no state: every object is the same system. Each
/// function makes one system call and allocates nothing, and any thread may call it.
class host {
 public:
  /// Calls open(2) with O_CLOEXEC. Repeats the call if a signal interrupts it.
  /// \par Errors
  /// - each error of open(2), except `errc::intr`
  [[nodiscard]] result<int> open(const char* path, int flags) const noexcept {
    int fd = -1;
    do fd = ::open(path, flags | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return sys::detail::value_of<int>(fd);
  }
  /// Calls close(2). The call is not repeated: the number is free afterwards, even if close(2)
  /// fails.
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open
  /// - each other error of close(2)
  errc close(int fd) const noexcept {  // NOLINT(modernize-use-nodiscard): often nothing can be done
    return ::close(fd) < 0 ? sys::last_error() : errc::ok;
  }
  /// Calls fcntl(2) with F_DUPFD_CLOEXEC. The new number is at least 3.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open
  /// - `errc::mfile`: the process has no free descriptor
  [[nodiscard]] result<int> dup(int fd) const noexcept {
    constexpr int lowest = 3;
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    if (copy >= 0) return copy;
    // EINVAL means that the limit on descriptors is below `lowest`.
    return errno == EINVAL ? errc::mfile : sys::last_error();
  }
  /// Calls ioctl(2).
  /// \param argument a number, or the address of an object
  /// \return a number that is not negative
  /// \par Errors
  /// - each error of ioctl(2)
  [[nodiscard]] result<int> ioctl(int fd, unsigned long request,
                                  std::uintptr_t argument) const noexcept {
    return sys::detail::value_of<int>(
        ::ioctl(fd, kvm_vfio::detail::convert<sys::detail::request>(request), argument));
  }
  /// Calls read(2).
  /// \return the number of bytes
  /// \par Errors
  /// - each error of read(2)
  [[nodiscard]] result<std::size_t> read(int fd, void* to, std::size_t size) const noexcept {
    return sys::detail::value_of<std::size_t>(::read(fd, to, size));
  }
  /// Calls write(2).
  /// \return the number of bytes
  /// \par Errors
  /// - each error of write(2)
  [[nodiscard]] result<std::size_t> write(int fd, const void* from,
                                          std::size_t size) const noexcept {
    return sys::detail::value_of<std::size_t>(::write(fd, from, size));
  }
  /// Calls pread(2).
  /// \param at the position in the file, in bytes
  /// \return the number of bytes
  /// \par Errors
  /// - each error of pread(2)
  [[nodiscard]] result<std::size_t> pread(int fd, void* to, std::size_t size,
                                          std::uint64_t at) const noexcept {
    return sys::detail::value_of<std::size_t>(
        sys::detail::pread(fd, to, size, static_cast<sys::detail::offset>(at)));
  }
  /// Calls pwrite(2).
  /// \param at the position in the file, in bytes
  /// \return the number of bytes
  /// \par Errors
  /// - each error of pwrite(2)
  [[nodiscard]] result<std::size_t> pwrite(int fd, const void* from, std::size_t size,
                                           std::uint64_t at) const noexcept {
    return sys::detail::value_of<std::size_t>(
        sys::detail::pwrite(fd, from, size, static_cast<sys::detail::offset>(at)));
  }
  /// Calls mmap(2) with MAP_SHARED.
  /// \param size       the number of bytes
  /// \param protection PROT_READ, PROT_WRITE or both
  /// \param at         the position in the file, in bytes
  /// \return the address of the mapping
  /// \par Errors
  /// - each error of mmap(2)
  [[nodiscard]] result<void*> mmap(std::size_t size, int protection, int fd,
                                   std::uint64_t at) const noexcept {
    void* const mapped = sys::detail::mmap(nullptr, size, protection, MAP_SHARED, fd,
                                           static_cast<sys::detail::offset>(at));
    if (mapped == MAP_FAILED) return sys::last_error();
    return mapped;
  }
  /// Calls munmap(2).
  /// \par Errors
  /// - `errc::inval`: `at` is not aligned, or `size` is 0
  errc munmap(void* at, std::size_t size) const noexcept {  // NOLINT(modernize-use-nodiscard)
    return ::munmap(at, size) < 0 ? sys::last_error() : errc::ok;
  }
  /// Calls eventfd(2) with EFD_CLOEXEC and EFD_NONBLOCK.
  /// \par Errors
  /// - `errc::mfile`, `errc::nfile`: the process or the system has no free descriptor or file
  [[nodiscard]] result<int> eventfd() const noexcept {
    return sys::detail::value_of<int>(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  }
};
static_assert(system<host>);

}  // namespace kvm_vfio::native
