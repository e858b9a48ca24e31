// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the mocks saw, in order. All mocks of a test write to one journal.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/testing/ids.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace kvm_vfio::testing {

/// A call that a mock received.
enum class call : unsigned char {
  // the kernel's calls at the boundary of kvm-vfio
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
  // what it needs around them
  symbol_get,
  symbol_put,
  get_file,
  fput,
  lock,
  unlock,
  allocate,
  free,
  // what it asks of the calling task
  copy_from_user,
  copy_to_user,
  fget,
  install,
};
/// Whether a call crosses the boundary between kvm-vfio and the rest of the kernel: what a
/// function trace of a real one shows.
[[nodiscard]] constexpr bool crosses_boundary(call c) noexcept { return c <= call::warn; }

/// The call's name.
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

/// One entry of a journal: the call, what it was about, and its answer or further argument.
struct event {
  call what{};       ///< which
  file_id file{};    ///< none when the call is not about a file
  vm_id vm{};        ///< none when the call is not about a VM
  group_id group{};  ///< none when the call is not about an IOMMU group
  int value = 0;     ///< the answer, or an argument of another kind
  /// Equal in everything.
  friend constexpr bool operator==(const event&, const event&) = default;
};

/// Names for the events that tests compare with.
namespace events {
/// vfio_file_is_valid, and its answer.
constexpr event is_valid(file_id f, bool answer) { return {call::is_valid, f, {}, {}, answer}; }
/// vfio_file_is_group, and its answer.
constexpr event is_group(file_id f, bool answer) { return {call::is_group, f, {}, {}, answer}; }
/// vfio_file_set_kvm; the empty id: no VM.
constexpr event set_kvm(file_id f, vm_id vm) { return {call::set_kvm, f, vm, {}, 0}; }
/// vfio_file_enforced_coherent, and its answer.
constexpr event enforced_coherent(file_id f, bool answer) {
  return {call::enforced_coherent, f, {}, {}, answer};
}
/// vfio_file_iommu_group, and the group, or the empty id.
constexpr event iommu_group(file_id f, group_id g) { return {call::iommu_group, f, {}, g, 0}; }
/// kvm_arch_register_noncoherent_dma.
constexpr event register_noncoherent(vm_id vm) {
  return {call::register_noncoherent, {}, vm, {}, 0};
}
/// kvm_arch_unregister_noncoherent_dma.
constexpr event unregister_noncoherent(vm_id vm) {
  return {call::unregister_noncoherent, {}, vm, {}, 0};
}
/// kvm_arch_start_assignment.
constexpr event start_assignment(vm_id vm) { return {call::start_assignment, {}, vm, {}, 0}; }
/// kvm_arch_end_assignment.
constexpr event end_assignment(vm_id vm) { return {call::end_assignment, {}, vm, {}, 0}; }
/// kvm_spapr_tce_attach_iommu_group.
constexpr event spapr_tce_attach(vm_id vm, int tablefd, group_id g) {
  return {call::spapr_tce_attach, {}, vm, g, tablefd};
}
/// kvm_spapr_tce_release_iommu_group.
constexpr event spapr_tce_release(vm_id vm, group_id g) {
  return {call::spapr_tce_release, {}, vm, g, 0};
}
/// iommu_group_put.
constexpr event iommu_group_put(group_id g) { return {call::iommu_group_put, {}, {}, g, 0}; }
/// A warning of the kernel's.
constexpr event warn(spapr_warning w) { return {call::warn, {}, {}, {}, static_cast<int>(w)}; }
/// A symbol was looked up.
constexpr event symbol_get(symbol s) { return {call::symbol_get, {}, {}, {}, static_cast<int>(s)}; }
/// A symbol was given back.
constexpr event symbol_put(symbol s) { return {call::symbol_put, {}, {}, {}, static_cast<int>(s)}; }
/// One reference more on a file, or why not.
constexpr event get_file(file_id f, errc answer = errc::ok) {
  return {call::get_file, f, {}, {}, kernel_return(answer)};
}
/// One reference less.
constexpr event fput(file_id f) { return {call::fput, f, {}, {}, 0}; }
/// A lock was taken. Locks are told apart by the number that the test gave them.
constexpr event lock(int which = 0) { return {call::lock, {}, {}, {}, which}; }
/// The same lock was let go.
constexpr event unlock(int which = 0) { return {call::unlock, {}, {}, {}, which}; }
/// An object was asked for; whether there was memory.
constexpr event allocate(bool answer) { return {call::allocate, {}, {}, {}, answer}; }
/// An object was freed.
constexpr event free() { return {call::free, {}, {}, {}, 0}; }
/// User memory was read; whether it could be.
constexpr event copy_from_user(bool answer) { return {call::copy_from_user, {}, {}, {}, answer}; }
/// User memory was written; whether it could be.
constexpr event copy_to_user(bool answer) { return {call::copy_to_user, {}, {}, {}, answer}; }
/// A descriptor was looked up; the empty id: not open.
constexpr event fget(int fd, file_id answer) { return {call::fget, answer, {}, {}, fd}; }
/// A file got a descriptor, or an error.
constexpr event install(int fd) { return {call::install, {}, {}, {}, fd}; }
constexpr event install(errc error) { return {call::install, {}, {}, {}, kernel_return(error)}; }
}  // namespace events

/// The calls that the mocks of one test received, in order. One thread only: a device with a real
/// lock still calls some policies outside it.
class journal {
 public:
  /// Appends one.
  constexpr void add(const event& e) { all_.push_back(e); }
  /// Everything.
  [[nodiscard]] constexpr const std::vector<event>& all() const noexcept { return all_; }
  /// Only what crosses the boundary of kvm-vfio.
  [[nodiscard]] constexpr std::vector<event> calls() const {
    std::vector<event> chosen;
    for (const event& e : all_)
      if (crosses_boundary(e.what)) chosen.push_back(e);
    return chosen;
  }
  /// How often a call was received.
  [[nodiscard]] constexpr std::size_t count(call what) const noexcept {
    std::size_t n = 0;
    for (const event& e : all_) n += e.what == what;
    return n;
  }
  /// Forgets all of them.
  constexpr void clear() noexcept { all_.clear(); }

 private:
  std::vector<event> all_;
};

/// The warning's name.
[[nodiscard]] constexpr const char* name(spapr_warning w) noexcept {
  return w == spapr_warning::attach_without_iommu_group ? "attach_without_iommu_group"
                                                        : "release_without_iommu_group";
}

namespace detail {
template <class Id>
[[nodiscard]] std::string words(const char* kind, Id id) {
  return id ? kind + (' ' + std::to_string(id.number)) : std::string("no ") + kind;
}
// A count, or an error negated, as the kernel returns them.
[[nodiscard]] inline std::string returned(int value) {
  const errc e = to_errc(value < 0 ? -value : 0);
  return value < 0 && has_name(e) ? kvm_vfio::name(e) : std::to_string(value);
}
}  // namespace detail

/// An event in words: the call with its arguments, and its answer where it has one:
/// "set_kvm(file 1, vm 1)", "is_valid(file 1) = true", "fget(3) = file 2".
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
/// Events in words, one per line.
[[nodiscard]] inline std::string to_string(const std::vector<event>& events) {
  std::string text;
  for (const event& e : events) text += to_string(e) + '\n';
  return text;
}
/// For test frameworks that print through streams.
template <class Stream>
auto operator<<(Stream& out, const event& e) -> decltype(out << to_string(e)) {
  return out << to_string(e);
}

}  // namespace kvm_vfio::testing
