// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The version of the library, as preprocessor macros. The build systems and the packages read the
/// version from this file.

// The preprocessor sees macros only. Parentheses would become a part of the version's text.
// NOLINTBEGIN(modernize-macro-to-enum,bugprone-macro-parentheses)

/// Grows when users must change their code. (While it is 0, the minor number grows instead.)
#define KVM_VFIO_VERSION_MAJOR 0
/// Grows when something is added.
#define KVM_VFIO_VERSION_MINOR 1
/// Grows when an error is corrected.
#define KVM_VFIO_VERSION_PATCH 0

/// Makes one number of a version: `#if KVM_VFIO_VERSION >= KVM_VFIO_MAKE_VERSION(0, 1, 0)`.
#define KVM_VFIO_MAKE_VERSION(major, minor, patch) ((major) * 1000000 + (minor) * 1000 + (patch))
/// The version of this library as one number.
#define KVM_VFIO_VERSION \
  KVM_VFIO_MAKE_VERSION(KVM_VFIO_VERSION_MAJOR, KVM_VFIO_VERSION_MINOR, KVM_VFIO_VERSION_PATCH)
/// The version of this library as text, for example "0.1.0".
#define KVM_VFIO_VERSION_STRING \
  KVM_VFIO_DETAIL_JOIN(KVM_VFIO_VERSION_MAJOR, KVM_VFIO_VERSION_MINOR, KVM_VFIO_VERSION_PATCH)

// Two macros, so that the preprocessor replaces the names of the numbers first.
#define KVM_VFIO_DETAIL_JOIN(major, minor, patch) KVM_VFIO_DETAIL_TEXT(major.minor.patch)
#define KVM_VFIO_DETAIL_TEXT(text) #text
// NOLINTEND(modernize-macro-to-enum,bugprone-macro-parentheses)
