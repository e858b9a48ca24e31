// SPDX-License-Identifier: BSL-1.0
// A program of somebody else's: a VFIO of its own, the library's device, two translation units.
// Includes the umbrella only, so that it compiles against the single header too.
#include <string_view>

#include "app.hpp"

// What took the library in says which version that is.
#ifdef APP_EXPECTED_VERSION
static_assert(std::string_view(KVM_VFIO_VERSION_STRING) == APP_EXPECTED_VERSION);
#endif

namespace {

// At compile time too.
constexpr bool tracks_a_file() {
  app::vfio vfio;
  app::iommu iommu;
  kvm_vfio::device device{vfio, kvm_vfio::null_lock{}, iommu, 1};
  return device.add(7) == kvm_vfio::errc::ok && device.add(7) == kvm_vfio::errc::exists &&
         vfio.owner == 1 && device.noncoherent() && iommu.registered == 1;
}
static_assert(tracks_a_file());

}  // namespace

int main() {
  if (!tracks_a_file()) return 1;
  app::vfio vfio;
  app::iommu iommu;
  {
    app::device device{vfio, kvm_vfio::null_lock{}, iommu, 1};
    if (app::add_elsewhere(device, 7) != kvm_vfio::errc::ok) return 2;
    if (device.add(7) != kvm_vfio::errc::exists) return 3;
    if (device.del(8) != kvm_vfio::errc::noent) return 4;
    if (iommu.registered != 1) return 5;
  }
  if (iommu.registered != 0 || vfio.owner != 0) return 6;
  // One function, whoever asks: the two units share the library's definitions.
  return app::name_elsewhere() == app::name_function{&kvm_vfio::name} ? 0 : 7;
}
