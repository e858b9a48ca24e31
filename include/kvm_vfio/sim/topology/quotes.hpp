// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Strings in quotes, for JSON and Graphviz.

#include <string>
#include <string_view>

namespace kvm_vfio::sim::detail {

/// Puts a string in quotes and escapes the characters that JSON and Graphviz require. (The name is
/// not `quoted`, because argument-dependent look-up would find std::quoted.)
[[nodiscard]] std::string in_quotes(std::string_view s);

}  // namespace kvm_vfio::sim::detail

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/topology/impl/quotes.hpp>
#endif
