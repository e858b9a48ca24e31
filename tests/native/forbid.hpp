// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A seccomp filter, for tests of what happens in a sandbox.

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <cerrno>
#include <cstddef>
#include <initializer_list>
#include <vector>

namespace support {

/// From now on these system calls end with `action`, EPERM or the end of the process, and so does
/// fcntl(2) with one of these commands, in this process: for forked children only. False when the
/// kernel takes no filter.
inline bool forbid(std::initializer_list<unsigned> calls,
                   std::initializer_list<unsigned> fcntl_commands = {},
                   unsigned action = SECCOMP_RET_ERRNO | EPERM) {
#ifdef SYS_fcntl64
  constexpr unsigned fcntl_number = SYS_fcntl64;
#else
  constexpr unsigned fcntl_number = SYS_fcntl;
#endif
  // The low half of the second argument.
  constexpr bool big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
  constexpr unsigned command = offsetof(seccomp_data, args) + 8 + (big ? 4 : 0);
  std::vector<sock_filter> program;
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  const auto forbid_value = [&](unsigned value) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  };
  for (const unsigned call : calls) forbid_value(call);
  if (fcntl_commands.size() != 0) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, fcntl_number, 1, 0));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, command));
    for (const unsigned value : fcntl_commands) forbid_value(value);
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

}  // namespace support
