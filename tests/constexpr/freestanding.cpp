// SPDX-License-Identifier: BSL-1.0
// The core in a freestanding program without exceptions and RTTI, on nothing but the archetypes:
// neither needs more than the contracts say. Compiled, not run.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/archetypes.hpp>

namespace {

namespace least = kvm_vfio::testing::archetypes;
using namespace kvm_vfio;

struct group_profile : least::profile {
  static constexpr symbol validity = symbol::file_is_group;
};

// Every operation of a device.
template <class Symbols, class Iommu, class Profile>
constexpr bool use() {
  Symbols symbols;
  least::lockable lock;
  Iommu iommu;
  least::caller task;
  device<Symbols, least::lockable&, Iommu, Profile, least::storage, least::file_references> dev(
      symbols, lock, iommu, least::vm_handle{});
  bool good = dev.add({}) == errc::ok && dev.add({}) == errc::exists && dev.size() == 1;
  if constexpr (decltype(dev)::spapr) good = good && dev.set_spapr_tce({}, 3) == errc::io;
  dev.for_each([&good](const least::file_handle& f) { good = good && f == least::file_handle{}; });
  good = good && !dev.noncoherent() && dev.vm() == least::vm_handle{};
  good = good && dev.set_attr(task, {0, uapi::dev_vfio_file, 1, 0}) == errc::fault;
  good = good && dev.has_attr({0, uapi::dev_vfio_file, 3, 0}) ==
                     (decltype(dev)::spapr ? errc::ok : errc::nxio);
  return good && dev.del({}) == errc::ok;
}

static_assert(use<least::symbol_provider, least::iommu_backend, least::profile>());
static_assert(use<least::group_symbol_provider, least::iommu_backend, group_profile>());
static_assert(use<least::symbol_provider, least::assignment_backend, linux_6_12>());
static_assert(use<least::group_symbol_provider, least::assignment_backend, linux_6_1>());
static_assert(use<least::spapr_symbol_provider, least::spapr_backend, linux_7_3>());

// And of a VM.
using machine = vm<least::vm_caller, least::vm_handle, least::lockable, least::storage>;
using kind =
    vfio_device_type<machine, least::symbol_provider, least::lockable, least::iommu_backend,
                     least::profile, least::storage, least::file_references>;

constexpr bool use_vm() {
  least::symbol_provider symbols;
  least::iommu_backend iommu;
  least::vm_caller task;
  kind type(symbols, iommu);
  machine::types types;
  bool good = types.register_type(uapi::dev_type_vfio, type) == errc::ok;
  machine kvm(types, least::vm_handle{}, task);
  good = good && kvm.ioctl(task, uapi::create_device, 0) == errc::fault;
  const result<device_operations<machine>*> made = type.create(kvm);
  good = good && made && (*made)->set_attr(task, {0, 1, 1, 0}) == errc::fault;
  if (made) type.release(**made);
  kvm.release();
  return good && kvm.users() == 0;
}
static_assert(use_vm());

}  // namespace

// The same code at run time, so that it is generated, too.
extern "C" bool kvm_vfio_freestanding();
extern "C" bool kvm_vfio_freestanding() {
  return use<least::symbol_provider, least::iommu_backend, least::profile>() &&
         use<least::spapr_symbol_provider, least::spapr_backend, linux_7_3>() && use_vm();
}
