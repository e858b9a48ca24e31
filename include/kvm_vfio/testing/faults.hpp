// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A plan of faults. The plan says which step fails, and at which use of the step.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/symbols.hpp>

namespace kvm_vfio::testing {

/// A step that a test can make fail.
enum class fault : unsigned char {
  // the look-ups of symbols, in the order of `symbol`
  symbol_set_kvm,
  symbol_enforced_coherent,
  symbol_is_valid,
  symbol_is_group,
  symbol_iommu_group,
  set_kvm,         ///< the call of the provider's file_set_kvm
  attach,          ///< the call of the backend's spapr_tce_attach
  allocate,        ///< an allocation from the storage
  get_file,        ///< the taking of a reference on a file
  fget,            ///< the look-up of a descriptor
  copy_from_user,  ///< a read of the task's memory
  copy_to_user,    ///< a write to the task's memory
  install,         ///< the making of a descriptor
};
/// The number of faults. The values of `fault` are 0 to `fault_count` - 1.
inline constexpr int fault_count = 13;

/// Returns the fault that makes the look-up of a symbol fail.
[[nodiscard]] constexpr fault missing(symbol s) noexcept { return static_cast<fault>(s); }

/// Says which steps fail. The mocks of one test share a plan by reference.
class fault_plan {
 public:
  /// Makes one use of a step fail: the `nth` from now, where 1 is the next. Later uses succeed
  /// again. The step fails with `error`, unless it can only return false or null.
  /// \pre `nth > 0` and `error != errc::ok`
  constexpr void fail(fault at, int nth, errc error) noexcept {
    point& p = of(at);
    p = {.countdown = nth, .always = false, .error = error};
  }
  /// Makes every later use of a step fail with `error`.
  constexpr void fail_always(fault at, errc error) noexcept {
    point& p = of(at);
    p = {.countdown = 0, .always = true, .error = error};
  }
  /// Makes one use of any step fail: the `nth` from now, where 1 is the next. With this function a
  /// test lets each failure point of a scenario fail in turn, and each pair of them. Up to 2 such
  /// faults can wait at the same time.
  /// \pre `nth > 0` and `error != errc::ok`, and at most one such fault waits
  constexpr void fail_use(int nth, errc error) noexcept {
    point& p = any_[0].countdown == 0 ? any_[0] : any_[1];
    p = {.countdown = nth, .always = false, .error = error};
  }
  /// Forgets all faults. Every step succeeds again.
  constexpr void clear() noexcept {
    for (point& p : points_) p = {};
    for (point& p : any_) p = {};
  }

  /// Called by a mock at each use of a step. Returns the error with which the use fails, or ok.
  [[nodiscard]] constexpr errc strike(fault at) noexcept {
    // Each order counts this use, also if another one makes the use fail.
    const point* failed = nullptr;
    point* const orders[] = {&any_[0], &any_[1], &of(at)};
    for (point* const p : orders)
      if (p->always || (p->countdown != 0 && --p->countdown == 0)) failed = p;
    return failed ? hit(*failed) : errc::ok;
  }
  /// Returns how many uses have failed so far. A test can check that its fault really happened.
  [[nodiscard]] constexpr int struck() const noexcept { return struck_; }
  /// Returns true if a use of this step will fail: the next one or a later one.
  [[nodiscard]] constexpr bool ordered(fault at) const noexcept {
    const point& p = points_[static_cast<unsigned>(at)];
    return p.always || p.countdown != 0 || waiting();
  }
  /// Returns true if a fault that `fail_use` ordered has not happened yet.
  [[nodiscard]] constexpr bool waiting() const noexcept {
    return any_[0].countdown != 0 || any_[1].countdown != 0;
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
  point any_[2] = {};  // of `fail_use`
  int struck_ = 0;
};

}  // namespace kvm_vfio::testing
