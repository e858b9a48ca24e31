// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A device that a test made by itself, without a VM and descriptors: its state is checked after
/// each call. Usable at compile time.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/faults.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <string_view>

#include "expected_state.hpp"

namespace tests {

/// Makes a device's calls and checks its state after each: its list, its coherency, the symbols,
/// the files' VM, and what KVM was told. No other device may share the mocks.
/// \tparam Symbols a `recording_symbols`, or what is made of one
/// \tparam Iommu   a `recording_iommu`, or what is made of one
template <class Device, class Symbols, class Iommu, class Profile = kvm_vfio::linux_7_3>
class watched_device {
 public:
  using file_id = kvm_vfio::testing::file_id;
  using errc = kvm_vfio::errc;

  /// \param log  the mocks' journal: looking at the device leaves no event in it
  /// \param plan the faults that the test orders, if it does
  constexpr watched_device(Device& dev, Symbols& vfio, Iommu& iommu,
                           kvm_vfio::testing::journal& log,
                           const kvm_vfio::testing::fault_plan* plan = nullptr, Profile = {})
      : dev_(dev), vfio_(vfio), iommu_(iommu), log_(log), plan_(plan) {}

  constexpr errc add(file_id f) {
    return watch(change::add, f, [&] { return dev_.add(f); });
  }
  constexpr errc del(file_id f) {
    return watch(change::del, f, [&] { return dev_.del(f); });
  }
  /// The first state that did not hold; empty: all did.
  [[nodiscard]] constexpr std::string_view broken() const { return always_.broken(); }

 private:
  template <class Call>
  constexpr errc watch(change what, file_id f, Call call) {
    const int struck_before = plan_ ? plan_->struck() : 0;
    const errc answer = call();
    const bool struck = plan_ && plan_->struck() != struck_before;
    expected_.called(what, f, answer, Profile::updates_coherency_on_noent);
    kvm_vfio::testing::recording_symbols& answers = vfio_;  // an epoch does not begin here
    const kvm_vfio::testing::journal before = log_;
    expected_.compare(always_, dev_, struck,
                      [&](file_id g) { return answers.answers(g).coherent; });
    log_ = before;
    for (int s = 0; s < kvm_vfio::symbol_count; ++s)
      always_.require(vfio_.held(static_cast<kvm_vfio::symbol>(s)) == 0, "a symbol is still held");
    if (answer == errc::ok && !struck)
      always_.require(
          vfio_.vm_of(f) == (what == change::add ? dev_.vm() : kvm_vfio::testing::vm_id{}),
          "an added file has not the device's VM, or a deleted one has");
    always_.require(iommu_.registered() == (expected_.noncoherent() ? 1 : 0),
                    "KVM was told something else than the device's coherency");
    always_.require(
        iommu_.assigned() ==
            (Profile::counts_assignments ? static_cast<int>(expected_.files().size()) : 0),
        "assignments are not those of the tracked files");
    return answer;
  }
  Device& dev_;
  Symbols& vfio_;
  Iommu& iommu_;
  kvm_vfio::testing::journal& log_;
  const kvm_vfio::testing::fault_plan* plan_;
  expected_state expected_;
  requirements always_;
};

}  // namespace tests
