// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The library's version, for the preprocessor. The build systems and the packages read it here.

// Only macros reach the preprocessor, and parentheses would become part of the version's text.
// NOLINTBEGIN(modernize-macro-to-enum,bugprone-macro-parentheses)

/// Changes when users must change what they wrote (while it is 0, the minor number does that).
#define KVM_VFIO_VERSION_MAJOR 0
/// Changes when something is added.
#define KVM_VFIO_VERSION_MINOR 1
/// Changes when something is mended.
#define KVM_VFIO_VERSION_PATCH 0

/// A version as one number: `#if KVM_VFIO_VERSION >= KVM_VFIO_MAKE_VERSION(0, 1, 0)`.
#define KVM_VFIO_MAKE_VERSION(major, minor, patch) ((major) * 1000000 + (minor) * 1000 + (patch))
/// This version as one number.
#define KVM_VFIO_VERSION \
  KVM_VFIO_MAKE_VERSION(KVM_VFIO_VERSION_MAJOR, KVM_VFIO_VERSION_MINOR, KVM_VFIO_VERSION_PATCH)
/// This version as text: "0.1.0".
#define KVM_VFIO_VERSION_STRING \
  KVM_VFIO_DETAIL_JOIN(KVM_VFIO_VERSION_MAJOR, KVM_VFIO_VERSION_MINOR, KVM_VFIO_VERSION_PATCH)

// Two steps, so that the numbers' names are replaced first.
#define KVM_VFIO_DETAIL_JOIN(major, minor, patch) KVM_VFIO_DETAIL_TEXT(major.minor.patch)
#define KVM_VFIO_DETAIL_TEXT(text) #text
// NOLINTEND(modernize-macro-to-enum,bugprone-macro-parentheses)
