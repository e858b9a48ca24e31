// SPDX-License-Identifier: BSL-1.0
// The version as the preprocessor sees it. That the packages have the same one is tests/consumer's.

#include <kvm_vfio/version.hpp>

#include <string>

#include "support/catch.hpp"

#if !(KVM_VFIO_VERSION >= KVM_VFIO_MAKE_VERSION(0, 1, 0))
#error "the preprocessor cannot compare the version"
#endif

namespace tests {
namespace {

TEST_CASE("the version's number and text are made of its three parts") {
  CHECK(KVM_VFIO_VERSION == KVM_VFIO_MAKE_VERSION(KVM_VFIO_VERSION_MAJOR, KVM_VFIO_VERSION_MINOR,
                                                  KVM_VFIO_VERSION_PATCH));
  CHECK(KVM_VFIO_VERSION_STRING == std::to_string(KVM_VFIO_VERSION_MAJOR) + "." +
                                       std::to_string(KVM_VFIO_VERSION_MINOR) + "." +
                                       std::to_string(KVM_VFIO_VERSION_PATCH));
}

TEST_CASE("later versions have higher numbers") {
  static_assert(KVM_VFIO_MAKE_VERSION(0, 1, 2) < KVM_VFIO_MAKE_VERSION(0, 1, 10));
  static_assert(KVM_VFIO_MAKE_VERSION(0, 1, 999) < KVM_VFIO_MAKE_VERSION(0, 2, 0));
  static_assert(KVM_VFIO_MAKE_VERSION(0, 999, 999) < KVM_VFIO_MAKE_VERSION(1, 0, 0));
  static_assert(KVM_VFIO_MAKE_VERSION(1, 2, 3) == KVM_VFIO_MAKE_VERSION(1, 1 + 1, 3));
  SUCCEED("at compile time");
}

}  // namespace
}  // namespace tests
