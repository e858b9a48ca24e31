// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Prints what an exploration cost, so that documents can quote it.

#include <kvm_vfio/testing/schedules/explore.hpp>

#include <chrono>
#include <cstdio>

namespace tests {

/// Explores, and prints the numbers under a name.
template <class Make>
kvm_vfio::testing::exploration measured(const char* name, const Make& make,
                                        const kvm_vfio::testing::explore_options& options = {}) {
  const auto begin = std::chrono::steady_clock::now();
  kvm_vfio::testing::exploration e = kvm_vfio::testing::explore(make, options);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const double runs = static_cast<double>(e.schedules + e.pruned);
  std::printf("%-58s %8llu schedules %6llu pruned %9llu steps %3zu longest %7.0f runs/s%s\n", name,
              static_cast<unsigned long long>(e.schedules),
              static_cast<unsigned long long>(e.pruned), static_cast<unsigned long long>(e.steps),
              e.longest, runs / took.count(), e.complete ? "" : "  (not complete)");
  return e;
}

}  // namespace tests
