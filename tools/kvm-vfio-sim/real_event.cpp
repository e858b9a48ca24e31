// SPDX-License-Identifier: BSL-1.0
#include "real_event.hpp"

#include <poll.h>
#include <unistd.h>

namespace kvm_vfio_sim {

void real_event::signal() noexcept {
  // A full counter would make the write wait for the program.
  pollfd p{fd_.get(), POLLOUT, 0};
  if (::poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) return;
  const std::uint64_t one = 1;
  (void)!::write(fd_.get(), &one, sizeof one);
}

void real_event::pass_on() {
  pollfd p{fd_.get(), POLLIN, 0};
  if (!has_consumer() || ::poll(&p, 1, 0) != 1 || !(p.revents & POLLIN)) return;
  std::uint64_t count = 0;
  if (::read(fd_.get(), &count, sizeof count) != sizeof count) return;
  (void)event_file::write(&count, sizeof count);
}

}  // namespace kvm_vfio_sim
