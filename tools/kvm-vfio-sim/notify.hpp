// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Answers system calls that the kernel reports to the launcher (seccomp's user notification). This
/// way reaches programs that no object can be preloaded into: statically linked ones, and those
/// that make system calls without the C library.
///
/// A simulated open file is an end of a socket pair, as with the preloaded object. But mmap(2) must
/// be made by the real kernel, which takes the file behind the descriptor, and the address that it
/// chooses itself. So the descriptor of a device is a file that has the memory of all BARs at their
/// offsets, with nothing between them, and mmap(2) continues in the real kernel after the simulated
/// host has agreed. The other ways were worse:
/// - A file that replaces the socket only during mmap(2) (SECCOMP_ADDFD_FLAG_SETFD): another thread
///   could use the descriptor meanwhile, and the end of mmap(2) is not reported.
/// - Calls that are injected into the program (ptrace): a debugger could not be used, and each
///   processor has registers of its own.
///
/// close(2) is made by the real kernel, too. If a fault of the plan lets it fail, the launcher
/// changes the result with ptrace(2), which it uses for nothing else.
///
/// A file has no other end that would tell of its last close. So it holds a lock of its own
/// (F_OFD_SETLK), which the kernel removes with the last descriptor and the last mapping. The
/// server looks for the locks before it answers a call.

#include "server.hpp"
#include "unique_fd.hpp"

#include <kvm_vfio/sim/sysfs_view.hpp>

#include <linux/seccomp.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace kvm_vfio_sim {

/// Receives system calls, and turns them into requests to the server.
class notifier {
 public:
  /// \param listener  what `install_filter` returned in the program's first process
  /// \param directory the directory of the run
  /// \param nodes     the device nodes of the host
  /// \param kvm       whether /dev/kvm is simulated
  notifier(unique_fd listener, std::string directory, std::vector<kvm_vfio::sim::device_node> nodes,
           bool kvm);
  /// The descriptor that becomes readable when a call waits.
  [[nodiscard]] int fd() const noexcept { return listener_.get(); }
  /// Receives one call, and lets it be answered or continued.
  void serve(server& answers);
  /// Lets the calls of processes continue that live longer than the run, until the last has ended.
  /// Does so in a process of its own. Call this function at the end of the run.
  void leave();

 private:
  using client = server::client;
  using file_key = std::uint64_t;

  // Receives a call. False: there is none.
  bool receive();
  void execute(server& s);
  // The ways to answer the call.
  void pass();
  // Lets the real kernel make the call, and puts an error in the place of its result.
  void pass_and_fail(int error);
  void answer(std::int64_t value, int error);
  void answer(const reply& r) { answer(r.value, r.error); }
  // The result of a call of this program.
  void answer_own(long result);
  // Gives a file to the thread, which ends its call with the number of the descriptor.
  // \param number the number; -1: the lowest that is free
  // \return the number; negative: the number of an error, and the call still waits
  int give(int file, bool close_on_exec, int number = -1);
  // As `give`, but the call still waits.
  int add(int file, bool close_on_exec, int number, std::uint32_t flags);
  // Whether the call still waits, so that the number of its thread is still the number of this
  // thread.
  [[nodiscard]] bool is_valid() const;

  [[nodiscard]] std::uint64_t argument(unsigned n) const { return call_.data.args[n]; }
  [[nodiscard]] int number(unsigned n) const { return static_cast<int>(argument(n)); }
  [[nodiscard]] pid_t thread() const { return static_cast<pid_t>(call_.pid); }
  [[nodiscard]] bool read(std::uint64_t from, void* to, std::size_t size) const;
  [[nodiscard]] bool write(std::uint64_t to, const void* from, std::size_t size) const;
  // A text of the thread. False: it cannot be read, or is longer than a path can be.
  bool read_path(std::uint64_t from, std::string& to) const;
  // The tidy absolute path that a call names. Empty: it is none that the simulated host can have.
  [[nodiscard]] std::string path_at(int directory, const std::string& path) const;
  // Where the real file of a path of the simulated host is. Empty: the path is a real one.
  [[nodiscard]] std::string shown(const std::string& path) const;
  // Removes the directory of the run from the start of a path.
  bool strip(std::string& path) const;
  [[nodiscard]] const kvm_vfio::sim::device_node* node(const std::string& path) const;

  // The process of the thread. Makes its simulated process if it has none. Null: the thread is
  // gone.
  client* client_here(server& s);
  // The process of the thread. Null: it has no simulated process.
  client* known_client(server& s);
  [[nodiscard]] pid_t process_here(const server& s);
  // Gives a new process what it has from its parent.
  void follow_fork(server& s, client& c, pid_t parent_process);
  // Finds the new children of a process.
  void follow_forks(server& s, client& c);
  // Finds out whether a process has executed another program.
  void follow_exec(server& s, client& c);
  // The simulated file behind a descriptor of the thread. 0: none.
  [[nodiscard]] file_key file_at(server& s, int fd);

  void open(server& s, int directory, std::uint64_t path, std::uint64_t flags, std::uint64_t mode,
            const std::uint64_t* how);
  // Learns that a descriptor, or one behind it, may be closed.
  void is_freed(const server& s, int fd);
  void make(server& s, client& c, request r, const char* path, bool close_on_exec);
  void ioctl(server& s);
  void transfer(server& s, operation what);
  void map(server& s);
  void unmap(server& s);
  // Something else takes the place of what is mapped in a range.
  void replace(server& s, std::uint64_t first, std::uint64_t size);
  void remap(server& s);
  // Answers a call with an error if one of its two descriptors is simulated. -1: no descriptor.
  void refuse(server& s, int fd, int other, int error);
  void use_ring(server& s);
  void close(server& s);
  void close_range(server& s);
  void duplicate(server& s, int from, int lowest, int to, bool close_on_exec);
  void stat_descriptor(server& s, int fd, std::uint64_t to);
  void stat(server& s, int directory, std::uint64_t path, std::uint64_t to, int flags);
  void statx(server& s);
  void access(int directory, std::uint64_t path, std::uint64_t mode, int flags);
  void read_link(server& s, int directory, std::uint64_t path, std::uint64_t to,
                 std::uint64_t size);
  void stat_system();

  unique_fd listener_;
  std::string directory_;
  std::vector<kvm_vfio::sim::device_node> nodes_;
  bool kvm_;
  std::uint64_t stand_ins_ = 0;
  std::map<pid_t, pid_t> process_of_;  // by the thread
  // By the process: a number below which no descriptor is free, as far as calls have told. A wrong
  // one costs time only, because the kernel chooses the number of a new descriptor.
  std::map<pid_t, int> free_from_;
  seccomp_notif call_{};
  bool answered_ = false;
};

}  // namespace kvm_vfio_sim
