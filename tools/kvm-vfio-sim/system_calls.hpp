// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// System calls by number, and the numbers that older headers of Linux lack. These numbers are the
/// same on every architecture.

#include <sys/syscall.h>
#include <unistd.h>

#include <type_traits>

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#define SYS_io_uring_register 427
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif

namespace kvm_vfio_sim {

/// Makes a system call. syscall(2) reads each argument as a long, but an int leaves the upper half
/// of it undefined: of an offset 0, for example. Here, each argument is a long or a pointer.
/// \param number     the number of the system call
/// \param arguments  its arguments: integers or pointers
/// \return what the system call returns, or -1; then errno has the reason
template <class... Argument>
long system_call(long number, Argument... arguments) noexcept {
  constexpr auto whole = []<class T>(T argument) {
    if constexpr (std::is_integral_v<T>) return static_cast<long>(argument);
    else return argument;
  };
  return ::syscall(number, whole(arguments)...);
}

}  // namespace kvm_vfio_sim
