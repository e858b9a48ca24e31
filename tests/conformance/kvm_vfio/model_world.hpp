// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The model as a world: everything around it is a mock, so it runs anywhere.

#include "world.hpp"

#include <memory>
#include <string>

namespace conformance {

/// What VFIO answers on the machine that is modelled.
struct vfio_facts {
  bool coherent = false;  ///< the PCI devices' IOMMU enforces coherency
};

/// A fresh model of a profile ("6.1", "6.12", "7.3").
std::unique_ptr<observed_world> make_model(const std::string& profile, const machine& m,
                                           const vfio_facts& facts);

}  // namespace conformance
