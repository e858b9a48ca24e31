// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Messages that carry a descriptor over a Unix socket (SCM_RIGHTS).

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstring>

namespace kvm_vfio_sim {

/// Sends an object as one message.
/// \param socket the socket
/// \param what   the object; trivially copyable
/// \param fd     the descriptor that goes with the message; negative: none
/// \param flags  more flags of sendmsg(2)
/// \return whether the whole message was sent. A socket without room for it gets nothing: a program
///         that reads no replies must not stop the sender.
template <class T>
[[nodiscard]] bool send_with_descriptor(int socket, T what, int fd, int flags = 0) {
  iovec part{&what, sizeof what};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT | flags) ==
         static_cast<ssize_t>(sizeof what);
}

}  // namespace kvm_vfio_sim
