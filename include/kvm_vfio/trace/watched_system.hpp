// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Tells an observer of the system calls that a program makes, for example those of real code on a
/// real kernel.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <cstdint>

namespace kvm_vfio::trace {

/// Passes system calls on to another object and tells an observer of each call.
/// \tparam System a class with the functions `open`, `close`, `dup` and `ioctl`. Each returns the
///                value of the system call, or the error number with a minus sign.
template <class System>
class watched_system {
 public:
  /// \param system   the object that makes the calls; must outlive this object
  /// \param observer the observer; must outlive this object
  /// \param process  the number of the process, for the observer
  watched_system(System& system, call_observer& observer, int process = 1) noexcept
      : system_(system), observer_(observer), process_(process) {}

  /// Passes open(2) on.
  long open(const char* path) {
    call c{.kind = call_kind::open, .process = process_, .text = path};
    return told(c, system_.open(path));
  }
  /// Passes close(2) on.
  long close(int fd) {
    call c{.kind = call_kind::close, .process = process_, .fd = fd};
    return told(c, system_.close(fd));
  }
  /// Passes dup(2) on.
  long dup(int fd) {
    call c{.kind = call_kind::dup, .process = process_, .fd = fd};
    return told(c, system_.dup(fd));
  }
  /// Passes ioctl(2) on.
  long ioctl(int fd, unsigned long request, std::uintptr_t argument) {
    call c{.kind = call_kind::ioctl,
           .process = process_,
           .fd = fd,
           .request = static_cast<std::uint32_t>(request),
           .argument = argument};
    decode_argument(c, memory_);
    return told(c, system_.ioctl(fd, request, argument));
  }

 private:
  long told(call& c, long value) {
    const answer a = value < 0 ? answer(to_errc(-value)) : answer(value);
    decode_answer(c, memory_, a);
    observer_.called(c);
    return value;
  }

  System& system_;
  call_observer& observer_;
  memory memory_;
  int process_;
};
/// Deduces the type of the system from the first argument.
template <class System>
watched_system(System&, call_observer&, int = 1) -> watched_system<System>;

}  // namespace kvm_vfio::trace
