// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a program must have so that `explore` can run it in every order of its steps.

#include <concepts>
#include <type_traits>

namespace kvm_vfio::testing {

/// A small program with threads, and the objects that the threads share. `explore` makes a new
/// object of the class for each run.
template <class S>
concept scenario = requires(S& program, int thread) {
  // The number of threads, from 1 to `max_threads`, known at compile time.
  typename std::integral_constant<int, S::threads>;
  // The body of a thread; `thread` is its number, from 0 on. The threads' locks and other policies
  // announce each access to a shared object (see `announce`). The body must not block in another
  // way, because the threads run on one thread of the system.
  { program.run(thread) } noexcept;
  // Called after each step. Returns what is wrong now, or null. The text is copied.
  { program.check() } noexcept -> std::same_as<const char*>;
  // Called after the last step, when all threads have ended. Returns what is wrong, or null.
  { program.finish() } noexcept -> std::same_as<const char*>;
};

}  // namespace kvm_vfio::testing
