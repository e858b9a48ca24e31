// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a kvm-vfio device must look like after each of its calls: the files that it tracks, and
/// what it told KVM. Usable at compile time.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/ids.hpp>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tests {

/// Hears of every state that does not hold, at run time. A test program with Catch sets it, so that
/// the check fails at the call, and not at the end of the test.
inline void (*state_is_wrong)(std::string_view what) = nullptr;

/// Remembers the first requirement that did not hold.
class requirements {
 public:
  constexpr void require(bool holds, std::string_view otherwise) {
    if (holds) return;
    if (broken_.empty()) broken_ = otherwise;
    if (!std::is_constant_evaluated() && state_is_wrong) state_is_wrong(otherwise);
  }
  /// The first that did not hold; empty: all did.
  [[nodiscard]] constexpr std::string_view broken() const { return broken_; }

 private:
  std::string_view broken_;
};

/// A call that adds a file to a device or deletes it.
enum class change : unsigned char { none, add, del };

/// The files that one device must track, in order, and whether it must have told KVM of noncoherent
/// DMA. Both follow from the answers of the calls alone.
class expected_state {
 public:
  using file_id = kvm_vfio::testing::file_id;

  /// Takes note of a call.
  /// \param updates_on_noent the profile's constant `updates_coherency_on_noent`
  constexpr void called(change what, file_id file, kvm_vfio::errc answer, bool updates_on_noent) {
    const bool done = answer == kvm_vfio::errc::ok;
    if (what == change::add && done) files_.push_back(file);
    if (what == change::del && done) std::erase(files_, file);
    updated_ =
        what != change::none &&
        (done || (what == change::del && updates_on_noent && answer == kvm_vfio::errc::noent));
  }
  /// Compares a device with what is expected after the last call.
  /// \param model    its `for_each` takes the lock of the device
  /// \param struck   a fault struck in the last call: a symbol may have been missing
  /// \param coherent the answer for a file
  template <class Model, class Coherent>
  constexpr void compare(requirements& must, const Model& model, bool struck, Coherent coherent) {
    std::vector<file_id> seen;
    model.for_each([&seen](const file_id& f) { seen.push_back(f); });
    must.require(seen == files_, "the device does not track what was added, in that order");
    must.require(model.size() == files_.size(), "the device's size is not that of its list");
    if (updated_) {
      const bool any =
          std::any_of(files_.begin(), files_.end(), [&](const file_id& f) { return !coherent(f); });
      // Without its symbol a file passes for noncoherent.
      noncoherent_ = struck && !files_.empty() ? any || model.noncoherent() : any;
      updated_ = false;
    }
    must.require(model.noncoherent() == noncoherent_,
                 "the device's coherency is not that of its files at the last update");
  }

  [[nodiscard]] constexpr const std::vector<file_id>& files() const { return files_; }
  [[nodiscard]] constexpr bool noncoherent() const { return noncoherent_; }

 private:
  std::vector<file_id> files_;
  bool noncoherent_ = false;
  bool updated_ = false;
};

}  // namespace tests
