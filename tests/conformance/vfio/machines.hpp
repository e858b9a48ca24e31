// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The machines of the corpus: those that scripts/conformance boots. An input of the corpus names
/// its machine. The fuzzer plays the input on a simulated one.

#include "facts.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace vfio_lockstep {

/// A machine of the corpus.
struct known_machine {
  circumstances with;    ///< how it is booted
  equipment has;         ///< what its kernel tells outside of the topology
  std::string topology;  ///< the file of its topology, beside the corpus; `topology=1` prints it
};

/// Returns what the kernels of these machines tell outside of a topology.
/// \param iommufd whether it is the kernel with iommufd
/// \param cpu the processor; only x86 has several kernels
[[nodiscard]] equipment equipment_of(bool iommufd, processor cpu = processor::x86);

/// Returns the machines. The first byte of an input is the number of its machine in this list.
[[nodiscard]] const std::vector<known_machine>& known_machines();

/// Returns the number of a machine in the list, or the size of the list if it is not there.
[[nodiscard]] std::size_t number_of(const circumstances& c, const equipment& e);
/// Returns the number of the machine that an input names.
[[nodiscard]] std::size_t machine_of(const std::vector<unsigned char>& input);
/// Returns the bytes of an input that choose its steps.
[[nodiscard]] std::vector<unsigned char> steps_of(const std::vector<unsigned char>& input);

}  // namespace vfio_lockstep
