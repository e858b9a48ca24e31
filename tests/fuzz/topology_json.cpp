// SPDX-License-Identifier: BSL-1.0
// Fuzzes the reading of topologies. Whatever the text is, it gives a topology of which a world can
// be made and which is equal after writing and reading; or errors, each with its place and in
// printable text.
#include <kvm_vfio/sim/topology_json.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {
namespace sim = kvm_vfio::sim;

void require(bool holds, const char* what, std::string_view text) {
  if (holds) return;
  std::fprintf(stderr, "%s, of: %.*s\n", what, static_cast<int>(text.size()), text.data());
  std::abort();
}
bool printable(const std::string& text) {
  for (const char c : text)
    if (c < 0x20 || c > 0x7e) return false;
  return !text.empty();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const sim::topology_result r = sim::topology_from_json(text);
  for (const sim::topology_error& e : r.errors)
    require(printable(e.where) && printable(e.what), "an error without a place", text);
  if (!r) return 0;
  const sim::topology_result again = sim::topology_from_json(sim::topology_to_json(r.machine));
  require(again && again.machine == r.machine, "another topology after writing and reading", text);
  sim::world world(r.machine);
  for (const auto& [number, group] : world.groups()) {
    const std::string path = "/dev/vfio/" + std::to_string(number);
    const auto opened = world.open(path.c_str(), 0);
    require(static_cast<bool>(opened) == group->hardware.has_vfio_device(),
            "a group that does not open", text);
    if (opened) (*opened)->put();
    for (const auto& d : group->devices) {
      unsigned char byte = 0;
      require(d->pci.read(&byte, 1, std::uint64_t{7} << 40).value() == 1,
              "a device without configuration space", text);
    }
  }
  return 0;
}
