// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Failures to order: which step fails, and at which of its uses.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/symbols.hpp>

namespace kvm_vfio::testing {

/// A step that can be made to fail.
enum class fault : unsigned char {
  // symbol look-ups, in `symbol`'s order
  symbol_set_kvm,
  symbol_enforced_coherent,
  symbol_is_valid,
  symbol_is_group,
  symbol_iommu_group,
  set_kvm,         ///< the provider's file_set_kvm
  attach,          ///< the backend's spapr_tce_attach
  allocate,        ///< any allocation of the storage
  get_file,        ///< one more reference on a file
  fget,            ///< a descriptor's look-up
  copy_from_user,  ///< a read of user memory
  copy_to_user,    ///< a write of user memory
  install,         ///< a new descriptor
};
/// How many faults there are.
inline constexpr int fault_count = 13;

/// The fault that is a missing symbol.
[[nodiscard]] constexpr fault missing(symbol s) noexcept { return static_cast<fault>(s); }

/// Which faults are to strike. A plan is shared by the mocks of one test by reference.
class fault_plan {
 public:
  /// The `nth` use of the step from now (1 is the next) fails with `error`, where the step has an
  /// error to choose; a use after that succeeds again. \pre `nth > 0`, `error != errc::ok`
  constexpr void fail(fault at, int nth, errc error) noexcept {
    point& p = of(at);
    p = {.countdown = nth, .always = false, .error = error};
  }
  /// Every use fails from now on.
  constexpr void fail_always(fault at, errc error) noexcept {
    point& p = of(at);
    p = {.countdown = 0, .always = true, .error = error};
  }
  /// No fault strikes any more.
  constexpr void clear() noexcept {
    for (point& p : points_) p = {};
  }

  /// Called by the mock at each use: ok, or the error that the step is to fail with.
  [[nodiscard]] constexpr errc strike(fault at) noexcept {
    point& p = of(at);
    if (p.always) return hit(p);
    if (p.countdown == 0 || --p.countdown != 0) return errc::ok;
    return hit(p);
  }
  /// How many faults have struck: a test that ordered one checks that it did.
  [[nodiscard]] constexpr int struck() const noexcept { return struck_; }
  /// Whether this step is to fail, at its next use or later.
  [[nodiscard]] constexpr bool ordered(fault at) const noexcept {
    const point& p = points_[static_cast<unsigned>(at)];
    return p.always || p.countdown != 0;
  }

 private:
  struct point {
    int countdown = 0;
    bool always = false;
    errc error = errc::ok;
  };
  constexpr errc hit(const point& p) noexcept {
    ++struck_;
    return p.error;
  }
  constexpr point& of(fault at) noexcept { return points_[static_cast<unsigned>(at)]; }

  point points_[fault_count] = {};
  int struck_ = 0;
};

}  // namespace kvm_vfio::testing
