// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Several threads on one device at once, on the kernel and on the model.

#include "comparison.hpp"

#include <string>

namespace conformance {

/// Four threads add and delete, each its own files and all of them a common one. Afterwards kernel
/// and model hold the same files, registrations alternated, no VM keeps a file, and every group can
/// be opened again.
/// \return "equal", or what is not
std::string compare_threads(const setting& s, std::uint64_t seed);

}  // namespace conformance
