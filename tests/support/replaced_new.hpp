// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An attribute for programs that replace operator new and operator delete, and count.

// If GCC makes one of the two inline, it sees malloc(3) with `delete`, or `new` with free(3), and
// warns. If Clang does not make `new` inline, it may leave out a `new` with its `delete`, and takes
// the counter for unchanged.
#ifdef __clang__
#define KVM_VFIO_REPLACED
#else
#define KVM_VFIO_REPLACED [[gnu::noinline]]
#endif
