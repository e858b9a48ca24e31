// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The open files that the checker knows from calls: their descriptors, their mappings, and which
/// file holds which. Nothing here takes a lock; the checker has one.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::trace::detail {

/// The number of a file. A number is never used again.
using file_id = std::size_t;
/// The number of no file.
inline constexpr file_id no_file = 0;

/// A call that failed.
struct failed_call {
  std::size_t number = 0;  ///< the number of the call among all calls that the checker saw
  std::string text{};      ///< the call and its error, as `to_string(call)` writes them
  errc error{};            ///< the error
};

/// Memory that was mapped in a container and went with its last group.
struct lost_mapping {
  std::uint64_t size = 0;  ///< the size in bytes
  std::size_t at = 0;      ///< the number of the call that removed the mapping
};

/// What the checker knows about an open file description.
struct seen_file {
  file_type type = file_type::other;
  /// Whether the checker saw the file being opened. If not, the file may have a container, mappings
  /// or trackers of which the checker does not know.
  bool known = true;
  std::string name{};
  int descriptors = 0;
  int mappings = 0;
  int users = 0;                 ///< descriptors, mappings, trackers, and files that hold this one
  file_id holds = no_file;       ///< of a group: its container; of a group's device: the group
  file_id bound = no_file;       ///< of a device file: the iommufd
  std::set<file_id> trackers{};  ///< the kvm-vfios that track the file
  std::uint32_t armed = 0;       ///< of a device: a bit for each armed interrupt index
  int groups = 0;                ///< of a container or an iommufd: the number of its groups
  bool iommu = false;            ///< of a container or an iommufd: SET_IOMMU has succeeded
  bool elsewhere = false;        ///< a kvm-vfio that the checker does not know may track the file
  std::size_t untracked_at = 0;  ///< the call that closed the kvm-vfio; 0: none, or FILE_ADD came
  /// Of a container: the size of each mapping in bytes, by its first IOVA.
  std::map<std::uint64_t, std::uint64_t> mapped{};
  /// Of a container: the mappings that went with its last group, by their first IOVA.
  std::map<std::uint64_t, lost_mapping> lost{};
  /// Of a kvm-vfio: the processes whose requests failed with EIO.
  std::set<int> dead{};
  /// The first failure of each request, until the request succeeds.
  std::map<std::uint32_t, failed_call> failed{};
  /// Of a container or an iommufd: the ranges that the VMM was told, by the number of the IOAS.
  std::map<std::uint32_t, std::vector<iova_span>> ranges{};
  /// Of a container or an iommufd: the failures of MAP, by the number of the IOAS and the IOVA.
  std::map<std::pair<std::uint32_t, std::uint64_t>, failed_call> failed_maps{};
};

/// A mapping of a file into the memory of a process.
struct seen_mapping {
  int process;
  std::uint64_t address;
  std::uint64_t size;
  file_id file;
};

/// The open files of all processes.
class seen_files {
 public:
  /// The number of a process, and a descriptor of this process.
  using slot = std::pair<int, int>;

  seen_files() noexcept;
  seen_files(const seen_files&) = delete;
  seen_files& operator=(const seen_files&) = delete;
  ~seen_files();

  /// Adds a file with one descriptor. A file that had this descriptor before loses it, because the
  /// checker has missed a close.
  /// \return the number of the file
  file_id add(slot at, file_type type, std::string name);
  /// Returns the file behind a descriptor. If the checker knows none, this function adds a file
  /// that the checker did not see being opened.
  file_id assume(slot at, file_type type);
  /// Makes one more descriptor of a file. Does nothing if `of` is `no_file`.
  void copy(file_id of, slot to);
  /// Removes a descriptor, and then releases the file if nobody uses it.
  void drop(slot at);
  /// Makes the file `user` hold the file `held`, in the place of the one that it held before.
  void hold(file_id user, file_id held);
  /// Makes a kvm-vfio track a file, or ends that.
  void track(file_id tracker, file_id file, bool tracked);
  /// Ends each tracking by a kvm-vfio.
  void forget_tracker(file_id tracker);
  /// Adds a mapping.
  void map(const seen_mapping& made);
  /// Removes the last mapping that has this address. If there is none, removes each mapping of the
  /// process that lies in the range.
  void unmap(int process, std::uint64_t address, std::uint64_t size);
  /// Copies the descriptors and the mappings of a process for its child.
  void fork(int parent, int child);
  /// Removes the descriptors and the mappings of a process, but releases no file.
  /// \return the files that lost their last descriptor
  std::vector<file_id> end(int process);
  /// Releases a file if nobody uses it: forgets the file, and each file that only this one held.
  void release_unused(file_id id);

  /// The file behind a descriptor; `no_file` if the checker knows none.
  [[nodiscard]] file_id id_at(slot at) const noexcept;
  /// What is known about a file. Null: there is no file with this number.
  [[nodiscard]] seen_file* find(file_id id) noexcept;
  /// What is known about the file behind a descriptor. Null: the checker knows none.
  [[nodiscard]] seen_file* find(slot at) noexcept { return find(id_at(at)); }
  /// All files.
  [[nodiscard]] const std::map<file_id, seen_file>& all() const noexcept { return files_; }
  /// Says which descriptors and mappings keep the devices of a group open, for example
  /// "descriptor 9 (0000:00:04.0)". Empty: the checker knows none.
  /// \param process the process that asks; the text names the number of other processes
  [[nodiscard]] std::string open_devices(file_id group, int process) const;

  /// The number of the call that the checker sees now.
  std::size_t call = 0;

 private:
  void leave(file_id container);

  file_id last_ = no_file;
  std::map<file_id, seen_file> files_;
  std::map<slot, file_id> slots_;
  std::vector<seen_mapping> mappings_;
};

}  // namespace kvm_vfio::trace::detail

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/seen_files.hpp>
#endif
