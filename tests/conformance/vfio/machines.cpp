// SPDX-License-Identifier: BSL-1.0
#include "machines.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace vfio_lockstep {

equipment equipment_of(bool iommufd, processor cpu) {
  if (cpu == processor::power) return {.suspends = true, .huge_pages = false, .page = 65536};
  // The kernel with iommufd is built without huge pages, and it does not suspend devices.
  return {.iommufd = iommufd, .suspends = !iommufd, .huge_pages = !iommufd};
}

const std::vector<known_machine>& known_machines() {
  static const auto machine = [](const char* profile, bool coherent, bool iommufd) {
    known_machine m;
    m.with = {.profile = profile, .coherent = coherent, .remap = coherent};
    m.has = equipment_of(iommufd);
    m.topology = iommufd ? "iommufd.json" : "groups.json";
    return m;
  };
  static const std::vector<known_machine> all{
      machine("6.1", false, false), machine("6.1", true, false),  machine("6.12", false, false),
      machine("6.12", true, false), machine("7.3", false, false), machine("7.3", true, false),
      machine("7.3", false, true),  machine("7.3", true, true)};
  return all;
}

std::size_t number_of(const circumstances& c, const equipment& e) {
  const auto& all = known_machines();
  std::size_t i = 0;
  while (i < all.size() &&
         (all[i].with.profile != c.profile || all[i].with.coherent != c.coherent ||
          all[i].with.remap != c.remap || all[i].has.iommufd != e.iommufd))
    ++i;
  return i;
}
std::size_t machine_of(const std::vector<unsigned char>& input) {
  return input.empty() ? 0 : input[0] % known_machines().size();
}
std::vector<unsigned char> steps_of(const std::vector<unsigned char>& input) {
  return input.empty() ? input : std::vector<unsigned char>(input.begin() + 1, input.end());
}

}  // namespace vfio_lockstep
