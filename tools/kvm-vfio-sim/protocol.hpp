// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The messages between the preloaded object in a program and the simulated host in kvm-vfio-sim.
///
/// Each process of the program has one connection: a Unix socket of the type SOCK_SEQPACKET. The
/// process sends a `request`, for an open followed by the path, and waits for the `reply`.
///
/// Each open file of the simulated host is one end of a socket pair in the program. The simulated
/// host has the other end. So the real kernel counts the descriptors: it knows dup(2), fork(2),
/// execve(2), SCM_RIGHTS and the end of a process. When the last descriptor is closed, the
/// simulated host sees the end of its socket, and releases the file.

#include <cstdint>

namespace kvm_vfio_sim {

/// The environment variable with the path of the directory of the run. It contains the socket, the
/// device nodes as text, and the view of sysfs.
inline constexpr char directory_variable[] = "KVM_VFIO_SIM_DIRECTORY";
/// The environment variable that exists if the simulated host answers for /dev/kvm.
inline constexpr char kvm_variable[] = "KVM_VFIO_SIM_KVM";
/// The environment variable that names the directory of the run, for every transport. The launcher
/// finds processes with it that live longer than the run.
inline constexpr char run_variable[] = "KVM_VFIO_SIM_RUN";
/// The name of the socket in the directory of the run.
inline constexpr char socket_name[] = "/socket";
/// The name of the list of device nodes: lines with a path, the major and the minor number, and the
/// inode of the file that stands for the node in the directory of the run.
inline constexpr char nodes_name[] = "/nodes";
/// The name of the list of programs that processes executed, but that are not on the simulated
/// host: lines with a number of `obstacle` and a path. `obstacle::none` withdraws an earlier line
/// of the path. The file is missing if there was no such program.
inline constexpr char unreached_name[] = "/unreached";
/// The name of an empty file in the directory of the run. The file is missing as long as no process
/// has used a path of the simulated part of /sys.
inline constexpr char viewed_name[] = "/viewed";

/// What a process wants.
enum class operation : std::uint32_t {
  open,        ///< open(2) of the path that follows
  close,       ///< close(2); `flags` is 1 if another call closes the descriptor
  dup,         ///< dup(2) and its relatives, after the real call: `number` is the new descriptor
  ioctl,       ///< ioctl(2): `first` is the request, `second` the argument
  read,        ///< read(2): `first` is the address, `second` the size
  write,       ///< write(2): as `read`
  pread,       ///< pread(2): as `read`, and `third` is the offset
  pwrite,      ///< pwrite(2): as `pread`
  readv,       ///< readv(2): `first` is the address of the iovecs, `second` their number
  writev,      ///< writev(2): as `readv`
  preadv,      ///< preadv(2): as `readv`, and `third` is the offset
  pwritev,     ///< pwritev(2): as `preadv`
  map,         ///< mmap(2): `first` is the address, `second` the size, `third` the offset
  unmap,       ///< munmap(2): `first` is the address, `second` the size; `flags` as for `close`
  identify,    ///< which file of the simulated host the socket with the inode `first` is
  created_vm,  ///< the real KVM made a VM with the descriptor `number`
  forked,      ///< the process is a child of the process `number`
  made_child,  ///< the process `number` is a child of the process, which may have told so already
  before_dup,  ///< before the real call of dup(2): whether a fault lets the call fail
  remap,  ///< mremap(2): `first` is the old address, `second` the size, `third` the new address
  ring,   ///< io_uring_setup(2); `flags` is 1 if files were refused (io_uring_register(2))
};

/// A request. A member that an operation does not use is 0.
struct request {
  operation what = operation::open;
  std::int32_t fd = -1;
  /// The descriptor that the call will make, if it succeeds. It is an end of a socket pair whose
  /// other end comes with the request, and `inode` is the inode of this end. -1: none.
  std::int32_t number = -1;
  /// The flags of open(2); for `map` the protection in the low half and the flags in the high half.
  std::uint32_t flags = 0;
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  std::uint64_t third = 0;
  std::uint64_t inode = 0;
};

/// The reply. For `map` the descriptor of the memory comes with it.
struct reply {
  std::int64_t value = 0;
  /// The number of the error; 0: the call succeeded.
  std::int32_t error = 0;
  /// Whether the descriptor `request::number` is an open file now.
  std::uint32_t made = 0;
  /// For a descriptor that was made, and for `identify`: the major and the minor number of the
  /// device node, 0 if the file has none.
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  /// For `map`: the offset in the memory.
  std::uint64_t offset = 0;
  /// Whether a fault of the plan made the error.
  std::uint32_t injected = 0;
};

/// IOMMU_FAULT_QUEUE_ALLOC, which makes a descriptor. Older headers of the kernel lack it, and the
/// preloaded object includes no header of the library.
inline constexpr unsigned fault_queue_alloc = ';' << 8 | 0x8e;

/// The longest path that an open can have, in bytes with the zero byte.
inline constexpr unsigned longest_path = 4096;

}  // namespace kvm_vfio_sim
