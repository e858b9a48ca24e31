// SPDX-License-Identifier: BSL-1.0
// Descriptors: the real kernel counts them, so that a file is released with the last one.
#include "client.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace client {

int duplicates(const std::vector<std::string>&) {
  int group = ::open(group_path(1).c_str(), O_RDWR);
  CHECK(group >= 0);
  CHECK((::fcntl(group, F_GETFD) & FD_CLOEXEC) == 0);
  const int second = ::dup(group);
  CHECK(second > group);
  CHECK(::dup2(group, 200) == 200);
  CHECK(::dup2(200, 200) == 200);
  CHECK(::dup3(group, 201, O_CLOEXEC) == 201);
  CHECK(::fcntl(201, F_GETFD) & FD_CLOEXEC);
  FAILS(::dup3(group, group, 0), EINVAL);
  const int third = ::fcntl(group, F_DUPFD, 300);
  CHECK(third == 300);
  const int fourth = ::fcntl(group, F_DUPFD_CLOEXEC, 300);
  CHECK(fourth == 301);
  vfio_group_status status{sizeof status, 0};
  for (const int fd : {group, second, 200, 201, third, fourth}) {
    CHECK(::ioctl(fd, VFIO_GROUP_GET_STATUS, &status) == 0);
    CHECK(try_group(1) == EBUSY);
    CHECK(::close(fd) == 0);
    FAILS(::ioctl(fd, VFIO_GROUP_GET_STATUS, &status), EBADF);
    FAILS(::close(fd), EBADF);
  }
  CHECK(try_group(1) == 0);
  // dup2 onto an open descriptor closes it.
  CHECK((group = ::open(group_path(1).c_str(), O_RDWR)) >= 0);
  const int other = ::open(group_path(2).c_str(), O_RDWR);
  CHECK(other >= 0);
  CHECK(::dup2(other, group) == group);
  CHECK(try_group(1) == 0);
  CHECK(try_group(2) == EBUSY);
  CHECK(::close(other) == 0);
  CHECK(try_group(2) == EBUSY);
  // A file of the real kernel in the place of a simulated one.
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(::dup2(null, group) == group);
  CHECK(try_group(2) == 0);
  char byte = 1;
  CHECK(::write(group, &byte, 1) == 1);
  FAILS(::ioctl(group, VFIO_GROUP_GET_STATUS, &status), ENOTTY);
  // A failed dup2 closes nothing.
  CHECK(::dup2(::open(group_path(1).c_str(), O_RDWR), group) == group);
  FAILS(::dup2(900, group), EBADF);
  FAILS(::dup3(900, group, 0), EBADF);
  FAILS(::dup3(null, group, 1), EINVAL);
  CHECK(::ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0);
  return 0;
}

int close_ranges(const std::vector<std::string>&) {
  int fds[3];
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 3; ++i) CHECK((fds[i] = ::open(group_path(i + 1).c_str(), O_RDWR)) >= 0);
    if (round == 0) {
      CHECK(::close_range(static_cast<unsigned>(fds[0]), static_cast<unsigned>(fds[1]), 0) == 0);
      CHECK(try_group(1) == 0 && try_group(2) == 0);
      CHECK(try_group(3) == EBUSY);
      // CLOSE_RANGE_CLOEXEC closes nothing now.
      CHECK(::close_range(static_cast<unsigned>(fds[2]), ~0U, 4) == 0);
      CHECK(::fcntl(fds[2], F_GETFD) & FD_CLOEXEC);
      CHECK(try_group(3) == EBUSY);
      CHECK(::close(fds[2]) == 0);
      FAILS(::close_range(5, 4, 0), EINVAL);
    } else if (round == 1) {
      CHECK(::close_range(3, ~0U, 0) == 0);
    } else {
      ::closefrom(3);
    }
    for (int i = 1; i <= 3; ++i) CHECK(try_group(i) == 0);
  }
  attached a = attach(1);
  detach(a);
  return 0;
}

