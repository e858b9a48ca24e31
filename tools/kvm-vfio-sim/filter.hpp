// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The seccomp filter that lets the launcher answer system calls of a program.

#include <sys/socket.h>

namespace kvm_vfio_sim {

/// Which ioctls of KVM the filter reports.
enum class kvm_calls {
  of_kvm_vfio,  ///< those that make a kvm-vfio and set its attributes: /dev/kvm is the real one
  all           ///< all: /dev/kvm is simulated
};

/// The flags of the sendmsg(2) that sends the listener to the launcher. The call must not be
/// reported, because nobody answers yet. Unix sockets ignore these flags, and no program has them.
inline constexpr int unreported_flags =
    MSG_NOSIGNAL | MSG_DONTWAIT | MSG_CONFIRM | MSG_DONTROUTE | MSG_MORE;

/// Installs the filter in this thread. From then on, the system calls that may concern the
/// simulated host wait for an answer of the launcher, in this process, in its children, and in the
/// programs that they execute. All other calls are executed at once. The process also loses the
/// right to gain privileges with execve(2) (PR_SET_NO_NEW_PRIVS).
/// \return the descriptor of the listener, which is closed with execve(2); a negative number of an
///         error. -EINVAL: the kernel is older than Linux 5.19, or was built without filters.
///         -EBUSY: another program answers system calls of this process already.
[[nodiscard]] int install_filter(kvm_calls calls);

}  // namespace kvm_vfio_sim
