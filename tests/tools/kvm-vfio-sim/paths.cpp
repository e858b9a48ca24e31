// SPDX-License-Identifier: BSL-1.0
// The paths of the simulated host, and the paths of the real one beside them.
#include "client.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <set>

namespace client {
namespace {

std::set<std::string> names(const char* path) {
  std::set<std::string> all;
  DIR* const d = ::opendir(path);
  CHECK(d);
  while (const dirent* const entry = ::readdir(d))
    if (entry->d_name[0] != '.') all.insert(entry->d_name);
  CHECK(::closedir(d) == 0);
  return all;
}

std::string link_of(const char* path) {
  char to[512];
  const ssize_t n = ::readlink(path, to, sizeof to);
  CHECK(n > 0);
  return std::string(to, static_cast<std::size_t>(n));
}

std::string text_of(const char* path) {
  std::FILE* const f = std::fopen(path, "r");
  CHECK(f);
  char line[256] = {};
  CHECK(std::fgets(line, sizeof line, f));
  CHECK(std::fclose(f) == 0);
  return line;
}

void expect_device(const struct stat& s, unsigned minor_number) {
  CHECK(S_ISCHR(s.st_mode));
  CHECK(major(s.st_rdev) != 0);
  CHECK(minor(s.st_rdev) == minor_number);
}

}  // namespace

int paths(const std::vector<std::string>&) {
  const std::string device = "/sys/bus/pci/devices/0000:01:00.0";
  // The files of the view.
  CHECK(text_of((device + "/vendor").c_str()) == "0x1234\n");
  CHECK(text_of("//sys/./bus/pci//devices/0000:01:00.0/vendor") == "0x1234\n");
  CHECK(link_of((device + "/driver").c_str()).ends_with("/vfio-pci"));
  CHECK(link_of((device + "/iommu_group").c_str()).ends_with("/iommu_groups/1"));
  char resolved[PATH_MAX];
  CHECK(::realpath((device + "/iommu_group").c_str(), resolved));
  CHECK(std::string(resolved) == "/sys/kernel/iommu_groups/1");
  char* const made = ::realpath(device.c_str(), nullptr);
  CHECK(made);
  CHECK(std::string(made).starts_with("/sys/devices/pci0000"));
  std::free(made);
  CHECK(names("/sys/kernel/iommu_groups/1/devices").contains("0000:01:00.0"));
  CHECK(names("/sys/bus/pci/devices").contains("0000:02:00.0"));
  const std::set<std::string> nodes = names("/dev/vfio");
  CHECK(nodes.contains("vfio") && nodes.contains("1") && nodes.contains("devices"));
  CHECK(names("/dev/vfio/devices").contains("vfio0"));
  // The configuration space is a file of the view, too.
  const int config = ::open((device + "/config").c_str(), O_RDONLY | O_CLOEXEC);
  CHECK(config >= 0);
  std::uint32_t word = 0;
  CHECK(::pread(config, &word, sizeof word, 0) == sizeof word);
  CHECK(word == 0x00011234);
  CHECK(::close(config) == 0);
  // Relative to a directory of the view.
  const int directory = ::open(device.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(directory >= 0);
  const int vendor = ::openat(directory, "vendor", O_RDONLY);
  CHECK(vendor >= 0);
  char text[16] = {};
  CHECK(::read(vendor, text, sizeof text) == 7);
  CHECK(std::string(text) == "0x1234\n");
  struct stat s{};
  CHECK(::fstatat(directory, "vendor", &s, 0) == 0 && S_ISREG(s.st_mode));
  CHECK(::faccessat(directory, "vendor", R_OK, 0) == 0);
  char to[64];
  CHECK(::readlinkat(directory, "driver", to, sizeof to) > 0);
  // The nodes.
  CHECK(::stat("/dev/vfio/1", &s) == 0);
  const dev_t number = s.st_rdev;
  expect_device(s, 0);
  CHECK(::lstat("/dev/vfio/vfio", &s) == 0);
  expect_device(s, 196);
  struct statx x{};
  CHECK(::statx(AT_FDCWD, "/dev/vfio/1", 0, STATX_BASIC_STATS, &x) == 0);
  CHECK(S_ISCHR(x.stx_mode) && makedev(x.stx_rdev_major, x.stx_rdev_minor) == number);
  const int group = ::open("/dev/vfio/1", O_RDWR | O_CLOEXEC);
  CHECK(group >= 0);
  CHECK(::fstat(group, &s) == 0);
  CHECK(S_ISCHR(s.st_mode) && s.st_rdev == number);
  CHECK(::fstatat(group, "", &s, AT_EMPTY_PATH) == 0 && s.st_rdev == number);
  CHECK(::statx(group, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) == 0);
  CHECK(makedev(x.stx_rdev_major, x.stx_rdev_minor) == number);
  const int copy = ::dup(group);
  CHECK(::fstat(copy, &s) == 0 && s.st_rdev == number);
  const int in_directory = ::open("/dev/vfio", O_RDONLY | O_DIRECTORY);
  CHECK(in_directory >= 0);
  const int second = ::openat(in_directory, "2", O_RDWR);
  CHECK(second >= 0);
  vfio_group_status status{sizeof status, 0};
  CHECK(::ioctl(second, VFIO_GROUP_GET_STATUS, &status) == 0);
  CHECK(::access("/dev/vfio/1", R_OK | W_OK) == 0);
  CHECK(::euidaccess("/dev/vfio/1", R_OK | W_OK) == 0);
  CHECK(::access("/dev/vfio/4242", F_OK) != 0);
  FAILS(::open("/dev/vfio/4242", O_RDWR), ENOENT);
  FAILS(::open("/dev/vfio/4242", O_RDWR | O_CREAT, 0600), ENOENT);
  FAILS(::stat("/dev/vfio/4242", &s), ENOENT);
  FAILS(::open("/sys/bus/pci/devices/ffff:ff:1f.7/config", O_RDONLY), ENOENT);
  FAILS(::open("/dev/vfio/1", O_RDONLY | O_DIRECTORY), ENOTDIR);
  FAILS(::open("/dev/vfio/3/x", O_RDWR), ENOTDIR);
  FAILS(::stat("/dev/vfio/3/x", &s), ENOTDIR);
  // A node that is opened as a stream.
  std::FILE* const stream = std::fopen("/dev/vfio/3", "r+e");
  CHECK(stream);
  CHECK(::ioctl(::fileno(stream), VFIO_GROUP_GET_STATUS, &status) == 0);
  CHECK(try_group(3) == EBUSY);
  CHECK(std::fclose(stream) == 0);
  CHECK(try_group(3) == 0);
  FAILS(std::fopen("/dev/vfio/4242", "r+") ? 0 : -1, ENOENT);
  // A walk.
  static std::set<std::string> walked;
  const auto on_path = [](const char* path, const struct stat* at, int, FTW* place) {
    walked.insert(path + place->base);
    CHECK(std::string(path).starts_with("/dev/vfio"));
    if (std::string(path) == "/dev/vfio/1") expect_device(*at, 0);
    return 0;
  };
  CHECK(::nftw("/dev/vfio", on_path, 8, FTW_PHYS) == 0);
  CHECK(walked.contains("vfio") && walked.contains("1") && walked.contains("vfio0"));
  const std::size_t nodes_walked = walked.size();
  const auto on_old_path = [](const char* path, const struct stat*, int) {
    walked.erase(std::string(path).substr(std::string(path).rfind('/') + 1));
    return 0;
  };
  CHECK(nodes_walked > 10 && ::ftw("/dev/vfio", on_old_path, 8) == 0 && walked.empty());
  std::string walk_name = "/dev/vfio";
  char* const roots[] = {walk_name.data(), nullptr};
  for (const int how : {FTS_PHYSICAL | FTS_NOCHDIR, FTS_PHYSICAL}) {
    FTS* const walk = ::fts_open(roots, how, nullptr);
    CHECK(walk);
    std::set<std::string> seen;
    while (FTSENT* const e = ::fts_read(walk)) {
      if (e->fts_info == FTS_DP) continue;
      const std::string path = e->fts_path;
      CHECK(path.size() == e->fts_pathlen && path.starts_with(walk_name));
      seen.insert(path);
      if (e->fts_info == FTS_D)
        CHECK(::fts_children(walk, 0) && std::string(e->fts_path).starts_with(path));
      if (how == FTS_PHYSICAL || path != "/dev/vfio/1") continue;
      CHECK(std::string(e->fts_accpath) == path && e->fts_info == FTS_DEFAULT);
      expect_device(*e->fts_statp, 0);
    }
    CHECK(::fts_close(walk) == 0);
    CHECK(seen.size() >= nodes_walked && seen.contains("/dev/vfio/devices/vfio0"));
  }
  // The C library looks for patterns with calls of its own.
  glob_t found{};
  CHECK(::glob("/sys/bus/pci/devices/0000:0*:00.0/vendor", 0, nullptr, &found) == 0);
  CHECK(found.gl_pathc >= 3);
  ::globfree(&found);
  // The real host's paths.
  CHECK(::access("/proc/self/maps", R_OK) == 0);
  CHECK(::stat("/dev/null", &s) == 0 && S_ISCHR(s.st_mode) && s.st_rdev == makedev(1, 3));
  CHECK(link_of("/proc/self/exe").ends_with("/client"));
  CHECK(::access("/sys/kernel", F_OK) == 0);
  CHECK(::access("/sys/devices/system/cpu", F_OK) == 0);
  const int null = ::open("/dev/null", O_RDONLY);
  termios t{};
  FAILS(::tcgetattr(null, &t), ENOTTY);
  return 0;
}

}  // namespace client
