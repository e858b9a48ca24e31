// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// One step of a lock-step run: what it does, to what, from where. Steps name things by slot, so a
/// sequence from which steps were taken away still means something.

#include <kvm_vfio/errc.hpp>

#include "conformance/support/place.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace conformance {

/// What a machine has for the steps to play with.
struct machine {
  int groups = 0;         ///< VFIO groups with a PCI device
  int mediated = 0;       ///< groups of mediated devices, numbered after those
  int cdevs = 0;          ///< VFIO character devices, in the groups' order
  bool spapr = false;     ///< attribute 3 exists
  bool fail_nth = false;  ///< allocations can be made to fail
};

enum class verb : unsigned char {
  create_vm,
  close_vm,
  create_device,
  close_device,
  close_leaked,
  set_attr,
  has_attr,
  get_attr,
  device_ioctl,
  vm_ioctl,
  read,
  write,
  lseek,
  mmap,
  open_group,
  open_device,
  open_cdev,
  dup_file,
  close_file,
  create_table,
  close_table,
};

/// What a descriptor argument refers to.
enum class target : unsigned char {
  slot,
  vm,
  device,
  table,
  null_device,
  o_path,
  container,
  minus_one,
  closed,
};

/// What a freshly opened group gets.
enum class container : unsigned char { none, without_iommu, with_iommu };

inline constexpr int vm_slots = 3;
inline constexpr int device_slots = 4;
inline constexpr int file_slots = 10;
inline constexpr int table_slots = 3;

struct operation {
  verb what{};
  int vm = 0;
  int device = 0;
  int slot = 0;
  int other = 0;  ///< a group, a character device or a second slot
  int table = 0;
  target file{};
  target table_file{};
  container with{};
  std::uint32_t number = 0;  ///< device type, attribute group or ioctl request
  std::uint64_t attr = 0;
  std::uint32_t flags = 0;
  place outer{};  ///< the ioctl's structure
  place inner{};  ///< what its `addr` points to
  bool in_child = false;
  bool no_descriptors = false;
  int fail_nth = 0;  ///< which allocation fails; 0: none
};

/// A step's visible result.
struct outcome {
  bool done = false;  ///< false: there was nothing to do it to
  kvm_vfio::errc answer{};
  int detail = 0;  ///< memory written back, where the call writes
  friend bool operator==(const outcome&, const outcome&) = default;
};

/// The step in words.
std::string to_string(const operation& o);
std::string to_string(const outcome& o);

/// `length` random steps and then the closing of everything; the same for the same arguments.
std::vector<operation> generate(std::uint64_t seed, int length, const machine& m);

}  // namespace conformance
