// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Catch2, version 2.13 or 3, under one name; and skipping, which version 2 does not have.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <cstdio>
#include <string>

namespace skipping {

/// Of a program of which a case was skipped and none failed: Catch2 3's own, which its CMake
/// functions tell CTest.
inline constexpr int exit_status = 4;
inline bool skipped = false;

/// Says that the running case cannot run here. It is for the case to return then; what it has
/// failed before, or fails after, still counts.
inline void skip(const std::string& why) {
  skipped = true;
  std::printf("SKIPPED: %s\n", why.c_str());
}

}  // namespace skipping
