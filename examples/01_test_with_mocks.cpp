// SPDX-License-Identifier: BSL-1.0
// Tests passthrough code without hardware: the test makes mock VFIO files, and checks what the
// model does with them.
#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/recording_iommu.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <cstdio>

namespace kv = kvm_vfio;
namespace kt = kvm_vfio::testing;
using namespace kt::events;

// A graphics card whose DMA is not coherent joins a VM and leaves it again.
constexpr bool noncoherent_card_is_reported_once() {
  kt::journal log;
  kt::recording_symbols vfio(log);
  kt::recording_iommu iommu(log);
  const kt::vm_id vm{1};
  kv::device dev{vfio, kv::null_lock{}, iommu, vm};

  const auto nic = vfio.make();
  const auto gpu = vfio.make({.coherent = false});
  bool good = dev.add(nic) == kv::errc::ok;
  log.clear();

  good = good && dev.add(gpu) == kv::errc::ok && iommu.registered() == 1;
  good =
      good && log.calls() == std::vector{is_valid(gpu, true), set_kvm(gpu, vm),
                                         enforced_coherent(nic, true),
                                         enforced_coherent(gpu, false), register_noncoherent(vm)};
  good = good && dev.add(gpu) == kv::errc::exists;
  good = good && dev.del(gpu) == kv::errc::ok && iommu.registered() == 0;
  return good && vfio.vm_of(gpu) == kt::vm_id{};
}
static_assert(noncoherent_card_is_reported_once());  // the same test, at compile time

// Attaching fails in the middle, and leaves nothing behind.
constexpr bool failed_attach_leaves_no_trace() {
  kt::journal log;
  kt::fault_plan plan;
  kt::failing_symbols<kt::recording_symbols> vfio(plan, log);
  kt::recording_iommu iommu(log);
  kv::device dev{vfio, kv::null_lock{}, iommu, kt::vm_id{1}};

  const auto gpu = vfio.make({.coherent = false});
  plan.fail(kt::fault::set_kvm, 1, kv::errc::io);
  return dev.add(gpu) == kv::errc::io && dev.size() == 0 && !dev.noncoherent() &&
         plan.struck() == 1;
}
static_assert(failed_attach_leaves_no_trace());

int main() {
  const bool good = noncoherent_card_is_reported_once() && failed_attach_leaves_no_trace();
  std::puts(good ? "both tests pass, at compile time and at run time" : "a test FAILED");
  return good ? 0 : 1;
}
