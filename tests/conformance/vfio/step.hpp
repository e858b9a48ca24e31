// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// One system call of a lock-step run, with what it is given as bytes. Descriptors are named by
/// slot, so a sequence from which steps were taken away still means something.

#include "conformance/support/place.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vfio_lockstep {

/// What a slot holds, or what an argument names.
enum class kind : unsigned char {
  container,
  group,
  device,  ///< from a group
  cdev,    ///< a character device
  iommufd,
  vm,
  kvm_vfio,
  event,
  path,  ///< a descriptor opened with O_PATH
  kvm,   ///< /dev/kvm, always open; no slots
  minus_one,
  closed,
  dma_memory,  ///< the address of memory to map
  out_memory,  ///< the address of memory that the call writes, and that is compared
};
inline constexpr int kinds_with_slots = 9;
inline constexpr int slots = 4;

struct ref {
  kind what{};
  int slot = 0;
};

enum class verb : unsigned char {
  open,
  open_path,
  dup,
  close,
  eventfd,
  ioctl,
  pread,
  pwrite,
  read_event,
  write_event,
  mmap  ///< and munmap, if it succeeds
};

using conformance::place;

/// A field that holds a descriptor or an address: the bytes say how much is added to an address.
struct patch {
  std::size_t offset = 0;
  ref to{};
};
/// Bytes that are not compared.
struct mask {
  std::size_t offset = 0;
  std::size_t size = 0;
};

struct step {
  verb what{};
  ref on{};    ///< the descriptor that is called on; open, open_path, eventfd: none
  ref made{};  ///< the slot that a new descriptor goes to
  bool makes = false;
  int made_at = -1;        ///< where in the argument the new descriptor is; -1: it is the answer
  std::string device{};    ///< the device that a new descriptor is of
  std::string only_for{};  ///< nothing is called on the descriptor of another device; empty: called
  bool suspends = false;   ///< Linux suspends the device after the call, if the call succeeds
  std::string name{};      ///< open: the path; otherwise what the call is, for people
  std::uint64_t request = 0;
  std::uint64_t number =
      0;  ///< place::value: the argument; pread, pwrite, mmap: the offset; write_event: the count
  std::uint64_t size = 0;                 ///< mmap: how many bytes
  std::vector<unsigned char> argument{};  ///< pread: as many bytes are read
  place where = place::good;
  std::vector<patch> patches{};
  std::vector<mask> masks{};
  /// KVM_SET_DEVICE_ATTR: the descriptor that lies behind `addr`, which is made to point there.
  ref pointee{kind::dma_memory};
};

/// What a call showed.
struct outcome {
  bool done = false;    ///< false: the slot is empty, and nothing was called
  long answer = 0;      ///< negative: an error number; 0 for a new descriptor
  std::string written;  ///< the bytes that the call changed
  friend bool operator==(const outcome&, const outcome&) = default;
};

std::string to_string(const step& s);
std::string to_string(const outcome& o);

/// The bytes of an object, and of more of them.
template <class... Ts>
std::vector<unsigned char> bytes(const Ts&... objects) {
  std::vector<unsigned char> out((sizeof(Ts) + ... + 0));
  std::size_t at = 0;
  ((std::memcpy(out.data() + at, &objects, sizeof objects), at += sizeof objects), ...);
  return out;
}

}  // namespace vfio_lockstep
