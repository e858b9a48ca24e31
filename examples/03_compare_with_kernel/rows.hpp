// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The calls that are compared.

#include "system.hpp"

#include <functional>
#include <string>
#include <vector>

namespace compare {

/// What the calls on one system need: its VM, its device, and valid and invalid addresses.
class stage {
 public:
  explicit stage(system& s);
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;
  ~stage();

  system& sys;
  int vm = -1;
  int device = -1;
  /// The end of readable memory. An object that starts below it and ends above it is unreadable.
  char* end = nullptr;
  /// Memory that can be read but not written.
  char* read_only = nullptr;

  /// Closes the VM and makes a new one.
  void new_vm();
  /// Calls KVM_CREATE_DEVICE on `vm_fd`. Stores the descriptor in `made`, unless `made` is null.
  kv::errc create(int vm_fd, std::uint32_t type, std::uint32_t flags, int* made = nullptr) const;
  /// KVM_SET_DEVICE_ATTR and KVM_HAS_DEVICE_ATTR with this structure.
  kv::errc set(std::uint32_t group, std::uint64_t attr, const void* argument,
               std::uint32_t flags = 0) const;
  kv::errc has(std::uint32_t group, std::uint64_t attr, std::uint32_t flags = 0) const;
  /// FILE_ADD and FILE_DEL of a descriptor.
  kv::errc add(int fd) const { return set(1, kv::uapi::dev_vfio_file_add, &fd); }
  kv::errc del(int fd) const { return set(1, kv::uapi::dev_vfio_file_del, &fd); }
};

/// One call: its answer in words ("EBUSY", "0, fd unchanged").
struct row {
  std::string section;
  std::string call;
  std::function<std::string(stage&)> run;
};

/// The rows that every host can answer, in order. Later rows depend on earlier ones.
std::vector<row> common_rows();
/// The rows for one VFIO file.
std::vector<row> vfio_rows(const std::string& path);

/// An answer in words.
std::string words(kv::errc e);

}  // namespace compare
