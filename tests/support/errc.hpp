// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An error in a failed check's report: its name, or its number if it has no name.

#include <kvm_vfio/errc.hpp>

#include "support/catch.hpp"

#include <string>

namespace Catch {
template <>
struct StringMaker<kvm_vfio::errc> {
  static std::string convert(kvm_vfio::errc e) {
    return has_name(e) ? name(e) : "errno " + std::to_string(static_cast<int>(e));
  }
};
}  // namespace Catch
