// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A recording symbol provider with a coherency epoch.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/testing/ids.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <cstdint>

namespace kvm_vfio::testing {

/// A `recording_symbols` that also reports when its answers may have changed. It does not record
/// calls of `coherency_epoch`, because the kernel has no such call.
class epoch_symbols : public recording_symbols {
 public:
  using recording_symbols::recording_symbols;

  /// Begins an epoch, and returns the answers of a file for a change. Change them before the next
  /// call of the device.
  constexpr file_answers& answers(file_id f) {
    begin_epoch();
    return recording_symbols::answers(f);
  }
  /// Begins an epoch: from now on any answer may differ from the last one.
  constexpr void begin_epoch() noexcept { ++epoch_; }
  /// Returns the number of the current epoch.
  [[nodiscard]] constexpr std::uint64_t coherency_epoch() const noexcept { return epoch_; }

 private:
  std::uint64_t epoch_ = 0;
};
static_assert(epoch_symbol_provider<epoch_symbols> && !epoch_symbol_provider<recording_symbols>);

}  // namespace kvm_vfio::testing
