// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the subcommands of the client share. The client is an ordinary program: it makes calls of
/// the C library, and knows nothing of kvm-vfio-sim.

#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace client {

/// The exit status of a subcommand that cannot run on this machine.
inline constexpr int skipped = 77;

/// Ends the process with status 1 if a condition is false, and says where.
#define CHECK(condition)                                                                    \
  do {                                                                                      \
    errno = 0;                                                                              \
    if (!(condition)) {                                                                     \
      (void)std::fprintf(stderr, "%s:%d: %s (errno: %s)\n", __FILE__, __LINE__, #condition, \
                         std::strerror(errno));                                             \
      std::_Exit(1);                                                                        \
    }                                                                                       \
  } while (false)

/// Ends the process with status 1 unless a call returns -1 with this error.
#define FAILS(call, error)                                                                     \
  do {                                                                                         \
    errno = 0;                                                                                 \
    const long long returned_ = (call);                                                        \
    if (returned_ != -1 || errno != (error)) {                                                 \
      (void)std::fprintf(stderr, "%s:%d: %s is %lld with %s, and not an error %s\n", __FILE__, \
                         __LINE__, #call, returned_, std::strerror(errno), #error);            \
      std::_Exit(1);                                                                           \
    }                                                                                          \
  } while (false)

/// The paths of group N and of its device file.
std::string group_path(int group);
std::string device_path(int group);
/// The name of the device of group N.
std::string device_name(int group);

/// A device that is attached through its group: what a VMM does, with kvm-vfio if there is a VM.
struct attached {
  int container = -1;
  int group = -1;
  int device = -1;
  int vm = -1;
  int kvm_vfio = -1;
};
/// Attaches the device of group N. Ends the process if a step fails.
/// \param with_vm whether a VM tracks the group
attached attach(int group, bool with_vm = true);
/// Undoes the steps of `attach` in the right order.
void detach(attached& a);
/// Makes a VM with a kvm-vfio.
void make_vm(int& vm, int& kvm_vfio);
/// FILE_ADD or FILE_DEL of a descriptor.
/// \return what ioctl(2) returns
int track(int kvm_vfio, std::uint64_t attribute, std::int32_t fd);

/// Opens group N. The test is whether it can be opened, so that nobody else has it open.
/// \return 0, or the error
int try_group(int group);
/// What VFIO_DEVICE_GET_REGION_INFO tells of a region.
vfio_region_info region(int device, unsigned index);
/// The vendor and the device number, read from the configuration space.
std::uint32_t identity(int device);
/// Enables memory in the command register of a device.
void enable_memory(int device);
/// Sends, or receives, a descriptor over a socket.
void send_descriptor(int socket, int fd);
int receive_descriptor(int socket);
/// Waits for a child, and ends the process if the child's status is not 0.
void expect_success(int pid);

using subcommand = int (*)(const std::vector<std::string>& arguments);
int attach_legacy(const std::vector<std::string>&);
int attach_iommufd(const std::vector<std::string>&);
int fault_queues(const std::vector<std::string>&);
int file_memory(const std::vector<std::string>&);
int vm_events(const std::vector<std::string>&);
int no_iommufd(const std::vector<std::string>&);
int real_kvm(const std::vector<std::string>&);
int simulated_kvm(const std::vector<std::string>&);
int cycles(const std::vector<std::string>&);
int duplicates(const std::vector<std::string>&);
int close_ranges(const std::vector<std::string>&);
int many_files(const std::vector<std::string>&);
int close_all_first(const std::vector<std::string>&);
int no_descriptors(const std::vector<std::string>&);
int own_descriptors(const std::vector<std::string>&);
int forks(const std::vector<std::string>&);
int inherits(const std::vector<std::string>&);
int executes(const std::vector<std::string>&);
int executed(const std::vector<std::string>&);
int passes(const std::vector<std::string>&);
int kills(const std::vector<std::string>&);
int threads(const std::vector<std::string>&);
int signals(const std::vector<std::string>&);
int interrupted(const std::vector<std::string>&);
int many(const std::vector<std::string>&);
int wild_pointers(const std::vector<std::string>&);
int parts(const std::vector<std::string>&);
int positions(const std::vector<std::string>&);
int sockets(const std::vector<std::string>&);
int remaps(const std::vector<std::string>&);
int rings(const std::vector<std::string>&);
int writes_past(const std::vector<std::string>&);
int large_transfers(const std::vector<std::string>&);
int maps_bar(const std::vector<std::string>&);
int maps_in_two(const std::vector<std::string>&);
int busy_while_mapped(const std::vector<std::string>&);
int interrupts(const std::vector<std::string>&);
int paths(const std::vector<std::string>&);
int mistakes(const std::vector<std::string>&);
int cleaned(const std::vector<std::string>&);
int denies(const std::vector<std::string>&);
int exits(const std::vector<std::string>&);
int wrong_order(const std::vector<std::string>&);
int attach_error(const std::vector<std::string>&);
int small_map(const std::vector<std::string>&);
int each_kind(const std::vector<std::string>&);
int hold(const std::vector<std::string>&);
int answered(const std::vector<std::string>&);
int passed_on(const std::vector<std::string>&);

}  // namespace client
