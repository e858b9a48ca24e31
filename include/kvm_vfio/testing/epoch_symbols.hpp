// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The recording provider with a coherency epoch.

#include <kvm_vfio/testing/recording_symbols.hpp>

#include <cstdint>

namespace kvm_vfio::testing {

/// `recording_symbols` that says when its answers may have changed. Reading the epoch is not
/// recorded: the kernel has no such call.
class epoch_symbols : public recording_symbols {
 public:
  using recording_symbols::recording_symbols;

  /// The answers of a file, to change them: begins an epoch. The reference is for a change now.
  constexpr file_answers& answers(file_id f) {
    begin_epoch();
    return recording_symbols::answers(f);
  }
  /// Any answer may be another from now on.
  constexpr void begin_epoch() noexcept { ++epoch_; }
  [[nodiscard]] constexpr std::uint64_t coherency_epoch() const noexcept { return epoch_; }

 private:
  std::uint64_t epoch_ = 0;
};
static_assert(epoch_symbol_provider<epoch_symbols> && !epoch_symbol_provider<recording_symbols>);

}  // namespace kvm_vfio::testing
