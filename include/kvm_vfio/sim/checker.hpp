// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Watches a VMM's calls and reports where it breaks its contract with kvm-vfio. Knows the calls
/// alone, so that it works on the simulator as on a real kernel (watch.hpp).
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/sim/describe.hpp>
#include <kvm_vfio/sim/rules.hpp>

#include <map>
#include <set>
#include <string_view>
#include <utility>

namespace kvm_vfio::sim {

/// A rule was broken.
struct report {
  /// Which rule, by which call.
  rule broken = rule::add_before_iommu;
  call by{};               ///< the call that broke it
  std::size_t number = 0;  ///< which one of all, from 1
  std::string about{};     ///< the file: a path, or a device's name
};

/// "call 12: ioctl(5, FILE_ADD fd 4) = 0 [/dev/vfio/7]\n  add-before-iommu: what\n  fix: …"
[[nodiscard]] inline std::string to_string(const report& r) {
  const rule_text t = text_of(r.broken);
  return "call " + std::to_string(r.number) + ": " + to_string(r.by) +
         (r.about.empty() ? "" : " [" + r.about + "]") + "\n  " + t.id + ": " + t.what +
         "\n  fix: " + t.fix + "\n";
}

/// Follows the open files through the calls and holds the rules against each. Any thread.
class checker final : public call_observer {
 public:
  /// Any thread's calls, one after the other.
  void called(const call& c) override {
    const guard held(mutex_);
    ++number_;
    see(c);
  }
  /// What was found, in order. A test checks that this is empty.
  [[nodiscard]] std::vector<report> reports() const {
    const guard held(mutex_);
    return reports_;
  }
  /// The reports in words; empty: none.
  [[nodiscard]] std::string text() const {
    std::string out;
    for (const report& r : reports()) out += to_string(r);
    return out;
  }
  /// How often a rule was broken.
  [[nodiscard]] std::size_t count(rule r) const {
    std::size_t n = 0;
    for (const report& seen : reports()) n += seen.broken == r;
    return n;
  }

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

  void see(const call& c) {
    // A number that came anew is no leftover of a test create any more.
    if (c.made >= 0 && !is_test(c)) tested_.erase({c.process, c.made});
    switch (c.kind) {
      case call_kind::open: return opened(c);
      case call_kind::dup:
        if (c.error == errc::ok) copy(c);
        return;
      case call_kind::eventfd:
        if (c.error == errc::ok) add_file(c, what::other, "eventfd");
        return;
      case call_kind::close: return closed(c);
      case call_kind::ioctl: return controlled(c);
      default: return;
    }
  }

  void opened(const call& c) {
    const std::string_view path = c.text;
    if (c.error == errc::busy) {
      for (const auto& [id, f] : files_)
        if (f.kind == what::group && f.name == path && f.descriptors == 0 && !f.trackers.empty())
          return tell(rule::reopen_while_tracked, c, f.name);
    }
    if (c.error != errc::ok) return;
    what kind = what::other;
    if (path == "/dev/vfio/vfio") kind = what::container;
    else if (path.starts_with("/dev/vfio/devices/")) kind = what::device;
    else if (path.starts_with("/dev/vfio/")) kind = what::group;
    add_file(c, kind, c.text);
  }

  void closed(const call& c) {
    if (tested_.erase({c.process, c.fd}) != 0) tell(rule::test_create_closed, c, "");
    if (c.error != errc::ok) return;
    const auto found = slots_.find({c.process, c.fd});
    if (found == slots_.end()) return;
    const file_id id = found->second;
    slots_.erase(found);
    seen_file& f = files_[id];
    if (--f.descriptors != 0) return;
    if (!f.trackers.empty()) tell(rule::close_without_del, c, f.name);
    if (f.kind == what::group && f.container != none) tell(rule::left_in_container, c, f.name);
    if (f.armed != 0) tell(rule::irqs_armed, c, f.name);
    if (f.kind == what::kvm_vfio)
      for (auto& [other, g] : files_) g.trackers.erase(id);
    forget_unused();
  }

  void controlled(const call& c) {
    seen_file* const f = find(c.process, c.fd);
    const bool ok = c.error == errc::ok;
    switch (c.request) {
      case KVM_CREATE_VM:
        if (ok) add_file(c, what::vm, "vm");
        return;
      case KVM_CREATE_DEVICE: return created(c);
      case KVM_SET_DEVICE_ATTR: return attribute(c);
      case VFIO_GROUP_SET_CONTAINER:
        if (ok && f) f->container = id_at(c.process, c.subject);
        return;
      case VFIO_GROUP_UNSET_CONTAINER:
        if (ok && f) f->container = none;
        return;
      case VFIO_SET_IOMMU:
        if (ok && f) f->iommu = true;
        return;
      case VFIO_GROUP_GET_DEVICE_FD:
        if (f && opens(c) && f->trackers.empty() && has_vm())
          tell(rule::open_before_add, c, c.text);
        if (ok) add_file(c, what::device, c.text);
        return;
      case uapi::request_bind_iommufd:
        if (f && opens(c) && f->trackers.empty() && has_vm())
          tell(rule::bind_before_add, c, f->name);
        return;
      case VFIO_DEVICE_SET_IRQS:
        if (ok && f) armed(c, *f);
        return;
      default: return;
    }
  }

