// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The journal: the calls that the mocks received, in order. All mocks of a test share one journal.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/testing/ids.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace kvm_vfio::testing {

/// The calls that a mock can receive.
enum class call : unsigned char {
  // calls of kvm-vfio to other parts of the kernel
  is_valid,
  is_group,
  set_kvm,
  enforced_coherent,
  iommu_group,
  register_noncoherent,
  unregister_noncoherent,
  start_assignment,
  end_assignment,
  spapr_tce_attach,
  spapr_tce_release,
  iommu_group_put,
  warn,
  // calls that kvm-vfio needs around these
  symbol_get,
  symbol_put,
  get_file,
  fput,
  lock,
  unlock,
  allocate,
  free,
  // calls of kvm-vfio to the calling task
  copy_from_user,
  copy_to_user,
  fget,
  install,
};
/// Returns true for a call from kvm-vfio to another part of the kernel. A function trace of a real
/// kernel shows these calls.
[[nodiscard]] constexpr bool crosses_boundary(call c) noexcept { return c <= call::warn; }

/// Returns the name of a call, for example "set_kvm".
[[nodiscard]] constexpr const char* name(call c) noexcept {
  constexpr const char* names[] = {"is_valid",
                                   "is_group",
                                   "set_kvm",
                                   "enforced_coherent",
                                   "iommu_group",
                                   "register_noncoherent",
                                   "unregister_noncoherent",
                                   "start_assignment",
                                   "end_assignment",
                                   "spapr_tce_attach",
                                   "spapr_tce_release",
                                   "iommu_group_put",
                                   "warn",
                                   "symbol_get",
                                   "symbol_put",
                                   "get_file",
                                   "fput",
                                   "lock",
                                   "unlock",
                                   "allocate",
                                   "free",
                                   "copy_from_user",
                                   "copy_to_user",
                                   "fget",
                                   "install"};
  return names[static_cast<unsigned>(c)];
}

/// One entry of a journal: a call, the objects in its arguments, and its result.
struct event {
  call what{};       ///< the call
  file_id file{};    ///< the file of the call; 0: the call names no file
  vm_id vm{};        ///< the VM of the call; 0: the call names no VM
  group_id group{};  ///< the IOMMU group of the call; 0: it names no group
  int value = 0;     ///< the result, or another argument, as `events` says
  /// Returns true if all members are equal.
  friend constexpr bool operator==(const event&, const event&) = default;
};

/// Functions that make events, so that tests can compare a journal with them.
namespace events {
/// Makes the event of vfio_file_is_valid with its result.
constexpr event is_valid(file_id f, bool answer) { return {call::is_valid, f, {}, {}, answer}; }
/// Makes the event of vfio_file_is_group with its result.
constexpr event is_group(file_id f, bool answer) { return {call::is_group, f, {}, {}, answer}; }
/// Makes the event of vfio_file_set_kvm. A `vm` of 0 means no VM.
constexpr event set_kvm(file_id f, vm_id vm) { return {call::set_kvm, f, vm, {}, 0}; }
/// Makes the event of vfio_file_enforced_coherent with its result.
constexpr event enforced_coherent(file_id f, bool answer) {
  return {call::enforced_coherent, f, {}, {}, answer};
}
/// Makes the event of vfio_file_iommu_group. A group of 0 means that there was none.
constexpr event iommu_group(file_id f, group_id g) { return {call::iommu_group, f, {}, g, 0}; }
/// Makes the event of kvm_arch_register_noncoherent_dma.
constexpr event register_noncoherent(vm_id vm) {
  return {call::register_noncoherent, {}, vm, {}, 0};
}
/// Makes the event of kvm_arch_unregister_noncoherent_dma.
constexpr event unregister_noncoherent(vm_id vm) {
  return {call::unregister_noncoherent, {}, vm, {}, 0};
}
/// Makes the event of kvm_arch_start_assignment.
constexpr event start_assignment(vm_id vm) { return {call::start_assignment, {}, vm, {}, 0}; }
/// Makes the event of kvm_arch_end_assignment.
constexpr event end_assignment(vm_id vm) { return {call::end_assignment, {}, vm, {}, 0}; }
/// Makes the event of kvm_spapr_tce_attach_iommu_group.
constexpr event spapr_tce_attach(vm_id vm, int tablefd, group_id g) {
  return {call::spapr_tce_attach, {}, vm, g, tablefd};
}
/// Makes the event of kvm_spapr_tce_release_iommu_group.
constexpr event spapr_tce_release(vm_id vm, group_id g) {
  return {call::spapr_tce_release, {}, vm, g, 0};
}
/// Makes the event of iommu_group_put.
constexpr event iommu_group_put(group_id g) { return {call::iommu_group_put, {}, {}, g, 0}; }
/// Makes the event of a warning of the kernel.
constexpr event warn(spapr_warning w) { return {call::warn, {}, {}, {}, static_cast<int>(w)}; }
/// Makes the event of a symbol's look-up.
constexpr event symbol_get(symbol s) { return {call::symbol_get, {}, {}, {}, static_cast<int>(s)}; }
/// Makes the event of giving back a symbol.
constexpr event symbol_put(symbol s) { return {call::symbol_put, {}, {}, {}, static_cast<int>(s)}; }
/// Makes the event of taking a reference on a file, with its result.
constexpr event get_file(file_id f, errc answer = errc::ok) {
  return {call::get_file, f, {}, {}, kernel_return(answer)};
}
/// Makes the event of giving back a reference on a file.
constexpr event fput(file_id f) { return {call::fput, f, {}, {}, 0}; }
/// Makes the event of taking a lock. `which` is the number that the test gave the lock.
constexpr event lock(int which = 0) { return {call::lock, {}, {}, {}, which}; }
/// Makes the event of releasing a lock. `which` is the number that the test gave the lock.
constexpr event unlock(int which = 0) { return {call::unlock, {}, {}, {}, which}; }
/// Makes the event of an allocation. `answer` is true if there was memory.
constexpr event allocate(bool answer) { return {call::allocate, {}, {}, {}, answer}; }
/// Makes the event of freeing an object.
constexpr event free() { return {call::free, {}, {}, {}, 0}; }
/// Makes the event of a read of the task's memory. `answer` is true if the read succeeded.
constexpr event copy_from_user(bool answer) { return {call::copy_from_user, {}, {}, {}, answer}; }
/// Makes the event of a write to the task's memory. `answer` is true if the write succeeded.
constexpr event copy_to_user(bool answer) { return {call::copy_to_user, {}, {}, {}, answer}; }
/// Makes the event of a descriptor's look-up. An `answer` of 0 means that `fd` was not open.
constexpr event fget(int fd, file_id answer) { return {call::fget, answer, {}, {}, fd}; }
/// Makes the event of a new descriptor.
constexpr event install(int fd) { return {call::install, {}, {}, {}, fd}; }
/// Makes the event of a new descriptor that failed with this error.
constexpr event install(errc error) { return {call::install, {}, {}, {}, kernel_return(error)}; }
}  // namespace events

