// SPDX-License-Identifier: BSL-1.0
// Runs the scenario on a real device, which must be bound to VFIO. The arguments or the variables
// VMM_TEST_GROUP and VMM_TEST_DEVICE name the device. The checker watches the system calls.
//   real_test [GROUP DEVICE]     for example: real_test 26 0000:06:0d.0
#include "scenario.hpp"

#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/trace/checker.hpp>
#include <kvm_vfio/trace/watched_system.hpp>

#include <cstdlib>

int main(int argc, char** argv) {
  const char* const group = argc == 3 ? argv[1] : std::getenv("VMM_TEST_GROUP");
  const char* const device = argc == 3 ? argv[2] : std::getenv("VMM_TEST_DEVICE");
  if (!group || !device) {
    std::puts("SKIPPED: VMM_TEST_GROUP and VMM_TEST_DEVICE are not set");
    return 77;
  }
  // The system calls of this host, which the checker sees.
  kvm_vfio::trace::checker checker;
  const kvm_vfio::trace::watched_system<kvm_vfio::native::host> system({}, checker);
  const int kvm_vfio = kvm_vfio_of_new_vm(system);
  CHECK(kvm_vfio >= 0);
  if (kvm_vfio < 0) return 1;
  plug_and_unplug(system, kvm_vfio, group, device);
  (void)system.close(kvm_vfio);
  std::printf("%s", checker.text().c_str());
  CHECK(checker.reports().empty());
  return failures == 0 ? 0 : 1;
}