  void created(const call& c) {
    if (c.number != KVM_DEV_TYPE_VFIO) return;
    if (is_test(c)) {
      if (c.error == errc::ok) tested_.insert({c.process, c.made});
    } else if (c.error == errc::busy) {
      tell(rule::second_kvm_vfio, c, "");
    } else if (c.error == errc::ok) {
      add_file(c, what::kvm_vfio, "kvm-vfio");
    }
  }

  void attribute(const call& c) {
    const file_id tracker = id_at(c.process, c.fd);
    // A file that nobody showed being opened is known by its descriptor alone.
    if (c.error == errc::ok && id_at(c.process, c.subject) == none)
      add_file(c.process, c.subject, what::other, "fd " + std::to_string(c.subject));
    seen_file* const f = find(c.process, c.subject);
    const std::string name = f ? f->name : "";
    if (c.attribute == kvm_vfio::uapi::dev_vfio_file_add) {
      if (c.error == errc::exists) return tell(rule::add_repeated, c, name);
      if (c.error != errc::ok) return;
      if (f->kind == what::group && (f->container == none || !files_[f->container].iommu))
        tell(rule::add_before_iommu, c, name);
      if (!f->trackers.empty()) tell(rule::file_in_two_vms, c, name);
      f->trackers.insert(tracker);
    } else if (c.attribute == kvm_vfio::uapi::dev_vfio_file_del) {
      if (c.error == errc::noent) return tell(rule::del_untracked, c, name);
      if (c.error == errc::ok) f->trackers.erase(tracker);
    }
  }

  static void armed(const call& c, seen_file& f) noexcept {
    if (!(c.flags & VFIO_IRQ_SET_ACTION_TRIGGER)) return;
    const std::uint32_t bit = std::uint32_t{1} << (c.number & 31);
    const bool single = c.number >= VFIO_PCI_ERR_IRQ_INDEX;
    if (c.flags & VFIO_IRQ_SET_DATA_EVENTFD) {
      if (single && c.subject < 0) f.armed &= ~bit;
      else if (c.count != 0) f.armed |= bit;
    } else if ((c.flags & VFIO_IRQ_SET_DATA_NONE) && c.count == 0) {
      f.armed &= ~bit;
    }
  }

  static bool is_test(const call& c) noexcept {
    return c.kind == call_kind::ioctl && c.request == kvm_vfio::uapi::create_device &&
           (c.flags & kvm_vfio::uapi::create_device_test);
  }
  // The driver's open ran, whether or not it liked what it saw.
  static bool opens(const call& c) noexcept {
    return c.error == errc::ok || c.error == static_cast<errc>(ESRCH);
  }
  [[nodiscard]] bool has_vm() const noexcept {
    for (const auto& [id, f] : files_)
      if (f.kind == what::vm || f.kind == what::kvm_vfio) return true;
    return false;
  }
  void tell(rule r, const call& c, std::string about) {
    reports_.push_back({r, c, number_, std::move(about)});
  }
  void add_file(const call& c, what kind, std::string name) {
    add_file(c.process, c.made, kind, std::move(name));
  }
  void add_file(int process, int fd, what kind, std::string name) {
    files_[++last_] = {.kind = kind, .name = std::move(name), .descriptors = 1};
    slots_[{process, fd}] = last_;
  }
  void copy(const call& c) {
    const file_id id = id_at(c.process, c.fd);
    if (id == none) return;
    ++files_[id].descriptors;
    slots_[{c.process, c.made}] = id;
  }
  [[nodiscard]] file_id id_at(int process, int fd) const noexcept {
    const auto found = slots_.find({process, fd});
    return found == slots_.end() ? none : found->second;
  }
  seen_file* find(int process, int fd) noexcept {
    const file_id id = id_at(process, fd);
    return id == none ? nullptr : &files_[id];
  }
  // Files without descriptors matter as long as something refers to them.
  void forget_unused() {
    std::erase_if(files_, [this](const auto& entry) {
      const auto& [id, f] = entry;
      if (f.descriptors != 0 || !f.trackers.empty()) return false;
      for (const auto& [other, g] : files_)
        if (g.container == id) return false;
      return true;
    });
  }

  mutable mutex mutex_;
  std::size_t number_ = 0;
  file_id last_ = none;
  std::map<file_id, seen_file> files_;
  std::map<slot, file_id> slots_;
  std::set<slot> tested_;
  std::vector<report> reports_;
};

}  // namespace kvm_vfio::sim
