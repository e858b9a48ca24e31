// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The descriptors of a simulated process.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// Which calls accept a descriptor.
enum class descriptor_use : unsigned char {
  all_calls,   ///< every call
  path_only,   ///< the file was opened with O_PATH: only dup(2) and close(2)
  read_only,   ///< the file was opened with O_RDONLY: it cannot be written or mapped
  write_only,  ///< the file was opened with O_WRONLY: it cannot be read or mapped
};

/// Returns which calls accept the descriptor of a file that is opened with these flags of open(2).
[[nodiscard]] descriptor_use use_of(int flags) noexcept;
/// Returns the error of a call that the file behind a descriptor does not see. `errc::ok`: the file
/// sees the call.
/// \param c          the call, with the offset of pread(2) and pwrite(2)
/// \param use        which calls accept the descriptor
/// \param protection the protection of mmap(2)
/// \par Errors
/// - `errc::inval`: the offset of a pread(2) or pwrite(2) is 2^63 or more
/// - `errc::badf`: the descriptor does not accept the call
/// - `errc::access`: mmap(2) of a file that was not opened for reading, or that was not opened for
///   writing if the protection has PROT_WRITE
[[nodiscard]] errc refuse(const trace::call& c, descriptor_use use, int protection = 0) noexcept;

/// The table of the descriptors of a process. The table takes no lock: the process has one.
class descriptor_table {
 public:
  /// A descriptor.
  struct slot {
    /// The file; the table owns one reference. Null: the descriptor is not open.
    file* open = nullptr;
    /// Which calls accept the descriptor.
    descriptor_use use = descriptor_use::all_calls;
    /// The descriptor is closed, but no new file may get its number yet.
    bool kept = false;
  };

  /// Sets the limit: the number of a new descriptor is below it.
  void limit(std::size_t descriptors) noexcept { limit_ = descriptors; }
  /// Whether a number is below this limit.
  [[nodiscard]] bool below_limit(std::size_t number) const noexcept { return number < limit_; }
  /// The number of open descriptors.
  [[nodiscard]] std::size_t open() const noexcept { return open_; }
  /// All descriptors have numbers below this one.
  [[nodiscard]] int end() const noexcept { return static_cast<int>(slots_.size()); }
  /// An open descriptor. Null: the descriptor is not open.
  [[nodiscard]] const slot* find(int fd) const noexcept;

  /// Chooses the number of the next new descriptor, for one call of `occupy`. The number may be in
  /// use. -1: the table chooses the lowest free number again.
  void choose(int fd) noexcept { chosen_ = fd; }
  /// Finds the number for a new descriptor, and makes room for it. The number is the one that
  /// `choose` got, or the lowest free number from `lowest` on. Without memory it throws
  /// std::bad_alloc, and changes nothing.
  /// \par Errors
  /// - `errc::mfile`: no number below the limit is free. A chosen number has no limit.
  answer free_number(std::size_t lowest);
  /// Puts a file behind a number that `free_number` found, and takes over a reference.
  /// \return the file that was behind a chosen number; empty: there was none
  file_ref occupy(std::int64_t found, file* owned, descriptor_use use) noexcept;
  /// Puts a file behind any number. Without memory it throws std::bad_alloc, and changes nothing.
  /// \param fd   the number. \pre not negative
  /// \param made the file, whose reference the table takes over
  /// \param use  which calls accept the descriptor
  /// \return the file that was behind the number; empty: there was none
  file_ref put(int fd, file_ref& made, descriptor_use use);
  /// Puts a file behind any number as `put` does, and finds another descriptor of the file.
  /// \param fd    the number. \pre not negative
  /// \param made  the file, whose reference the table takes over
  /// \param use   which calls accept the descriptor
  /// \param other gets another descriptor of the file, or `fd` if the file was there already; keeps
  ///              its value if there is none
  /// \return the file that was behind the number; empty: there was none
  file_ref replace(int fd, file_ref& made, descriptor_use use, int& other);
  /// Takes the file out of an open descriptor. \pre the descriptor is open
  /// \param keep whether the number must not be given away before `give_back`
  file_ref take(int fd, bool keep) noexcept;
  /// Makes a number free that was kept.
  void give_back(int fd) noexcept;
  /// Becomes a copy of a table, with the same limit and with references of its own. Without memory
  /// it throws std::bad_alloc, and changes nothing. \pre this table is empty
  void copy(const descriptor_table& from);

 private:
  void make_room(std::size_t number);

  std::vector<slot> slots_;
  std::size_t open_ = 0;
  std::size_t lowest_ = 0;
  std::size_t limit_ = 1 << 20;
  int chosen_ = -1;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/descriptor_table.hpp>
#endif
