// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The shortest sequence of steps that still fails.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

namespace conformance {

/// Takes steps away as long as what is left still fails.
/// \param failing where the whole sequence fails
/// \param fails   runs a sequence from the beginning; where it fails, if it does
template <class Step, class Fails>
std::vector<Step> shrink(std::vector<Step> steps, std::size_t failing, Fails fails) {
  steps.resize(std::min(steps.size(), failing + 1));
  // Pieces of halving size are taken away, from the end, as long as any can be.
  for (std::size_t size = steps.size() / 2; size > 0;) {
    bool shorter = false;
    for (std::size_t end = steps.size(); end >= size && end > 0;) {
      std::vector<Step> without(steps.begin(),
                                steps.end() - static_cast<long>(steps.size() - end + size));
      without.insert(without.end(), steps.end() - static_cast<long>(steps.size() - end),
                     steps.end());
      if (const std::optional<std::size_t> at = fails(without)) {
        without.resize(*at + 1);
        steps = without;
        shorter = true;
        end = std::min(end - size, steps.size());
      } else {
        --end;
      }
    }
    if (size > 1) size /= 2;
    else if (!shorter) break;
  }
  return steps;
}

}  // namespace conformance