/// The calls that the mocks of one test received, in order. For one thread only, even if the device
/// has a real lock, because the device calls some policies without its lock.
class journal {
 public:
  /// Appends an event.
  constexpr void add(const event& e) { all_.push_back(e); }
  /// Returns all events in order.
  [[nodiscard]] constexpr const std::vector<event>& all() const noexcept { return all_; }
  /// Returns only the events for which `crosses_boundary` is true, in order.
  [[nodiscard]] constexpr std::vector<event> calls() const {
    std::vector<event> chosen;
    for (const event& e : all_)
      if (crosses_boundary(e.what)) chosen.push_back(e);
    return chosen;
  }
  /// Returns how often a call was received.
  [[nodiscard]] constexpr std::size_t count(call what) const noexcept {
    std::size_t n = 0;
    for (const event& e : all_) n += e.what == what;
    return n;
  }
  /// Removes all events.
  constexpr void clear() noexcept { all_.clear(); }

 private:
  std::vector<event> all_;
};

/// Returns the name of a warning.
[[nodiscard]] constexpr const char* name(spapr_warning w) noexcept {
  return w == spapr_warning::attach_without_iommu_group ? "attach_without_iommu_group"
                                                        : "release_without_iommu_group";
}

namespace detail {
template <class Id>
[[nodiscard]] std::string words(const char* kind, Id id) {
  return id ? kind + (' ' + std::to_string(id.number)) : std::string("no ") + kind;
}
// Returns a result of the kernel as text: the name of a negative error number, or else the number.
[[nodiscard]] inline std::string returned(int value) {
  const errc e = to_errc(value < 0 ? -value : 0);
  return value < 0 && has_name(e) ? kvm_vfio::name(e) : std::to_string(value);
}
}  // namespace detail

/// Returns an event as text: the call with its arguments, and its result if it has one. Examples
/// are "set_kvm(file 1, vm 1)", "is_valid(file 1) = true" and "fget(3) = file 2".
[[nodiscard]] inline std::string to_string(const event& e) {
  const auto call_of = [&e](const std::string& arguments) {
    return name(e.what) + ('(' + arguments + ')');
  };
  const auto yes_or_no = [&e] { return e.value ? " = true" : " = false"; };
  const std::string file = detail::words("file", e.file);
  const std::string vm = detail::words("vm", e.vm);
  const std::string group = detail::words("group", e.group);
  switch (e.what) {
    case call::is_valid:
    case call::is_group:
    case call::enforced_coherent: return call_of(file) + yes_or_no();
    case call::set_kvm: return call_of(file + ", " + vm);
    case call::iommu_group: return call_of(file) + " = " + group;
    case call::register_noncoherent:
    case call::unregister_noncoherent:
    case call::start_assignment:
    case call::end_assignment: return call_of(vm);
    case call::spapr_tce_attach:
      return call_of(vm + ", table " + std::to_string(e.value) + ", " + group);
    case call::spapr_tce_release: return call_of(vm + ", " + group);
    case call::iommu_group_put: return call_of(group);
    case call::warn: return call_of(name(static_cast<spapr_warning>(e.value)));
    case call::symbol_get:
    case call::symbol_put: return call_of(kvm_vfio::name(static_cast<symbol>(e.value)));
    case call::get_file:
      return call_of(file) + (e.value == 0 ? "" : " = " + detail::returned(e.value));
    case call::fput: return call_of(file);
    case call::lock:
    case call::unlock: return call_of(e.value == 0 ? "" : std::to_string(e.value));
    case call::free: return call_of("");
    case call::allocate:
    case call::copy_from_user:
    case call::copy_to_user: return call_of("") + yes_or_no();
    case call::fget: return call_of(std::to_string(e.value)) + " = " + file;
    case call::install: return call_of("") + " = " + detail::returned(e.value);
  }
  return {};
}
/// Returns events as text, one in each line.
[[nodiscard]] inline std::string to_string(const std::vector<event>& events) {
  std::string text;
  for (const event& e : events) text += to_string(e) + '\n';
  return text;
}
/// Writes an event as text to a stream. Test frameworks print values through such streams.
template <class Stream>
auto operator<<(Stream& out, const event& e) -> decltype(out << to_string(e)) {
  return out << to_string(e);
}

}  // namespace kvm_vfio::testing
