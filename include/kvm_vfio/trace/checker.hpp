// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Watches a VMM's calls and reports where it breaks its contract with kvm-vfio. Knows the calls
/// alone, so that it works on the simulator as on a real kernel (watched_system.hpp).
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/trace/call_text.hpp>
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

/// A rule was broken.
struct report {
  /// Which rule, by which call.
  rule broken = rule::add_before_iommu;
  call by{};               ///< the call that broke it
  std::size_t number = 0;  ///< which one of all, from 1
  std::string about{};     ///< the file: a path, or a device's name
};

/// "call 12: ioctl(5, FILE_ADD fd 4) = 0 [/dev/vfio/7]\n  add-before-iommu: what\n  fix: …"
[[nodiscard]] std::string to_string(const report& r);

/// Follows the open files through the calls and holds the rules against each. Any thread.
class checker final : public call_observer {
 public:
  /// A checker that has seen no call.
  checker() noexcept;
  checker(const checker&) = delete;
  checker& operator=(const checker&) = delete;
  ~checker();

  /// Any thread's calls, one after the other.
  void called(const call& c) override;
  /// What was found, in order. A test checks that this is empty.
  [[nodiscard]] std::vector<report> reports() const;
  /// The reports in words; empty: none.
  [[nodiscard]] std::string text() const;
  /// How often a rule was broken.
  [[nodiscard]] std::size_t count(rule r) const;

 private:
  enum class what : unsigned char { container, group, device, vm, kvm_vfio, other };
  using file_id = std::size_t;
  static constexpr file_id none = 0;
  struct seen_file {
    what kind = what::other;
    std::string name{};
    int descriptors = 0;
    file_id container = none;      // a group's
    bool iommu = false;            // a container's
    std::set<file_id> trackers{};  // the kvm-vfios that track it
    std::uint32_t armed = 0;       // a device's interrupt indexes, a bit each
  };
  using slot = std::pair<int, int>;  // process, descriptor

  void see(const call& c);
  void opened(const call& c);
  void closed(const call& c);
  void controlled(const call& c);
  void created(const call& c);
  void attribute(const call& c);
  static void armed(const call& c, seen_file& f) noexcept;

  static bool is_test(const call& c) noexcept;
  // The driver's open ran, whether or not it liked what it saw.
  static bool opens(const call& c) noexcept;
  [[nodiscard]] bool has_vm() const noexcept;
  void tell(rule r, const call& c, std::string about);
  void add_file(const call& c, what kind, std::string name);
  void add_file(int process, int fd, what kind, std::string name);
  void copy(const call& c);
  [[nodiscard]] file_id id_at(int process, int fd) const noexcept;
  seen_file* find(int process, int fd) noexcept;
  // Files without descriptors matter as long as something refers to them.
  void forget_unused();

  mutable mutex mutex_;
  std::size_t number_ = 0;
  file_id last_ = none;
  std::map<file_id, seen_file> files_;
  std::map<slot, file_id> slots_;
  std::set<slot> tested_;
  std::vector<report> reports_;
};

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/checker.hpp>
#endif
