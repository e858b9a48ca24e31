// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What /proc tells of the processes of a program.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio_sim {

/// A path in the folder of a process or thread ("/proc/12/exe").
[[nodiscard]] std::string in_proc(pid_t task, const std::string& rest);
/// The target of a symbolic link; empty: there is no such link.
[[nodiscard]] std::string link_of(const std::string& path);
/// The target of the link of a descriptor ("socket:[123]"); empty: the descriptor is not open.
[[nodiscard]] std::string link_of(pid_t task, int fd);
/// The number of an eventfd, which the kernel gave to it, plus 1. 0: the descriptor is not open.
[[nodiscard]] std::uint64_t event_id(pid_t task, int fd);
/// The offset of the first lock that an open file holds itself (F_OFD_SETLK). 0: it holds none.
[[nodiscard]] std::uint64_t lock_of(pid_t task, int fd);
/// The lowest number from `from` on that no descriptor has.
[[nodiscard]] int free_descriptor(pid_t task, int from);
/// Whether a process has begun to end, or is gone.
[[nodiscard]] bool is_exiting(pid_t process);
/// How a process ended, as waitpid(2) has it. None: the process has not begun to end, or nobody
/// can tell any more.
[[nodiscard]] std::optional<int> status_of(pid_t process);
/// The number of the parent of a process; 0: there is no such process.
[[nodiscard]] pid_t parent_of(pid_t process);
/// The processes that a process has made, and that exist. Empty if the kernel does not tell of them
/// (CONFIG_PROC_CHILDREN).
[[nodiscard]] std::vector<pid_t> children_of(pid_t process);
/// The number of the process that a thread belongs to; 0: there is no such thread.
[[nodiscard]] pid_t process_of(pid_t thread);
/// The name of the program of a process, without its folder.
[[nodiscard]] std::string program_of(pid_t process);
/// The processes whose environment had a variable with a value when their program started. Only
/// processes count that have not begun to end, and that this user may look at.
/// \param variable the variable with its value ("NAME=VALUE")
[[nodiscard]] std::vector<pid_t> processes_with(const std::string& variable);
/// The random bytes that the kernel gave to the program of a process (AT_RANDOM). They differ after
/// each execve(2). Empty: there is no such process.
[[nodiscard]] std::string program_mark(pid_t process);
/// The address where a process maps a part of a file.
/// \param inode  the inode of the file
/// \param offset the offset of the part in the file, in bytes
/// \param size   the size of the part in bytes
/// \param known  mappings that are not meant, each with its address and its size
/// \return 0: the process has no other mapping of the whole part
[[nodiscard]] std::uint64_t address_of(
    pid_t process, std::uint64_t inode, std::uint64_t offset, std::uint64_t size,
    const std::vector<std::pair<std::uint64_t, std::uint64_t>>& known);

}  // namespace kvm_vfio_sim
