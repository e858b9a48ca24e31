// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reports the system calls of real code to an observer.

#include <kvm_vfio/trace/decode_ioctl.hpp>

#include <cstdint>

namespace kvm_vfio::trace {

/// A system (open, close, dup, ioctl; a value, or an error number negated) that tells an observer
/// of every call.
template <class System>
class watched_system {
 public:
  /// \param process the number that observers see
  watched_system(System& system, call_observer& observer, int process = 1) noexcept
      : system_(system), observer_(observer), process_(process) {}

  /// open(2), passed on.
  long open(const char* path) {
    call c{.kind = call_kind::open, .process = process_, .text = path};
    return told(c, system_.open(path));
  }
  /// close(2), passed on.
  long close(int fd) {
    call c{.kind = call_kind::close, .process = process_, .fd = fd};
    return told(c, system_.close(fd));
  }
  /// dup(2), passed on.
  long dup(int fd) {
    call c{.kind = call_kind::dup, .process = process_, .fd = fd};
    return told(c, system_.dup(fd));
  }
  /// ioctl(2), passed on.
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
/// By its arguments.
template <class System>
watched_system(System&, call_observer&, int = 1) -> watched_system<System>;

}  // namespace kvm_vfio::trace
