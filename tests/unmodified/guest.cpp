// SPDX-License-Identifier: BSL-1.0
// The first process of a guest of QEMU: looks for the device of topologies/qemu.json that has the
// device number of MSIX, enables it, writes its first BAR and reads the BAR again. Each line that
// it prints starts with GUEST; the last line is "GUEST ok" or the reason why not. Then the guest is
// off.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

std::string line_of(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY);
  char text[256] = {};
  const auto n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  std::string line(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

std::string failed(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

std::string try_device(const std::string& folder) {
  const int enable = open((folder + "/enable").c_str(), O_WRONLY);
  if (enable < 0 || write(enable, "1", 1) != 1) return failed("enable");
  close(enable);
  if (line_of(folder + "/enable") != "1") return "the device is not enabled";
  const int config = open((folder + "/config").c_str(), O_RDWR);
  std::uint16_t command = 0;
  if (config < 0 || pread(config, &command, 2, 4) != 2) return failed("config");
  std::printf("GUEST command %04x\n", command);
  if ((command & 2) == 0) return "memory is off in the command register";
  command = static_cast<std::uint16_t>(command | 4);
  std::uint16_t again = 0;
  if (pwrite(config, &command, 2, 4) != 2 || pread(config, &again, 2, 4) != 2 || (again & 4) == 0)
    return failed("the device does not become bus master");
  close(config);
  const int bar = open((folder + "/resource0").c_str(), O_RDWR | O_SYNC);
  if (bar < 0) return failed("resource0");
  void* const memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, bar, 0);
  if (memory == MAP_FAILED) return failed("mmap of resource0");
  auto* const words = static_cast<volatile std::uint32_t*>(memory);
  for (std::uint32_t i = 0; i < 1024; ++i) words[i] = 0x5a000000U + i;
  for (std::uint32_t i = 0; i < 1024; ++i)
    if (words[i] != 0x5a000000U + i)
      return "word " + std::to_string(i) + " of the BAR is not what was written";
  return "ok";
}

std::string look() {
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  if (mount("sys", "/sys", "sysfs", 0, nullptr) != 0) return failed("no sysfs");
  DIR* const folder = opendir("/sys/bus/pci/devices");
  if (folder == nullptr) return failed("no PCI");
  std::string found;
  while (const dirent* const entry = readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    const std::string path = std::string("/sys/bus/pci/devices/") + entry->d_name;
    const std::string id = line_of(path + "/vendor") + " " + line_of(path + "/device");
    std::printf("GUEST %s %s\n", entry->d_name, id.c_str());
    if (id == "0x1234 0xaa02") found = path;
  }
  closedir(folder);
  return found.empty() ? "the device is not there" : try_device(found);
}

}  // namespace

int main() {
  mkdir("/dev", 0755);
  mount("dev", "/dev", "devtmpfs", 0, nullptr);
  if (const int console = open("/dev/ttyS0", O_RDWR); console >= 0) {
    dup2(console, 0);
    dup2(console, 1);
    dup2(console, 2);
  }
  std::printf("\nGUEST starts\n");
  const std::string outcome = look();
  std::printf("GUEST %s\n", outcome.c_str());
  std::fflush(stdout);
  tcdrain(1);
  reboot(RB_POWER_OFF);
}
