// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The checker, which reports each call of a VMM that breaks a rule of kvm-vfio or VFIO. The
/// checker sees only the calls and their answers, never the state of a kernel. Therefore the
/// checker works with the simulator and with a real kernel (watched_system.hpp).
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/mutex.hpp>
#include <kvm_vfio/trace/rules.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::trace {

/// A report: one call broke one rule.
struct report {
  /// The rule that was broken.
  rule broken = rule::add_before_iommu;
  /// The call that broke it.
  call by{};
  /// The number of this call among all calls that the checker saw, counted from 1.
  std::size_t number = 0;
  /// The file that the report is about: a path, or the name of a device. Empty: the report is not
  /// about a file.
  std::string about{};
};

/// Writes a report as three lines of text. WHAT and FIX are the texts of the rule in this example:
/// \code{.txt}
/// call 12: ioctl(5, FILE_ADD fd 4) = 0 [/dev/vfio/7]
///   add-before-iommu: WHAT
///   fix: FIX
/// \endcode
[[nodiscard]] std::string to_string(const report& r);

/// Follows the open files of all processes through their calls, and checks each call against the
/// rules. Any thread may call any function; the checker has a lock of its own.
class checker final : public call_observer {
 public:
  /// Makes a checker that has seen no call.
  checker() noexcept;
  checker(const checker&) = delete;
  checker& operator=(const checker&) = delete;
  ~checker();

  /// Checks a call. The calls of several threads are checked one after the other.
  void called(const call& c) override;
  /// Returns a copy of all reports, in the order of the calls. A test of a VMM checks that there
  /// are no reports.
  [[nodiscard]] std::vector<report> reports() const;
  /// Returns the reports as text, three lines for each report. Empty: no rule was broken.
  [[nodiscard]] std::string text() const;
  /// Returns the number of reports about a rule.
  [[nodiscard]] std::size_t count(rule r) const;

 private:
  enum class what : unsigned char { container, group, device, vm, kvm_vfio, other };
  using file_id = std::size_t;
  static constexpr file_id none = 0;
  struct seen_file {
    what kind = what::other;
    std::string name{};
    int descriptors = 0;
    file_id container = none;      // of a group: the container that it is in
    bool iommu = false;            // of a container: SET_IOMMU has succeeded
    std::set<file_id> trackers{};  // the kvm-vfios that track the file
    std::uint32_t armed = 0;       // of a device: a bit for each armed interrupt index
  };
  using slot = std::pair<int, int>;  // the number of a process, and a descriptor of this process

  void see(const call& c);
  void opened(const call& c);
  void closed(const call& c);
  void controlled(const call& c);
  void created(const call& c);
  void attribute(const call& c);
  static void armed(const call& c, seen_file& f) noexcept;

  static bool is_test(const call& c) noexcept;
  // Whether the call reached the driver's function that opens the device. A call that failed with
  // ESRCH reached the function, which found no VM.
  static bool opens(const call& c) noexcept;
  [[nodiscard]] bool has_vm() const noexcept;
  void tell(rule r, const call& c, std::string about);
  void add_file(const call& c, what kind, std::string name);
  void add_file(int process, int fd, what kind, std::string name);
  void copy(const call& c);
  [[nodiscard]] file_id id_at(int process, int fd) const noexcept;
  seen_file* find(int process, int fd) noexcept;
  // Forgets each file that has no descriptor, no tracker and, if it is a container, no group.
  void forget_unused();

  mutable mutex mutex_;
  std::size_t number_ = 0;
  file_id last_ = none;
  std::map<file_id, seen_file> files_;
  std::map<slot, file_id> slots_;
  // The `fd` of each KVM_CREATE_DEVICE with the TEST flag. Such an `fd` is not a descriptor.
  std::set<slot> tested_;
  std::vector<report> reports_;
};

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/checker.hpp>
#endif
