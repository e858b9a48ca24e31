// SPDX-License-Identifier: BSL-1.0
// Calls whose cost the benchmark measures.
#include "client.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <ctime>

namespace client {

// Makes a call N times that is not for the simulated host: passed-on CALL N.
int passed_on(const std::vector<std::string>& arguments) {
  const std::string& call = arguments.at(0);
  const int count = std::atoi(arguments.at(1).c_str());
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(null >= 0);
  char byte = 0;
  termios t{};
  // One call of each before the loop, so that the dynamic linker has found the functions.
  (void)::read(null, &byte, 1);
  (void)::pread(null, &byte, 1, 0);
  (void)::ioctl(null, TCGETS, &t);
  (void)::fcntl(null, F_GETFD);
  for (int i = 0; i < count; ++i) {
    if (call == "read") (void)::read(null, &byte, 1);
    else if (call == "pread") (void)::pread(null, &byte, 1, 0);
    else if (call == "ioctl") (void)::ioctl(null, TCGETS, &t);
    else if (call == "fcntl") (void)::fcntl(null, F_GETFD);
    else if (call == "close") (void)::close(-1);
    else if (call == "open") CHECK(::close(::open("/dev/null", O_RDWR | O_CLOEXEC)) == 0);
  }
  return 0;
}

// Makes an ioctl N times that the simulated host answers, and prints the time of one.
int answered(const std::vector<std::string>& arguments) {
  const int count = std::atoi(arguments.at(0).c_str());
  attached a = attach(1, false);
  vfio_device_info info{};
  info.argsz = sizeof info;
  timespec began{};
  timespec ended{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &began);
  for (int i = 0; i < count; ++i) CHECK(::ioctl(a.device, VFIO_DEVICE_GET_INFO, &info) == 0);
  (void)::clock_gettime(CLOCK_MONOTONIC, &ended);
  const double time = static_cast<double>(ended.tv_sec - began.tv_sec) * 1e6 +
                      static_cast<double>(ended.tv_nsec - began.tv_nsec) / 1e3;
  (void)std::printf("%.2f\n", time / count);
  detach(a);
  return 0;
}

}  // namespace client
