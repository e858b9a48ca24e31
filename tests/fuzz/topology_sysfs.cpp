// SPDX-License-Identifier: BSL-1.0
// Fuzzes the reading of a host from sysfs: the configuration spaces, resources, reserved regions
// and registers that it shows. They give a topology of which a world can be made, or errors, each
// with its place and in printable text. A view of that topology can be read again.
#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/sim/sysfs_view.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>

#include "input.hpp"
#include "sim/sysfs_tree.hpp"

namespace {

namespace fs = std::filesystem;
namespace sim = kvm_vfio::sim;
using fuzz::input;
using fuzz::require;

// Two functions, one behind a bridge. Only the contents of their files change.
struct tree {
  tree() {
    sysfs.add({.group = 1, .name = "0000:00:04.0", .driver = "vfio-pci", .vfio_number = 0});
    sysfs.add({.group = 2, .name = "0000:00:05.0", .driver = "e1000e"});
  }
  sysfs_tree sysfs;
};
tree& host() {
  static tree made;
  return made;
}

std::string text_of(input& in, std::size_t most) {
  std::string out;
  for (std::size_t n = in.number(1) % most; n != 0; --n)
    out.push_back(static_cast<char>(in.byte()));
  return out;
}
// A number as sysfs writes it, or any text.
std::string number(input& in) {
  const unsigned form = in.byte();
  if (form >= 0xf0) return text_of(in, 24);
  std::uint64_t n = in.number(form & 8 ? 8 : 2);
  if (form & 4) n = std::uint64_t{1} << (n % 64);
  if (form & 2) --n;
  return "0x" + (form & 1 ? std::to_string(n) : std::string(sysfs_tree::resource(n, 1, 0), 2, 16));
}
// Two spaces of 64 bytes, 256 bytes or 4096 bytes: the fixed part, and capabilities here and there.
std::string config(input& in) {
  constexpr std::size_t sizes[] = {64, 256, 4096, 4096, 300, 0, 63, 255};
  std::string out(sizes[in.below(std::size(sizes))], '\0');
  const auto put = [&](std::size_t at, unsigned byte) {
    if (at < out.size()) out[at] = static_cast<char>(byte);
  };
  put(6, 0x10);
  for (const unsigned at : {4U, 5U, 6U, 14U, 16U, 17U, 18U, 19U, 20U, 24U, 0x34U, 0x3cU, 0x3dU})
    if (in.one_of(4)) put(at, in.byte());
  std::size_t at = 0x40;
  put(0x34, 0x40);
  for (unsigned n = in.below(12); n != 0; --n) {
    const unsigned id = in.byte();
    if (at < 0x100) {
      put(at, id % 0x20);
      const unsigned next = in.byte();
      put(at + 1, next);
      for (std::size_t i = 2; i < 12 && !in.one_of(4); ++i) put(at + i, in.byte());
      at = next & 0xfc;
      if (at < 0x40) at = 0x100;
    } else {
      const std::uint64_t next = in.number(2) & 0xffc;
      put(at, id % 0x30);
      put(at + 2, static_cast<unsigned>(next << 4 & 0xf0) | 1);
      put(at + 3, static_cast<unsigned>(next >> 4));
      for (std::size_t i = 4; i < 12 && !in.one_of(4); ++i) put(at + i, in.byte());
      if (next < 0x100) break;
      at = static_cast<std::size_t>(next);
    }
  }
  return out;
}
bool printable(const std::string& text) {
  for (const char c : text)
    if (c < 0x20 || c > 0x7e) return false;
  return !text.empty();
}
void printable(const sim::topology_errors& all) {
  for (const sim::topology_error& e : all)
    require(printable(e.where) && printable(e.what), "an error without a place");
}

void write(input& in, const char* function, const char* group) {
  const sysfs_tree& to = host().sysfs;
  const fs::path at = fs::path("devices/pci0000:00") / function;
  const fs::path of = fs::path("kernel/iommu_groups") / group;
  to.write(at / "config", config(in));
  std::string lines;
  for (unsigned n = in.below(9); n != 0; --n) {
    const std::string first = number(in), last = number(in);
    lines += first + " " + last + " " + number(in) + "\n";
  }
  to.write(at / "resource", lines);
  lines.clear();
  constexpr const char* types[] = {" direct",           " reserved", " msi",
                                   " direct-relaxable", " other",    ""};
  for (unsigned n = in.below(4); n != 0; --n) {
    const std::string first = number(in), last = number(in);
    lines += first + " " + last + types[in.below(std::size(types))] + "\n";
  }
  to.write(of / "reserved_regions", lines);
  const unsigned more = in.byte();
  if (more & 1) to.write(at / "vendor", number(in));
  if (more & 2) to.write(at / "class", text_of(in, 20));
  if (more & 4) to.write(at / "revision", number(in));
  if (more & 8) to.write(at / "reset_method", more & 0x10 ? "bus\n" : text_of(in, 8));
  if (more & 0x20) to.write(at / "iommu/intel-iommu/cap", text_of(in, 20));
  if (more & 0x40) to.write(at / "iommu/intel-iommu/ecap", text_of(in, 20));
}
// Removes what only some inputs write.
void clean(const char* function) {
  const fs::path at = host().sysfs.root() / "devices/pci0000:00" / function;
  std::error_code none;
  fs::remove(at / "reset_method", none);
  fs::remove_all(at / "iommu", none);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input in(data, size);
  const bool view = in.one_of(8);
  for (const char* f : {"0000:00:04.0", "0000:00:05.0"}) clean(f);
  write(in, "0000:00:04.0", "1");
  write(in, "0000:00:05.0", "2");
  const sim::topology_result r = sim::topology_from_sysfs(host().sysfs.root());
  printable(r.errors);
  printable(r.unknown);
  if (!r) return 0;
  sim::world world(r.machine);
  for (const auto& [number, group] : world.groups())
    for (const auto& d : group->devices) {
      unsigned char space[64];
      require(static_cast<bool>(d->pci.read(space, sizeof space, std::uint64_t{7} << 40)),
              "a device without configuration space");
    }
  if (!view) return 0;
  char name[] = "/tmp/kvm_vfio_view_XXXXXX";
  if (!::mkdtemp(name)) return 0;
  const sim::topology_errors errors = sim::write_sysfs_view(r.machine, name, sim::vfio_7_3);
  const sim::topology_result again = sim::topology_from_sysfs(fs::path(name) / "sys");
  fs::remove_all(name);
  std::fputs((to_text(errors) + to_text(again.errors)).c_str(), stderr);
  require(errors.empty() && again, "a view that cannot be made or read");
  printable(again.unknown);
  return 0;
}
