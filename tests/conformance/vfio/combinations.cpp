// SPDX-License-Identifier: BSL-1.0
#include "combinations.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace vfio_lockstep {

std::vector<row> reachable_rows_of(const machine& m) {
  std::vector<row> rows = rows_of(m);
  std::erase_if(rows, [](const row& r) { return !r.reason.empty(); });
  return rows;
}

combinations::combinations(const machine& m) : rows_(rows_of(m)) {
  for (std::size_t i = 0; i < rows_.size(); ++i) index_.emplace(rows_[i].key, i);
}

void combinations::count(const std::string& key) {
  if (key.empty()) return;
  const auto found = index_.find(key);
  if (found == index_.end() || !rows_[found->second].reason.empty()) {
    if (std::find(unlisted_.begin(), unlisted_.end(), key) == unlisted_.end())
      unlisted_.push_back(key);
    return;
  }
  ++rows_[found->second].compared;
}

long combinations::compared(const std::string& key) const {
  const auto found = index_.find(key);
  return found == index_.end() || !rows_[found->second].reason.empty()
             ? std::numeric_limits<long>::max()
             : rows_[found->second].compared;
}

const row* combinations::pick(std::uint64_t random) const {
  const auto weight = [](const row& r) -> std::uint64_t {
    if (!r.reason.empty() || r.compared >= enough) return 0;
    return 1000U / static_cast<std::uint64_t>(1 + std::max(0L, r.tries - r.compared));
  };
  std::uint64_t all = 0;
  for (const row& r : rows_) all += weight(r);
  if (all == 0) return nullptr;
  std::uint64_t at = random % all;
  for (const row& r : rows_) {
    const std::uint64_t w = weight(r);
    if (at < w) return &r;
    at -= w;
  }
  return nullptr;
}

double combinations::percent() const {
  long reachable = 0;
  long often = 0;
  for (const row& r : rows_) {
    if (!r.reason.empty()) continue;
    ++reachable;
    if (r.compared >= enough) ++often;
  }
  return reachable == 0 ? 0 : 100.0 * static_cast<double>(often) / static_cast<double>(reachable);
}

void combinations::print_table() const {
  for (const row& r : rows_) {
    if (r.reason.empty()) std::printf("COMBINATION %ld %s\n", r.compared, r.key.c_str());
    else std::printf("COMBINATION - %s (%s)\n", r.key.c_str(), r.reason.c_str());
  }
}

void combinations::print_summary(bool with_seldom) const {
  long reachable = 0;
  long often = 0;
  long never = 0;
  for (const row& r : rows_) {
    if (!r.reason.empty()) continue;
    ++reachable;
    if (r.compared >= enough) ++often;
    if (r.compared == 0) ++never;
  }
  for (const row& r : rows_)
    if (with_seldom && r.reason.empty() && r.compared < enough)
      std::printf("SELDOM %ld %s\n", r.compared, r.key.c_str());
  for (const std::string& k : unlisted_) std::printf("UNLISTED %s\n", k.c_str());
  std::map<std::string, long> reasons;
  for (const row& r : rows_)
    if (!r.reason.empty()) ++reasons[r.reason];
  for (const auto& [reason, n] : reasons) std::printf("UNREACHABLE %ld: %s\n", n, reason.c_str());
  std::printf(
      "combinations: %ld reachable, %ld compared at least %ld times (%.1f %%), %ld never; "
      "unreachable: %ld\n",
      reachable, often, enough, percent(), never, static_cast<long>(rows_.size()) - reachable);
}

}  // namespace vfio_lockstep
