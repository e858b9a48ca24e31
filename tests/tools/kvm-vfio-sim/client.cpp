// SPDX-License-Identifier: BSL-1.0
// A program with a subcommand for each test of kvm-vfio-sim. Each subcommand checks what it sees,
// and ends with 0 if everything is as on a real host.
#include "client.hpp"

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>

namespace client {

std::string group_path(int group) { return "/dev/vfio/" + std::to_string(group); }
std::string device_path(int group) { return "/dev/vfio/devices/vfio" + std::to_string(group - 1); }
std::string device_name(int group) {
  char text[24];
  (void)std::snprintf(text, sizeof text, "0000:%02x:00.0", static_cast<unsigned>(group) & 0xff);
  return text;
}

void make_vm(int& vm, int& kvm_vfio) {
  const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  CHECK(kvm >= 0);
  CHECK((vm = ::ioctl(kvm, KVM_CREATE_VM, 0)) >= 0);
  CHECK(::close(kvm) == 0);
  kvm_create_device c{KVM_DEV_TYPE_VFIO, 0, 0};
  CHECK(::ioctl(vm, KVM_CREATE_DEVICE, &c) == 0);
  kvm_vfio = static_cast<int>(c.fd);
}

int track(int kvm_vfio, std::uint64_t attribute, std::int32_t fd) {
  kvm_device_attr a{0, kvm_vfio::uapi::dev_vfio_file, attribute,
                    reinterpret_cast<std::uintptr_t>(&fd)};
  return ::ioctl(kvm_vfio, KVM_SET_DEVICE_ATTR, &a);
}

attached attach(int group, bool with_vm) {
  attached a;
  CHECK((a.container = ::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC)) >= 0);
  CHECK(::ioctl(a.container, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
  CHECK(::ioctl(a.container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) == 1);
  CHECK((a.group = ::open(group_path(group).c_str(), O_RDWR | O_CLOEXEC)) >= 0);
  vfio_group_status status{sizeof status, 0};
  CHECK(::ioctl(a.group, VFIO_GROUP_GET_STATUS, &status) == 0);
  CHECK(status.flags & VFIO_GROUP_FLAGS_VIABLE);
  CHECK(::ioctl(a.group, VFIO_GROUP_SET_CONTAINER, &a.container) == 0);
  CHECK(::ioctl(a.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0);
  if (with_vm) {
    make_vm(a.vm, a.kvm_vfio);
    CHECK(track(a.kvm_vfio, KVM_DEV_VFIO_GROUP_ADD, a.group) == 0);
  }
  CHECK((a.device = ::ioctl(a.group, VFIO_GROUP_GET_DEVICE_FD, device_name(group).c_str())) >= 0);
  return a;
}

void detach(attached& a) {
  CHECK(::close(a.device) == 0);
  if (a.vm >= 0) {
    CHECK(track(a.kvm_vfio, KVM_DEV_VFIO_GROUP_DEL, a.group) == 0);
    CHECK(::close(a.kvm_vfio) == 0);
    CHECK(::close(a.vm) == 0);
  }
  CHECK(::ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER) == 0);
  CHECK(::close(a.group) == 0);
  CHECK(::close(a.container) == 0);
  a = attached();
}

int try_group(int group) {
  const int fd = ::open(group_path(group).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno;
  (void)::close(fd);
  return 0;
}

vfio_region_info region(int device, unsigned index) {
  vfio_region_info info{};
  info.argsz = sizeof info;
  info.index = index;
  CHECK(::ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0);
  return info;
}

std::uint32_t identity(int device) {
  const auto config = region(device, VFIO_PCI_CONFIG_REGION_INDEX);
  std::uint32_t word = 0;
  CHECK(::pread(device, &word, sizeof word, static_cast<off_t>(config.offset)) == sizeof word);
  return word;
}

void enable_memory(int device) {
  const auto config = region(device, VFIO_PCI_CONFIG_REGION_INDEX);
  const auto at = static_cast<off_t>(config.offset + PCI_COMMAND);
  const std::uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
  CHECK(::pwrite(device, &command, sizeof command, at) == sizeof command);
}

void send_descriptor(int socket, int fd) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)]{};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  cmsghdr* const c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  CHECK(::sendmsg(socket, &m, 0) == 1);
}

int receive_descriptor(int socket) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  CHECK(::recvmsg(socket, &m, MSG_CMSG_CLOEXEC) == 1);
  const cmsghdr* const c = CMSG_FIRSTHDR(&m);
  CHECK(c && c->cmsg_type == SCM_RIGHTS);
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return fd;
}

void expect_success(int pid) {
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace client

int main(int count, char** arguments) {
  using namespace client;
  constexpr struct {
    const char* name;
    subcommand run;
  } subcommands[] = {
      {"attach-legacy", attach_legacy},
      {"attach-iommufd", attach_iommufd},
      {"fault-queues", fault_queues},
      {"file-memory", file_memory},
      {"vm-events", vm_events},
      {"no-iommufd", no_iommufd},
      {"real-kvm", real_kvm},
      {"simulated-kvm", simulated_kvm},
      {"cycles", cycles},
      {"duplicates", duplicates},
      {"close-ranges", close_ranges},
      {"many-files", many_files},
      {"close-all-first", close_all_first},
      {"no-descriptors", no_descriptors},
      {"own-descriptors", own_descriptors},
      {"forks", forks},
      {"inherits", inherits},
      {"executes", executes},
      {"executed", executed},
      {"passes", passes},
      {"kills", kills},
      {"threads", threads},
      {"signals", signals},
      {"interrupted", interrupted},
      {"many", many},
      {"wild-pointers", wild_pointers},
      {"parts", parts},
      {"positions", positions},
      {"sockets", sockets},
      {"remaps", remaps},
      {"rings", rings},
      {"writes-past", writes_past},
      {"large-transfers", large_transfers},
      {"maps-bar", maps_bar},
      {"maps-in-two", maps_in_two},
      {"busy-while-mapped", busy_while_mapped},
      {"interrupts", interrupts},
      {"paths", paths},
      {"mistakes", mistakes},
      {"cleaned", cleaned},
      {"denies", denies},
      {"exits", exits},
      {"wrong-order", wrong_order},
      {"attach-error", attach_error},
      {"small-map", small_map},
      {"each-kind", each_kind},
      {"hold", hold},
      {"answered", answered},
      {"passed-on", passed_on},
  };
  const std::vector<std::string> all(arguments + 1, arguments + count);
  for (const auto& s : subcommands)
    if (!all.empty() && all[0] == s.name) return s.run({all.begin() + 1, all.end()});
  (void)std::fputs("client: there is no such subcommand\n", stderr);
  return 1;
}
