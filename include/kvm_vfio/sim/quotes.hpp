// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Text in quotes, as JSON and Graphviz write it.

#include <kvm_vfio/detail/compiled.hpp>
#include <string>
#include <string_view>

namespace kvm_vfio::sim::detail {

/// A string in quotes, for JSON and for Graphviz. (`quoted` would be taken for std::quoted.)
[[nodiscard]] std::string in_quotes(std::string_view s);

}  // namespace kvm_vfio::sim::detail

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/quotes.hpp>
#endif
