// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Where steps are run: the kernel, or the model.

#include "operation.hpp"

#include <kvm_vfio/testing/journal.hpp>

#include <vector>

namespace conformance {

using call_list = std::vector<kvm_vfio::testing::event>;

/// A system with empty slots.
class world {
 public:
  world() = default;
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  virtual ~world() = default;

  virtual outcome run(const operation& o) = 0;
};

/// The model's own: also says which calls across the boundary each step made, and what is gone.
class observed_world : public world {
 public:
  /// The calls of the last step, those of the device's lock among them if asked for.
  virtual call_list calls(bool with_locks) = 0;
  /// The file references that the last step took and gave back, the model's own descriptors aside.
  /// \param looked_up_counts whether the descriptor argument's look-up is one: the kernel's DEL and
  ///        attribute 3 look up without a reference in a process of one thread
  virtual call_list references(bool looked_up_counts) = 0;
  /// Whether anything still refers to the file, or to the VM: if not, its name may be used again.
  virtual bool is_live(kvm_vfio::testing::file_id f) = 0;
  virtual bool is_live(kvm_vfio::testing::vm_id v) = 0;
  /// What is wrong with the books: references that nobody gave back; empty: nothing.
  virtual std::string unbalanced() = 0;
};

}  // namespace conformance
