// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Whether the simulator is header-only or compiled once.
/// \see [Compiling the simulator once](docs/sim.md)

// With KVM_VFIO_COMPILED defined, the headers of sim/ and trace/ only declare functions, and the
// program links a library that was compiled from the files of src/. The CMake target kvm_vfio::sim
// is that library and defines the macro for those who link it. Without the macro the headers define
// everything. All files of a program must be compiled in the same way.

/// \def KVM_VFIO_INLINE
/// Stands before each function that is defined in impl/.
#ifdef KVM_VFIO_COMPILED
#define KVM_VFIO_INLINE
#else
#define KVM_VFIO_INLINE inline
#endif
