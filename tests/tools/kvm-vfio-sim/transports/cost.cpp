// SPDX-License-Identifier: BSL-1.0
// Prints the time of calls in microseconds, one line for each kind of call: a name and a time.
// Calls that need the simulated host are left out without it.
#include <kvm_vfio/uapi/vfio.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>

namespace {

double now() {
  timespec t{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

// The time of one call: the best of several rounds, because other programs run at the same time.
template <class Function>
void measure(const char* name, Function call) {
  constexpr int count = 500;
  double best = 1e9;
  for (int round = 0; round < 20; ++round) {
    const double start = now();
    for (int i = 0; i < count; ++i) call();
    best = std::min(best, (now() - start) / count);
  }
  (void)std::printf("%s\t%.2f\n", name, best);
}

}  // namespace

int main() {
  const int container = ::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
  const int group = ::open("/dev/vfio/1", O_RDWR | O_CLOEXEC);
  if (container >= 0 && group >= 0 && ::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0 &&
      ::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0) {
    const int device = ::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
    vfio_device_info info{};
    info.argsz = sizeof info;
    std::uint32_t word = 0;
    const off_t config = static_cast<off_t>(VFIO_PCI_CONFIG_REGION_INDEX) << 40;
    measure("answered: ioctl(VFIO_GET_API_VERSION)",
            [&] { (void)::ioctl(container, VFIO_GET_API_VERSION, 0); });
    measure("answered: ioctl(VFIO_DEVICE_GET_INFO)",
            [&] { (void)::ioctl(device, VFIO_DEVICE_GET_INFO, &info); });
    measure("answered: pread of a register",
            [&] { (void)!::pread(device, &word, sizeof word, config); });
    measure("answered: open and close of /dev/vfio/vfio",
            [&] { (void)::close(::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC)); });
  }
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  char byte = 0;
  termios t{};
  struct stat s{};
  measure("passed on: read", [&] { (void)!::read(null, &byte, 1); });
  measure("passed on: ioctl(TCGETS)", [&] { (void)::ioctl(null, TCGETS, &t); });
  measure("passed on: pread", [&] { (void)!::pread(null, &byte, 1, 0); });
  measure("passed on: fstat", [&] { (void)::fstat(null, &s); });
  measure("passed on: open and close", [&] { (void)::close(::open("/dev/null", O_RDONLY)); });
  measure("passed on: mmap and munmap of memory", [&] {
    (void)::munmap(::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
  });
}
