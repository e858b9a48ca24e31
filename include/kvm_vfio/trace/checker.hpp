// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The checker, which reports each call of a VMM that breaks a rule of kvm-vfio or VFIO. The
/// checker sees only the calls and their answers, never the state of a kernel. Therefore the
/// checker works with the simulator and with a real kernel (watched_system.hpp).
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/mutex.hpp>
#include <kvm_vfio/trace/report.hpp>  // IWYU pragma: export
#include <kvm_vfio/trace/request_rules.hpp>
#include <kvm_vfio/trace/rules.hpp>  // IWYU pragma: export
#include <kvm_vfio/trace/seen_files.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::trace {

/// Follows the open files of all processes through their calls, and checks each call against the
/// rules. Any thread may call any function; the checker has a lock of its own.
class checker final : public call_observer, private detail::request_rules {
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
  using seen_file = detail::seen_file;
  using slot = detail::seen_files::slot;

  void see(const call& c);
  void opened(const call& c);
  void installed(const call& c);
  void closed(const call& c);
  // A call that removed a descriptor.
  void dropped(const call& c, slot at);
  void exited(const call& c);
  void controlled(const call& c);
  void created(const call& c);
  // A request of type 1, which containers have, and iommufds that are used as containers.
  void container_request(const call& c, seen_file& f);
  // A KVM_SET_DEVICE_ATTR.
  void attribute(const call& c);
  // A FILE_ADD on a descriptor that may be a kvm-vfio that the checker does not know.
  void added_elsewhere(const call& c);
  void added(const call& c, seen_file& f);
  void deleted(const call& c, seen_file* f);
  static bool is_test(const call& c) noexcept;
  // Whether the device of a device file, or a device of a group, is in use.
  [[nodiscard]] bool in_use(detail::file_id id) const noexcept;
  void add_file(const call& c, file_type type, std::string name);
  // Remembers a call that failed and should have made a descriptor.
  void made(const call& c, bool told);
  // Whether a failed call names a negative descriptor that it needs.
  [[nodiscard]] bool lacks_descriptor(const call& c) noexcept;
  // Tells that the VMM ignored the failure of a call that should have made a descriptor, if this
  // call needs that descriptor. Returns whether it does.
  bool on_no_descriptor(const call& c);

  // The number by which the checker knows the process of a table of descriptors: that of the
  // process, or a negative one if another table has this number.
  int key_of(int process, std::uint32_t table);
  // Checks a call whose `process` is such a number.
  void check(const call& c);

  mutable mutex mutex_;
  std::map<std::pair<int, std::uint32_t>, int> keys_;
  int last_key_ = 0;  // the last negative one
  // The `fd` of each KVM_CREATE_DEVICE with the TEST flag. Such an `fd` is not a descriptor.
  std::set<slot> tested_;
  // The descriptors of the kvm-vfios that are closed.
  std::set<slot> closed_;
  // The last call of each process that failed and should have made a descriptor, with its number.
  std::map<int, std::pair<std::size_t, call>> unmade_;
};

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/checker.hpp>
#endif