// Many open files, so that no call may look at each.
int many_files(const std::vector<std::string>&) {
  rlimit limit{};
  CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  const int count = limit.rlim_max < 4000 ? static_cast<int>(limit.rlim_max) - 100 : 3000;
  std::vector<int> files;
  for (int i = 0; i < count; ++i)
    CHECK(files.emplace_back(::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC)) >= 0);
  for (const int fd : files) CHECK(::close(fd) == 0);
  CHECK(::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC) == files[0]);
  return 0;
}

// A daemon closes all descriptors that it inherited, one by one, also with plain system calls.
int close_all_first(const std::vector<std::string>&) {
  for (int fd = 3; fd < 70000; ++fd) (void)::close(fd);
  attached a = attach(1);
  detach(a);
  for (int fd = 3; fd < 2000; ++fd) (void)::syscall(SYS_close, fd);
  a = attach(1);
  detach(a);
  // Files of the program get all numbers, that of the connection among them.
  CHECK(::syscall(SYS_close_range, 3U, ~0U, 0U) == 0);
  std::vector<int> files;
  do files.push_back(::open("/dev/null", O_RDONLY));
  while (files.back() >= 0 && files.back() < 1100);
  if (files.back() < 0) files.pop_back();  // the limit is lower
  CHECK(::close(files.back()) == 0 && ::close(files.at(0)) == 0);
  CHECK(try_group(1) == 0);
  for (std::size_t i = 1; i + 1 < files.size(); ++i) CHECK(::fcntl(files[i], F_GETFD) == 0);
  return 0;
}

int no_descriptors(const std::vector<std::string>&) {
  // The limit is too small for a program's first call, and then for its next ones.
  rlimit limit{};
  CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = 3;
  CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  FAILS(::open(group_path(1).c_str(), O_RDWR), EMFILE);
  limit.rlim_cur = before;
  CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  attached a = attach(1);
  limit.rlim_cur = 4;
  CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  FAILS(::open(group_path(2).c_str(), O_RDWR), EMFILE);
  FAILS(::open("/dev/null", O_RDWR), EMFILE);
  FAILS(::dup(a.group), EMFILE);
  // Calls that make no descriptor go on.
  CHECK(identity(a.device) == 0x00011234);
  limit.rlim_cur = before;
  CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  // Nothing was left open.
  CHECK(try_group(2) == 0);
  detach(a);
  return 0;
}

// What a program sees of its own descriptors.
int own_descriptors(const std::vector<std::string>&) {
  // The lowest free number is taken, as on a real host.
  const int first = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK(::close(first) == 0);
  const int container = ::open("/dev/vfio/vfio", O_RDWR);
  CHECK(container == first);
  const int group = ::open(group_path(1).c_str(), O_RDWR);
  CHECK(group == first + 1);
  const int null = ::open("/dev/null", O_RDONLY);
  CHECK(null == first + 2);
  char link[64];
  char to[128];
  for (const auto& [fd, path] :
       {std::pair(container, std::string("/dev/vfio/vfio")), std::pair(group, group_path(1)),
        std::pair(null, std::string("/dev/null"))}) {
    (void)std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = ::readlink(link, to, sizeof to);
    CHECK(n > 0);
    CHECK(std::string(to, static_cast<std::size_t>(n)) == path);
  }
  // The connection is not among the descriptors that a program can close or replace.
  DIR* const list = ::opendir("/proc/self/fd");
  CHECK(list);
  std::vector<int> fds;
  while (const dirent* const entry = ::readdir(list))
    if (entry->d_name[0] != '.') fds.push_back(std::atoi(entry->d_name));
  CHECK(::closedir(list) == 0);
  for (const int fd : fds)
    if (fd > null) (void)::close(fd);
  CHECK(try_group(1) == EBUSY);
  for (const int fd : fds)
    if (fd > null) CHECK(::dup2(null, fd) == fd);
  CHECK(try_group(1) == EBUSY);
  vfio_group_status status{sizeof status, 0};
  CHECK(::ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0);
  // F_GETFL and F_SETFL work, and so does FIONBIO's place, a request of no type of ours.
  CHECK(::fcntl(group, F_GETFD) == 0);
  CHECK(::fcntl(group, F_SETFD, FD_CLOEXEC) == 0);
  CHECK(::fcntl(group, F_GETFD) == FD_CLOEXEC);
  return 0;
}

}  // namespace client
