// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Threads that begin together, more or less, and whose end is waited for.

#include <cstddef>
#include <thread>
#include <vector>

namespace support {

/// Runs `body(t)` on `count` threads, `t` from 0 on, and `meanwhile()` on the calling thread.
/// Returns when all have ended.
template <class Body, class Meanwhile>
void on_threads(int count, const Body& body, Meanwhile&& meanwhile) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(count));
  for (int t = 0; t < count; ++t) threads.emplace_back([&body, t] { body(t); });
  meanwhile();
  for (std::thread& t : threads) t.join();
}
/// Runs `body(t)` on `count` threads, `t` from 0 on. Returns when all have ended.
template <class Body>
void on_threads(int count, const Body& body) {
  on_threads(count, body, [] {});
}

}  // namespace support
