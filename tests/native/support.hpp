// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the tests of native/ share.

#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/testing/catch2.hpp>

#include <dirent.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/emulated.hpp"

namespace kv = kvm_vfio;
namespace native = kvm_vfio::native;
using kv::errc;

namespace support {

/// This process's descriptors and what /proc says that they are.
inline std::vector<std::pair<int, std::string>> descriptors() {
  std::vector<std::pair<int, std::string>> found;
  DIR* const directory = ::opendir("/proc/self/fd");
  REQUIRE(directory);
  while (const dirent* const entry = ::readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    const int fd = std::stoi(entry->d_name);
    if (fd == ::dirfd(directory)) continue;
    char target[256] = {};
    (void)::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target - 1);
    found.emplace_back(fd, target);
  }
  ::closedir(directory);
  return found;
}

/// A test's fixture: the descriptors are the same at its end as at its start.
struct no_leaks {
  no_leaks() : before_(descriptors()) {}
  no_leaks(const no_leaks&) = delete;
  no_leaks& operator=(const no_leaks&) = delete;
  ~no_leaks() { CHECK(descriptors() == before_); }

 private:
  const std::vector<std::pair<int, std::string>> before_;
};

/// Says why a case cannot run here.
inline void skip(const char* why, errc e) {
  skipping::skip(std::string(why) + ": " + kv::name(e) + " (errno " +
                 std::to_string(static_cast<int>(e)) + ")");
}

/// Whether an emulator answers ioctls in the kernel's place, which is said then.
inline bool skip_emulated() {
  const int answer = emulated_ioctl();
  if (answer != 0) skip("an emulator answers ioctls in the kernel's place", kv::to_errc(answer));
  return answer != 0;
}

/// Whether process_vm_readv(2) does not read this process's own memory, which is said then:
/// emulators lack it, and sandboxes forbid it. (Memory is read through a pipe then.)
inline bool skip_without_own_copy() {
  const int there = 1;
  int here = 0;
  const iovec from{const_cast<int*>(&there), sizeof there};
  const iovec to{&here, sizeof here};
  if (::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) == sizeof here) return false;
  skip("process_vm_readv(2) fails", kv::to_errc(errno));
  return true;
}

/// Says that a call to KVM failed, if it is the machine that lacks KVM; any other error fails.
inline void skip_without_kvm(const char* why, errc e) {
  INFO(why << ": " << static_cast<int>(e));
  if (skip_emulated()) return;
  REQUIRE(native::kvm_is_lacking(e));
  skip(why, e);
}

/// A pipe: two open files that nobody else has.
struct pipe_ends {
  pipe_ends() {
    int fds[2];
    REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
    out = native::unique_fd(fds[0]);
    in = native::unique_fd(fds[1]);
  }
  native::unique_fd out, in;
};

}  // namespace support
