// SPDX-License-Identifier: BSL-1.0
// Symbols, and the references on them.

#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/faults.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <iterator>
#include <string_view>
#include <vector>

#include "calls.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;
using namespace kvm_vfio::testing;

TEST_CASE("Symbols have the kernel's names") {
  const std::string_view names[] = {"vfio_file_set_kvm", "vfio_file_enforced_coherent",
                                    "vfio_file_is_valid", "vfio_file_is_group",
                                    "vfio_file_iommu_group"};
  static_assert(std::size(names) == symbol_count);
  for (int s = 0; s < symbol_count; ++s) CHECK(name(static_cast<symbol>(s)) == names[s]);
  CHECK(name(static_cast<symbol>(symbol_count)) == nullptr);
}

TEST_CASE("symbol_ref gives back what it got, and only that") {
  journal log;
  fault_plan plan;
  failing_symbols<recording_symbols> vfio(plan, log);
  {
    const symbol_ref found(vfio, symbol::file_set_kvm);
    CHECK(found);
    CHECK(vfio.held(symbol::file_set_kvm) == 1);
    const symbol_ref another(vfio, symbol::file_is_valid);
    CHECK(vfio.held(symbol::file_is_valid) == 1);
  }
  CHECK(log.all() == std::vector{events::symbol_get(symbol::file_set_kvm),
                                 events::symbol_get(symbol::file_is_valid),
                                 events::symbol_put(symbol::file_is_valid),
                                 events::symbol_put(symbol::file_set_kvm)});
  log.clear();
  plan.fail(fault::symbol_set_kvm, 1, errc::noent);
  {
    CHECK_FALSE(symbol_ref(vfio, symbol::file_set_kvm));
  }
  CHECK(log.all().empty());
  CHECK(vfio.held(symbol::file_set_kvm) == 0);
  linked_symbols linked;
  CHECK(symbol_ref(linked, symbol::file_is_group));
}

}  // namespace
}  // namespace tests
