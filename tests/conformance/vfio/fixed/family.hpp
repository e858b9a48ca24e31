// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A process and its child, which make the calls of a sequence.

#include "one_of_two.hpp"

#include <kvm_vfio/errc.hpp>

#include <linux/kvm.h>

#include <string>

namespace vfio_lockstep::fixed {

/// A process and its child, of which each part of a sequence makes a new one.
/// \tparam Pair `real_pair` or `simulated_pair`
template <class Pair>
class family {
 public:
  using System = typename Pair::system;

  family(recorder<System>& on, Pair& pair)
      : on_(on), pair_(pair), parent(on, pair.parent(), "the parent:", shared_), child(parent) {}

  /// Begins a part of the sequence.
  void begin(const std::string& what) { on_.say("--- " + what, kvm_vfio::errc::ok); }
  /// Makes the child (fork(2)).
  void fork() {
    child = one_of_two<System>(on_, pair_.fork(), "the child:", shared_);
    child.inherit(parent);
  }
  /// The child exits, and the parent does not.
  void end_child() {
    pair_.end();
    child = parent;
    on_.say("the child exits", kvm_vfio::errc::ok);
  }
  int open_vm(one_of_two<System>& who) {
    return who.make("CREATE_VM", who.open("kvm", "/dev/kvm"), KVM_CREATE_VM);
  }
  /// Ends a part of the sequence.
  void end() {
    pair_.end();
    parent.close_all();
  }

 private:
  recorder<System>& on_;
  Pair& pair_;
  shared_memory shared_;

 public:
  one_of_two<System> parent;
  one_of_two<System> child;
};

}  // namespace vfio_lockstep::fixed
