// SPDX-License-Identifier: BSL-1.0
// The System in production: the system calls of this host.
#pragma once
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace vmm {

struct host {
  long open(const char* path) { return value(::open(path, O_RDWR | O_CLOEXEC)); }
  long close(int fd) { return value(::close(fd)); }
  long ioctl(int fd, unsigned long request, std::uintptr_t argument) {
    return value(::ioctl(fd, request, argument));
  }

 private:
  static long value(int answer) { return answer < 0 ? -errno : answer; }
};

}  // namespace vmm
