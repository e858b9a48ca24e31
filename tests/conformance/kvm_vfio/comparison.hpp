// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Runs steps on the model and, beside it, on the kernel, and says where they part.

#include "kernel_world.hpp"
#include "model_world.hpp"
#include "tracer.hpp"

#include <optional>
#include <string>
#include <vector>

namespace conformance {

/// What is compared with what.
struct setting {
  std::string profile = "7.3";
  vfio_facts facts;
  machine has;
  const host* kernel = nullptr;   ///< null: the model alone
  tracer* trace = nullptr;        ///< null: answers only
  bool noncoherent_calls = true;  ///< the architecture has register/unregister_noncoherent_dma
};

struct mismatch {
  std::size_t step = 0;
  std::string what;
};

/// What a run did.
struct tally {
  long steps = 0;       ///< steps that had something to do
  long calls = 0;       ///< calls across the boundary, compared one by one
  long references = 0;  ///< file references taken and given back, the same
};

/// Runs the steps on fresh worlds up to the first mismatch.
/// \param log if given, gets a line for each step: what was done, the answer and the calls
std::optional<mismatch> compare(const setting& s, const std::vector<operation>& steps, tally& t,
                                std::vector<std::string>* log = nullptr);

/// The shortest sequence found that still shows a mismatch.
std::vector<operation> shrink(const setting& s, std::vector<operation> steps, std::size_t failing);

}  // namespace conformance
