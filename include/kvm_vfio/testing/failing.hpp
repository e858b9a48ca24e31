// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Policies that fail when a test wants it. They wrap any other policy.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/heap_storage.hpp>
#include <kvm_vfio/storage.hpp>
#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/testing/archetypes.hpp>
#include <kvm_vfio/testing/faults.hpp>
#include <kvm_vfio/testing/journal.hpp>

#include <concepts>
#include <cstdint>

namespace kvm_vfio::testing {

/// A symbol provider whose look-ups and set_kvm fail as the plan says.
template <symbol_provider Base>
class failing_symbols : public Base {
 public:
  using typename Base::file;
  using typename Base::vm;

  /// Makes a provider that fails as `plan` says. `plan` must outlive the provider. The other
  /// arguments go to the constructor of `Base`.
  template <class... Args>
  constexpr explicit failing_symbols(fault_plan& plan, Args&&... args) noexcept
      : Base(static_cast<Args&&>(args)...), plan_(plan) {}

  /// Returns false if the plan says so, and else the answer of `Base`.
  constexpr bool symbol_get(symbol s) noexcept {
    return plan_.strike(missing(s)) == errc::ok && Base::symbol_get(s);
  }
  /// Returns the error of the plan, and else the answer of `Base`.
  constexpr errc file_set_kvm(const file& f, const vm& to) noexcept {
    if (const errc e = plan_.strike(fault::set_kvm); e != errc::ok) return e;
    if constexpr (std::same_as<decltype(Base::file_set_kvm(f, to)), errc>)
      return Base::file_set_kvm(f, to);
    else Base::file_set_kvm(f, to);
    return errc::ok;
  }
  /// Returns the epoch of `Base`, and a new one after each fault.
  // While a fault is ordered for this symbol, every call returns a new epoch. The fault strikes at
  // the n-th use, so no use may be skipped. The first call after the fault returns a new epoch,
  // too.
  constexpr std::uint64_t coherency_epoch() noexcept
    requires epoch_symbol_provider<Base>
  {
    const bool ordered = plan_.ordered(missing(symbol::file_enforced_coherent));
    if (ordered || was_ordered_) ++epochs_;
    was_ordered_ = ordered;
    return Base::coherency_epoch() + epochs_;
  }

 private:
  fault_plan& plan_;
  std::uint64_t epochs_ = 0;
  bool was_ordered_ = false;
};
static_assert(symbol_provider<failing_symbols<archetypes::symbol_provider>>);
static_assert(spapr_symbol_provider<failing_symbols<archetypes::spapr_symbol_provider>>);
static_assert(epoch_symbol_provider<failing_symbols<archetypes::epoch_symbol_provider>>);
static_assert(!epoch_symbol_provider<failing_symbols<archetypes::symbol_provider>>);

/// An sPAPR backend whose `spapr_tce_attach` fails as the plan says.
template <class Base>
class failing_spapr_iommu : public Base {
 public:
  /// Makes a backend that fails as `plan` says. `plan` must outlive the backend. The other
  /// arguments go to the constructor of `Base`.
  template <class... Args>
  constexpr explicit failing_spapr_iommu(fault_plan& plan, Args&&... args) noexcept
      : Base(static_cast<Args&&>(args)...), plan_(plan) {}

  /// Returns the error of the plan, and else the answer of `Base`.
  template <class Vm, class Group>
  constexpr errc spapr_tce_attach(const Vm& vm, int tablefd, const Group& group) noexcept {
    const errc e = plan_.strike(fault::attach);
    return e == errc::ok ? Base::spapr_tce_attach(vm, tablefd, group) : e;
  }

 private:
  fault_plan& plan_;
};
static_assert(spapr_backend<failing_spapr_iommu<archetypes::spapr_backend>, archetypes::vm_handle>);

/// A storage that is out of memory when the plan says so. With a journal, it records each call.
template <storage Base = heap_storage>
class failing_storage {
 public:
  /// Makes a storage that fails as `plan` says. `plan`, and `log` if it is not null, must outlive
  /// the storage.
  constexpr explicit failing_storage(fault_plan& plan, journal* log = nullptr,
                                     const Base& base = {}) noexcept
      : plan_(&plan), log_(log), base_(base) {}

  /// A pool that wraps a pool of the storage `Base`.
  template <class T, class Pool>
  class failing_pool {
   public:
    /// Makes a pool with the plan and the journal of `owner`.
    constexpr explicit failing_pool(const failing_storage& owner) noexcept
        : plan_(*owner.plan_), log_(owner.log_), pool_(owner.base_) {}
    /// Makes an object. Returns null if the plan says so, or if `Base` has no memory.
    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      T* const made = plan_.strike(fault::allocate) == errc::ok
                          ? pool_.make(static_cast<Args&&>(args)...)
                          : nullptr;
      if (log_) log_->add(events::allocate(made != nullptr));
      return made;
    }
    /// Destroys an object that this pool made.
    constexpr void destroy(T* object) noexcept {
      pool_.destroy(object);
      if (log_) log_->add(events::free());
    }

   private:
    fault_plan& plan_;
    journal* log_;
    Pool pool_;
  };
  /// A pool that wraps `pool` of the storage `Base`.
  template <class T>
  using pool = failing_pool<T, typename Base::template pool<T>>;
  /// A pool that wraps `own_pool` of the storage `Base`.
  template <class T>
  using own_pool = failing_pool<T, kvm_vfio::own_pool<Base, T>>;

  /// The tables of the storage `Base`. They do not follow the plan and are not recorded, because a
  /// refused table changes no result.
  template <class T>
    requires table_storage<Base>
  class tables : public Base::template tables<T> {
   public:
    /// Makes the tables of the storage `Base`.
    constexpr explicit tables(const failing_storage& owner) noexcept
        : Base::template tables<T>(owner.base_) {}
  };

 private:
  fault_plan* plan_;
  journal* log_;
  [[no_unique_address]] Base base_;
};
static_assert(table_storage<failing_storage<>>);
static_assert(!table_storage<failing_storage<archetypes::storage>>);

}  // namespace kvm_vfio::testing
