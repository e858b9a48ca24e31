// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A symbol provider with mock files. A test chooses the answers for each file, and every call is
/// recorded.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/testing/ids.hpp>
#include <kvm_vfio/testing/journal.hpp>

#include <cstddef>
#include <vector>

namespace kvm_vfio::testing {

/// The kinds of file that VFIO distinguishes.
enum class file_kind : unsigned char { group, device, other };

/// The answers of the provider for one file.
struct file_answers {
  file_kind kind = file_kind::group;  ///< the kind of the file
  bool coherent = true;               ///< whether the IOMMU enforces coherency for the file
  group_id iommu_group{};             ///< the IOMMU group; 0: file_iommu_group finds none
};

/// A symbol provider that gives the answers a test chose, and writes every call to a journal. For
/// one thread only.
class recording_symbols {
 public:
  ///@{
  /// A handle: a number, and 0 for none.
  using file = file_id;
  using vm = vm_id;
  using iommu_group = group_id;
  ///@}

  /// Makes a provider that records in `log`, which must outlive the provider.
  constexpr explicit recording_symbols(journal& log) noexcept : log_(log) {}

  /// Makes a file for which the provider gives these answers.
  constexpr file_id make(const file_answers& answers = {}) {
    files_.push_back({answers, {}});
    return {static_cast<int>(files_.size())};
  }
  /// Returns the answers for a file, so that a test can change them.
  /// \pre this provider made the file
  constexpr file_answers& answers(file_id f) {
    if (!known(f)) __builtin_trap();
    return files_[index(f)].answers;
  }
  /// Returns the VM that set_kvm last gave the file. Returns 0 if that was no VM, if set_kvm was
  /// not called, or if another object made the file.
  [[nodiscard]] constexpr vm_id vm_of(file_id f) const {
    return known(f) ? files_[index(f)].vm : vm_id{};
  }
  /// Returns the number of references on a symbol that were not given back.
  [[nodiscard]] constexpr int held(symbol s) const noexcept {
    return held_[static_cast<unsigned>(s)];
  }
  /// Returns the number of references on IOMMU groups that file_iommu_group took.
  [[nodiscard]] constexpr int groups_handed_out() const noexcept { return groups_handed_out_; }

  ///@{
  /// Counts the references on a symbol, and records the call. Every symbol is there.
  constexpr bool symbol_get(symbol s) noexcept {
    ++held_[static_cast<unsigned>(s)];
    log_.add(events::symbol_get(s));
    return true;
  }
  constexpr void symbol_put(symbol s) noexcept {
    --held_[static_cast<unsigned>(s)];
    log_.add(events::symbol_put(s));
  }
  ///@}
  ///@{
  /// Returns whether the kind of the file fits, and records the call.
  constexpr bool file_is_valid(const file_id& f) noexcept {
    const bool answer = kind(f) != file_kind::other;
    log_.add(events::is_valid(f, answer));
    return answer;
  }
  constexpr bool file_is_group(const file_id& f) noexcept {
    const bool answer = kind(f) == file_kind::group;
    log_.add(events::is_group(f, answer));
    return answer;
  }
  ///@}
  /// Remembers the VM of a file, and records the call.
  constexpr void file_set_kvm(const file_id& f, const vm_id& to) noexcept {
    if (known(f)) files_[index(f)].vm = to;
    log_.add(events::set_kvm(f, to));
  }
  /// Returns the answer that the test chose for the file, and records the call.
  constexpr bool file_enforced_coherent(const file_id& f) noexcept {
    const bool answer = known(f) && files_[index(f)].answers.coherent;
    log_.add(events::enforced_coherent(f, answer));
    return answer;
  }
  /// Returns the file's IOMMU group with a reference on it, and records the call.
  constexpr group_id file_iommu_group(const file_id& f) noexcept {
    const group_id answer = known(f) ? files_[index(f)].answers.iommu_group : group_id{};
    if (answer) ++groups_handed_out_;
    log_.add(events::iommu_group(f, answer));
    return answer;
  }

 private:
  struct state {
    file_answers answers;
    vm_id vm;
  };
  [[nodiscard]] static constexpr std::size_t index(file_id f) noexcept {
    return static_cast<std::size_t>(f.number - 1);
  }
  [[nodiscard]] constexpr bool known(file_id f) const noexcept {
    return f.number > 0 && index(f) < files_.size();
  }
  [[nodiscard]] constexpr file_kind kind(file_id f) const noexcept {
    return known(f) ? files_[index(f)].answers.kind : file_kind::other;
  }

  journal& log_;
  std::vector<state> files_;
  int held_[symbol_count] = {};
  int groups_handed_out_ = 0;
};
static_assert(group_symbol_provider<recording_symbols> && spapr_symbol_provider<recording_symbols>);

}  // namespace kvm_vfio::testing
