// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A race: a few threads that make a few system calls each, at the same time.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace races {

/// The names of descriptors. Each name has at most one descriptor at a time.
enum class slot : unsigned char {
  kvm,
  vm,
  kvm_vfio,
  other_kvm_vfio,
  group,
  again,  ///< one more descriptor, which a probe opens
  container,
  other_container,
  device,
  other_device,
  iommufd,
  cdev,
  other_cdev,
  event,
  none
};
inline constexpr int slots = static_cast<int>(slot::none);

/// The system calls.
enum class verb : unsigned char {
  open,  ///< opens the file of the name `with` as `on`
  close,
  create_vm,
  create_kvm_vfio,
  add,      ///< FILE_ADD of `with`
  del,      ///< FILE_DEL of `with`
  has_add,  ///< KVM_HAS_DEVICE_ATTR of FILE_ADD
  set_container,
  unset_container,
  set_iommu,
  group_status,  ///< the answer is the flags of VFIO_GROUP_GET_STATUS
  get_device,    ///< VFIO_GROUP_GET_DEVICE_FD makes `with`
  bind,          ///< VFIO_DEVICE_BIND_IOMMUFD
  ioas_alloc,
  attach,  ///< VFIO_DEVICE_ATTACH_IOMMUFD_PT, to the address space that `ioas_alloc` made
  detach,
  eventfd,
  set_irqs,  ///< makes the eventfd `with` the trigger of INTx
};

/// One call.
struct op {
  verb what;
  slot on;
  slot with = slot::none;
};
/// Calls that are made one after the other.
using ops = std::vector<op>;

/// Who computes the set of the possible outcomes of a race.
enum class source : unsigned char {
  explorer,   ///< the explorer of schedules runs the model of kvm-vfio
  sequential  ///< the simulator makes the calls in every order; sequential.cpp says in which steps
};

/// A race. Every call of `before` and of `setup` must succeed.
struct race {
  const char* name;
  source from;
  ops before;                ///< made once
  ops setup;                 ///< made in front of each run
  std::vector<ops> threads;  ///< made at the same time
  ops probe;                 ///< made after the threads have ended; shows the state
  bool counted = false;      ///< registrations of noncoherent DMA are a part of the outcome
  bool needs_iommufd = false;
};

/// What a run showed: the answers of the threads' calls, thread by thread, then those of the probe.
/// If registrations are counted, the numbers of calls that register and unregister follow. An
/// answer is an error number below 0, 0, or a value.
using outcome = std::vector<int>;
using outcomes = std::set<outcome>;

/// Returns the races.
[[nodiscard]] const std::vector<race>& all_races();
/// Returns an outcome in words.
[[nodiscard]] std::string to_string(const race& r, const outcome& o);

}  // namespace races
