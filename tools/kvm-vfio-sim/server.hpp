// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Answers the calls of a program's processes with the simulated host.

#include "faults.hpp"
#include "host.hpp"
#include "log.hpp"
#include "protocol.hpp"
#include "remote_memory.hpp"
#include "unique_fd.hpp"

#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/sysfs_view.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/checker.hpp>

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio_sim {

class notifier;
class real_event;

/// The simulated host's side of all connections. It runs in one thread.
///
/// Calls come over the sockets of preloaded objects, or from a `notifier`.
///
/// All processes share one host, as they do on a real one: two processes cannot open the same
/// group, and a descriptor that one passes to another is the same open file.
class server {
 public:
  /// \param machine  the host; must outlive the server
  /// \param nodes    the device nodes of the host
  /// \param plan     the faults that each process gets
  /// \param log_file the descriptor of the log; -1: none
  server(host& machine, std::vector<kvm_vfio::sim::device_node> nodes, fault_plan plan,
         int log_file);
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server();

  /// Makes the socket that the processes connect to. Call this function before the program starts.
  /// \return 0, or the number of the error
  [[nodiscard]] int listen(const std::string& path);
  /// Also answers the calls that a notifier receives.
  /// \param other the notifier; must outlive the calls of `run`
  void use(notifier& other);
  /// Answers calls until a process has ended, and then ends all processes of the simulated host.
  /// \param ended becomes readable when the process ends (pidfd_open(2))
  void run(int ended);

  /// The checker, which has seen every call.
  [[nodiscard]] const kvm_vfio::trace::checker& checker() const noexcept { return checker_; }
  [[nodiscard]] const call_log& log() const noexcept { return log_; }
  [[nodiscard]] const fault_finder& faults() const noexcept { return faults_; }
  /// A call that failed.
  struct failure {
    kvm_vfio::trace::call call;
    std::uint64_t number = 0;  ///< of the call, as in the log. 0: no call has failed
    bool injected = false;     ///< a fault of the plan made the error
  };
  /// The last call that failed.
  [[nodiscard]] const failure& last_failure() const noexcept { return last_failure_; }
  /// The name of the program that a process executed when it made a call.
  /// \param number the number of the call, as in the log
  [[nodiscard]] std::string program_at(pid_t pid, std::uint64_t number) const;
  /// What the simulated host did not see, or refused because it would not have seen it: one text
  /// for each process and reason.
  [[nodiscard]] const std::vector<std::string>& unseen() const noexcept { return unseen_; }
  /// How many processes have connected.
  [[nodiscard]] std::size_t processes() const noexcept { return processes_; }

 private:
  friend class notifier;
  using process = kvm_vfio::sim::process;
  using answer = kvm_vfio::trace::answer;

  // Tells the log and the checker of the calls of a process. Calls can be held back until the real
  // kernel has chosen the number of a descriptor, or the address of a mapping.
  class relay final : public kvm_vfio::trace::call_observer {
   public:
    explicit relay(server& to) : to_(to) {}
    void called(const kvm_vfio::trace::call& c) override;
    enum { tells, holds, is_silent } mode = tells;
    kvm_vfio::sim::call_fault injected{};  // the fault of the last request, if `has_fault`
    bool has_fault = false;
    bool fresh = true;  // the log does not have the name of the program yet
    std::vector<kvm_vfio::trace::call> held;

   private:
    server& to_;
  };
  // A mapping that the real kernel makes after the simulated one, at an address of its choice.
  struct awaited_mapping {
    pid_t thread;
    std::uint64_t stand_in;  // the address of the simulated mapping up to then
    std::uint64_t size;
    std::uint64_t offset;
    std::uint64_t inode;
    kvm_vfio::trace::call call;
  };

  // A process of the program.
  struct client {
    client(server& owner, pid_t number, unique_fd end)
        : observer(owner),
          memory(number),
          task(owner.host_.files(), memory, number),
          pid(number),
          ended(std::move(end)) {}
    relay observer;
    remote_memory memory;
    process task;
    pid_t pid;
    unique_fd ended;      // becomes readable when the process ends
    std::string program;  // the name of the program that it executes
    fault_finder::counts counted;
    bool has_parent = false;                                        // it got what its parent had
    std::vector<std::pair<std::uint64_t, std::uint64_t>> mappings;  // first address and size
    std::vector<int> lent;                                          // descriptors with eventfds
    std::vector<awaited_mapping> awaited;
    // While a thread may be in execve(2): the thread, and what `program_mark` was before.
    pid_t executing = 0;
    std::string mark;
    std::set<pid_t> forking;  // threads that may have made a process since their last call
  };
  // An open file of the simulated host with descriptors in the program.
  struct open_file {
    kvm_vfio::sim::file* file = nullptr;  // with a reference
    unique_fd peer;                       // sees the end of the last descriptor; none: see `lock`
    // A file that the program can map has no peer. It holds a lock of one byte at `lock` on the
    // memory of its device, which is the file `memory`. The kernel removes the lock with the last
    // descriptor and the last mapping.
    int memory = -1;
    std::uint64_t lock = 0;
    unsigned major = 0;
    unsigned minor = 0;
    std::vector<std::pair<pid_t, int>> at;  // where descriptors were seen
  };
  struct sent {
    reply answer;
    int fd = -1;  // goes to the program, and stays open here
  };

  void accept();
  // Reads one request of a connection, and answers it. False: the connection has ended.
  bool serve(int connection);
  // The process behind a connection. `fresh`: this is the first request of the connection.
  client& client_of(pid_t pid, bool fresh);
  // Follows what execve(2) did to a process: it closes descriptors without a call.
  void follow_exec(client& c);
  // Executes what has ended since the last call: files without descriptors, and processes.
  void follow_ends();
  void end_file(std::uint64_t key);
  void end_process(pid_t pid);

  // Lets the call of a request fail if the fault plan says so. Returns whether it does.
  bool inject(client& c, const request& r, const char* path);
  sent execute(client& c, const request& r, const char* path, unique_fd peer);
  sent call(client& c, const request& r, const char* path, unique_fd peer);
  sent ioctl(client& c, const request& r, unique_fd peer);
  // Gives a child what it has from its parent, if it has nothing yet.
  void fork(client& parent, client& child);
  sent map(client& c, const request& r);
  answer unmap(client& c, const request& r);
  void remap(client& c, const request& r);
  answer transfer(client& c, const request& r);
  // The same for a call with iovecs.
  answer transfer_parts(client& c, const request& r);
  // Calls `make`, which makes the descriptor r.number, if it succeeds.
  template <class Function>
  sent making(client& c, const request& r, unique_fd peer, const std::string& path, Function make);
  // Makes a descriptor for a device whose BARs can be mapped, as a file with the device's memory.
  // The open file `key` then ends with this file. None: no BAR can be mapped.
  unique_fd as_memory(std::uint64_t key);
  // The open file of the simulated host behind a descriptor of a process or thread. `link` is the
  // link of the descriptor in /proc. 0: the descriptor is none of a simulated file.
  [[nodiscard]] std::uint64_t key_of(pid_t task, int fd, const std::string& link) const;
  // The same for a file with the memory of a device, as far as the process is known to have it.
  // This is quick, and right for processes whose calls of close(2) and dup2(2) are reported.
  [[nodiscard]] std::uint64_t known_key_of(client& c, int fd, const std::string& link) const;
  // Gives awaited mappings their addresses. If `thread` has made a further call, its mapping
  // exists, or the real kernel refused the mapping.
  void settle(client& c, pid_t thread);
  // Makes the simulated process see the real file behind a descriptor.
  void follow(client& c, int fd);
  // Gives a process a descriptor of an open file, which the process got from another process.
  void install(client& c, int fd, open_file& f);
  // The same as `follow` for the descriptors that an ioctl names in its argument.
  void follow_argument(client& c, const request& r);
  // Gives the consumers of eventfds what programs have written.
  void pass_events();
  // Forgets eventfds that nothing uses, and files in memory.
  void forget_events(client& c);
  // Forgets eventfds of simulated VMs that programs have closed, which ends their irqfds.
  void end_closed_events();
  // Notes that the eventfd of a successful KVM_IRQFD or KVM_IOEVENTFD belongs to a simulated VM.
  static void note_event(client& c, const request& r);
  // An eventfd that belongs to a simulated VM, under this or another descriptor. Null: it is none.
  [[nodiscard]] real_event* event_of_vm(std::uint64_t id) const;
  // Remembers something that the simulated host does not see, for the report at the end.
  void tell_unseen(pid_t pid, const std::string& what);
  [[nodiscard]] const kvm_vfio::sim::device_node* node(const std::string& path) const;
  [[nodiscard]] kvm_vfio::trace::file_type type_of(int pid, int fd);

  host& host_;
  std::vector<kvm_vfio::sim::device_node> nodes_;
  fault_finder faults_;
  call_log log_;
  kvm_vfio::trace::checker checker_;
  std::size_t processes_ = 0;
  failure last_failure_;
  // The first call of each program in each process.
  struct program_start {
    pid_t pid;
    std::uint64_t number;
    std::string program;
  };
  std::vector<program_start> programs_;
  unique_fd listener_;
  unique_fd events_;  // the epoll of everything
  unique_fd ends_;    // the epoll of open files and processes
  unique_fd spare_;   // makes room for a connection that is refused
  struct program_end {
    pid_t pid = 0;
    bool fresh = true;
  };
  std::map<int, program_end> connections_;
  std::map<pid_t, std::unique_ptr<client>> clients_;
  std::map<std::uint64_t, open_file> files_;  // by the inode of the program's end, or the lock
  std::map<int, std::uint64_t> key_of_peer_;
  std::vector<std::uint64_t> locked_;  // the keys of the files with locks
  std::uint64_t locks_ = 0;            // the number of locks that were ever made
  notifier* notifier_ = nullptr;
  std::vector<std::string> unseen_;
};

}  // namespace kvm_vfio_sim
