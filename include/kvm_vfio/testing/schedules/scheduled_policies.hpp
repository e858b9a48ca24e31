// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Policies that hand control to the scheduler at each call. They wrap any other policy.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/testing/archetypes.hpp>
#include <kvm_vfio/testing/schedules/device_rules.hpp>
#include <kvm_vfio/testing/schedules/scheduler.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

#include <cstdint>

namespace kvm_vfio::testing {

/// The objects that the calls of a device use. Their addresses identify them.
struct device_objects {
  ///@{
  /// What VFIO knows of a file; the references on a file; what KVM knows of a VM; the epoch.
  static constexpr char file = 0, references = 0, vm = 0, epoch = 0;
  ///@}
};

/// Makes the access of a call that concerns an object with this handle. Handles without an
/// `identity_hash` count as one object.
template <class Handle>
[[nodiscard]] constexpr shared_access access_to(access_kind kind, const char& object,
                                                const Handle& handle, const char* what) noexcept {
  std::uint64_t number = 0;
  if constexpr (requires { identity_hash(handle); }) number = identity_hash(handle);
  return {kind, &object, number, what};
}

/// A symbol provider that announces each call before `Base` gets it. If `Base` uses objects that
/// several files share, its author announces these accesses.
template <symbol_provider Base>
class scheduled_symbols : public Base {
 public:
  using typename Base::file;
  using typename Base::vm;
  /// The rules to which the calls are reported.
  using rules = device_rules<file, vm>;

  /// `checked` must outlive the provider. The other arguments go to the constructor of `Base`.
  template <class... Args>
  explicit scheduled_symbols(rules& checked, Args&&... args) noexcept
      : Base(static_cast<Args&&>(args)...), rules_(checked) {}

  ///@{
  /// Announces the call, checks the rules, and returns the answer of `Base`.
  bool file_is_valid(const file& f) noexcept {
    look(f, "file_is_valid");
    rules_.use(f);
    return Base::file_is_valid(f);
  }
  bool file_is_group(const file& f) noexcept
    requires group_symbol_provider<Base>
  {
    look(f, "file_is_group");
    rules_.use(f);
    return Base::file_is_group(f);
  }
  auto file_set_kvm(const file& f, const vm& to) noexcept {
    announce(access_to(access_kind::write, device_objects::file, f,
                       to == vm{} ? "set_kvm(null)" : "set_kvm"));
    rules_.set_kvm(f, to);
    return Base::file_set_kvm(f, to);
  }
  bool file_enforced_coherent(const file& f) noexcept {
    look(f, "enforced_coherent");
    rules_.use_locked(f);
    return Base::file_enforced_coherent(f);
  }
  auto file_iommu_group(const file& f) noexcept
    requires spapr_symbol_provider<Base>
  {
    look(f, "iommu_group");
    rules_.use_locked(f);
    return Base::file_iommu_group(f);
  }
  std::uint64_t coherency_epoch() noexcept
    requires epoch_symbol_provider<Base>
  {
    announce({access_kind::read, &device_objects::epoch, 0, "coherency_epoch"});
    return Base::coherency_epoch();
  }
  ///@}

 private:
  void look(const file& f, const char* what) noexcept {
    announce(access_to(access_kind::read, device_objects::file, f, what));
  }

  rules& rules_;
};
static_assert(symbol_provider<scheduled_symbols<archetypes::symbol_provider>>);
static_assert(group_symbol_provider<scheduled_symbols<archetypes::group_symbol_provider>>);
static_assert(spapr_symbol_provider<scheduled_symbols<archetypes::spapr_symbol_provider>>);
static_assert(epoch_symbol_provider<scheduled_symbols<archetypes::epoch_symbol_provider>>);
static_assert(!epoch_symbol_provider<scheduled_symbols<archetypes::symbol_provider>>);

/// An IOMMU backend that announces each call before `Base` gets it. Calls for one VM use one
/// object. The functions for POWER are those of `Base` and announce nothing.
template <class Base, class Rules>
class scheduled_iommu : public Base {
 public:
  /// `checked` must outlive the backend. The other arguments go to the constructor of `Base`.
  template <class... Args>
  explicit scheduled_iommu(Rules& checked, Args&&... args) noexcept
      : Base(static_cast<Args&&>(args)...), rules_(checked) {}

  ///@{
  /// Announces the call, checks the rules, and calls `Base`.
  template <class Vm>
  void register_noncoherent_dma(const Vm& vm) noexcept {
    announce(access_to(access_kind::write, device_objects::vm, vm, "register_noncoherent"));
    rules_.registers(vm);
    Base::register_noncoherent_dma(vm);
  }
  template <class Vm>
  void unregister_noncoherent_dma(const Vm& vm) noexcept {
    announce(access_to(access_kind::write, device_objects::vm, vm, "unregister_noncoherent"));
    rules_.unregisters(vm);
    Base::unregister_noncoherent_dma(vm);
  }
  template <class Vm>
    requires assignment_backend<Base, Vm>
  void start_assignment(const Vm& vm) noexcept {
    announce(access_to(access_kind::write, device_objects::vm, vm, "start_assignment"));
    rules_.starts(vm);
    Base::start_assignment(vm);
  }
  template <class Vm>
    requires assignment_backend<Base, Vm>
  void end_assignment(const Vm& vm) noexcept {
    announce(access_to(access_kind::write, device_objects::vm, vm, "end_assignment"));
    rules_.ends(vm);
    Base::end_assignment(vm);
  }
  ///@}

 private:
  Rules& rules_;
};

/// A files policy that announces each reference that is taken or given back. All copies of the
/// policy report to one object with the rules.
/// \tparam Base the files policy that gets the calls
template <class File, class Vm, class Base = unowned_files<File>>
class scheduled_files {
 public:
  /// `checked` must outlive the policy and its copies.
  explicit scheduled_files(device_rules<File, Vm>& checked, const Base& base = {}) noexcept
      : rules_(&checked), base_(base) {}
  /// Announces that a reference is taken, and takes it from `Base`.
  result<File> get_file(const File& f) noexcept {
    announce(access_to(access_kind::write, device_objects::references, f, "get_file"));
    const result<File> own = base_.get_file(f);
    if (own) rules_->get(f);
    return own;
  }
  /// Announces that a reference is given back, and gives it to `Base`.
  void fput(const File& f) noexcept {
    announce(access_to(access_kind::write, device_objects::references, f, "fput"));
    rules_->put(f);
    base_.fput(f);
  }
  /// Closes the descriptor that has been open since `device_rules::opened`.
  void close(const File& f) noexcept {
    announce(access_to(access_kind::write, device_objects::references, f, "close"));
    rules_->closed(f);
    base_.fput(f);
  }

 private:
  device_rules<File, Vm>* rules_;
  [[no_unique_address]] Base base_;
};
static_assert(file_references<scheduled_files<int, int>, int>);

}  // namespace kvm_vfio::testing
