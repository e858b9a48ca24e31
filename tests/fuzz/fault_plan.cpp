// SPDX-License-Identifier: BSL-1.0
// Fuzzes the reading of fault plans. Whatever the text is, it gives a fault for each entry, or an
// error in printable text.
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "../../tools/kvm-vfio-sim/faults.hpp"
#include "../../tools/kvm-vfio-sim/requests.hpp"
#include "input.hpp"

using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const kvm_vfio_sim::fault_plan plan = kvm_vfio_sim::read_fault_plan(text);
  for (const char c : plan.error) require(c >= 0x20 && c <= 0x7e, "an error that is not printable");
  if (!plan.error.empty()) return 0;
  const nlohmann::json all = nlohmann::json::parse(text, nullptr, false);
  require(all.is_array() && plan.faults.size() == all.size(), "another number of faults");
  for (std::size_t i = 0; i < all.size(); ++i) {
    const kvm_vfio_sim::planned_fault& f = plan.faults[i];
    const auto error = static_cast<int>(f.fault.error);
    require(error > 0 && error < 4096, "no error");
    require(f.fault.nth > 0 && f.fault.nth == all[i].value("nth", std::size_t{1}), "another nth");
    require(kvm_vfio_sim::call_kind_of(kvm_vfio_sim::call_name(f.fault.kind)) == f.fault.kind &&
                all[i].value("call", all[i].contains("path") ? "open" : "ioctl") ==
                    kvm_vfio_sim::call_name(f.fault.kind),
            "another call");
    require(f.path == all[i].value("path", "") && f.path.empty() != all[i].contains("path"),
            "another path, or every one");
    require(f.every == all[i].value("every", false), "another every");
    require((f.fault.request != 0) == all[i].contains("request"), "a request that is all or none");
    require(
        f.program == all[i].value("program", "") && f.program.empty() != all[i].contains("program"),
        "another program, or every one");
  }
  return 0;
}
