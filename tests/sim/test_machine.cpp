// SPDX-License-Identifier: BSL-1.0
// The machine that a test of a VMM takes as it is, and the release of a world.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/sim/machine.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/testing/catch2.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <ostream>
#include <sstream>
#include <string>
#include <type_traits>

namespace {

template <class T>
std::uint64_t at(T& object) {
  return reinterpret_cast<std::uintptr_t>(&object);
}
int opened(sim::process& task, const char* path) {
  return static_cast<int>(task.open(path).value());
}

TEST_CASE("a program that leaves nothing is clean") {
  sim::machine m(two_groups());
  static_assert(std::is_same_v<decltype(m), sim::machine<kvm_vfio::linux_7_3, sim::iommu>>);
  const sim::snapshot before = m.look();
  const int fd = opened(m.process(), "/dev/vfio/vfio");
  CHECK_FALSE(m.look() == before);
  REQUIRE(m.process().close(fd));
  CHECK(m.look() == before);
  CHECK(m.timeline().size() == 2);
  CHECK(m.finish().empty());
  CHECK(m.finish().empty());
}

TEST_CASE("what a program leaves is told, and the process is ended") {
  sim::machine<kvm_vfio::linux_6_12> m(two_groups());
  sim::process& task = m.process();
  support::vmm<support::sim_system> vmm{support::sim_system(task)};
  const int vm = vmm.create_vm(opened(task, "/dev/kvm")).value();
  const int dev = vmm.create_kvm_vfio(vm).value();
  const int group = opened(task, "/dev/vfio/1");
  const int container = opened(task, "/dev/vfio/vfio");
  REQUIRE(vmm.set_container(group, container) == errc::ok);
  REQUIRE(vmm.set_iommu(container) == errc::ok);
  REQUIRE(vmm.add(dev, group) == errc::ok);
  const int device = vmm.device_fd(group, "0000:00:04.0").value();
  vfio_iommu_type1_dma_map map{};
  map.argsz = sizeof map;
  map.flags = VFIO_DMA_MAP_FLAG_READ;
  map.vaddr = 0x7000;
  map.iova = 0x1000;
  map.size = 0x1000;
  REQUIRE(task.ioctl(container, VFIO_IOMMU_MAP_DMA, at(map)));
  struct {
    std::uint32_t head[5];
    std::int32_t fd;
  } irqs{{sizeof irqs, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
          VFIO_PCI_MSI_IRQ_INDEX, 0, 1},
         static_cast<std::int32_t>(task.eventfd().value())};
  REQUIRE(task.ioctl(device, VFIO_DEVICE_SET_IRQS, at(irqs)));
  const int iommufd = opened(task, "/dev/iommu");
  kvm_vfio::uapi::iommu_ioas_alloc alloc{};
  alloc.size = sizeof alloc;
  REQUIRE(task.ioctl(iommufd, kvm_vfio::uapi::request_ioas_alloc, at(alloc)));
  CHECK(m.finish() ==
        "descriptor 0 is open: /dev/kvm\n"
        "descriptor 1 is open: kvm-vm\n"
        "descriptor 2 is open: kvm-vfio\n"
        "descriptor 3 is open: /dev/vfio/1\n"
        "descriptor 4 is open: /dev/vfio/vfio\n"
        "descriptor 5 is open: 0000:00:04.0\n"
        "descriptor 6 is open: [eventfd]\n"
        "descriptor 7 is open: /dev/iommu\n"
        "vm0 tracks a file: /dev/vfio/1\n"
        "device 0000:00:04.0 has an armed interrupt: MSI (vectors 0)\n"
        "container 0 has a group: 1\n"
        "container 0 has a DMA mapping: 0x1000 to 0x1fff: memory 0x7000, flags 0x1\n"
        "iommufd 0 has an address space: IOAS 1\n");
  CHECK(task.descriptors() == 0);
  CHECK(m.look() == sim::machine<kvm_vfio::linux_6_12>(two_groups()).look());
  CHECK(m.finish().empty());
}

TEST_CASE("a machine has further processes, which are observed and ended as the first one is") {
  sim::machine m(two_groups());
  sim::process& other = m.new_process();
  CHECK(other.address_space() != m.process().address_space());
  CHECK(&other.mem() != &m.memory());
  CHECK(opened(other, "/dev/kvm") == 0);
  CHECK(opened(m.process(), "/dev/vfio/vfio") == 0);
  sim::process& next = m.exec_process(m.process());
  CHECK(m.process().descriptors() == 0);
  CHECK(std::string(next.file_of(0)->name()) == "/dev/vfio/vfio");
  CHECK(next.address_space() != other.address_space());
  CHECK(m.timeline().size() == 4);
  CHECK(m.finish() == "descriptor 0 is open: /dev/kvm\ndescriptor 0 is open: /dev/vfio/vfio\n");
  CHECK(other.descriptors() + next.descriptors() == 0);
  CHECK(m.finish().empty());
}

TEST_CASE("a timeline shows each call without a copy") {
  sim::machine m(two_groups());
  CHECK(m.timeline().size() == 0);
  REQUIRE(m.process().close(opened(m.process(), "/dev/kvm")));
  std::string seen;
  m.timeline().visit([&](const trace::call& c) { seen += to_string(c) + "\n"; });
  CHECK(seen == "open(\"/dev/kvm\") = 0\nclose(0) = 0\n");
  m.timeline().visit([&](const trace::call& c) { seen = to_string(c); }, 1);
  CHECK(seen == "close(0) = 0");
  m.timeline().visit([&](const trace::call&) { seen.clear(); }, 2);
  CHECK(seen == "close(0) = 0");
}

TEST_CASE("the reports of the checker follow") {
  sim::machine m(two_groups());
  support::vmm<support::sim_system> vmm{support::sim_system(m.process())};
  const int kvm = opened(m.process(), "/dev/kvm");
  const int vm = vmm.create_vm(kvm).value();
  const int dev = vmm.create_kvm_vfio(vm).value();
  const int group = opened(m.process(), "/dev/vfio/1");
  CHECK(vmm.del(dev, group) == errc::noent);
  for (const int fd : {group, dev, vm, kvm}) REQUIRE(m.process().close(fd));
  const std::string text = m.finish();
  CHECK(m.checker().count(trace::rule::del_untracked) == 1);
  CHECK(text == m.checker().text());
}

template <class Kernel, class... Arguments>
constexpr bool made_from = std::is_constructible_v<Kernel, Arguments...>;

TEST_CASE("a kernel runs only on a world of its release") {
  using kvm_vfio::linux_6_1;
  using kvm_vfio::linux_7_3;
  static_assert(made_from<sim::kernel<linux_6_1>, sim::world_of<linux_6_1>&>);
  static_assert(!made_from<sim::kernel<linux_6_1>, sim::world_of<linux_7_3>&>);
  static_assert(!made_from<sim::kernel<linux_6_1>, sim::world&>);
  static_assert(made_from<sim::kernel<linux_6_1>, sim::topology>);

  sim::kernel<linux_6_1> old(two_groups());
  CHECK(old.look().release == "Linux 6.1");
  CHECK(old.world().release().device_files == false);
  sim::memory memory;
  sim::process task(old, memory);
  CHECK(task.open("/dev/vfio/devices/vfio0").error() == errc::noent);

  // Two kernels share one world.
  sim::world_of<linux_7_3> shared(two_groups());
  sim::kernel<> first(shared);
  sim::kernel<> second(shared);
  CHECK(&first.world() == &second.world());
}

struct backport : kvm_vfio::linux_6_1 {
  static constexpr const char* name = "Linux 6.1 with backports";
};

TEST_CASE("a release that is known only at run time must fit the profile") {
  using kvm_vfio::linux_6_1;
  const auto made = [](auto profile, const sim::linux_release& release) -> std::string {
    try {
      sim::world_of<decltype(profile)> world(two_groups(), release);
      sim::kernel<decltype(profile)> kernel(world);
      return kernel.look().release;
    } catch (const sim::unfit_release& e) {
      return e.what();
    }
  };
  CHECK(made(linux_6_1{}, sim::vfio_6_1) == "Linux 6.1");
  CHECK(made(linux_6_1{}, sim::vfio_7_3) ==
        "the world is of release \"Linux 7.3\", but its profile is \"Linux 6.1\"");
  CHECK(made(backport{}, sim::vfio_6_1) == "Linux 6.1");
  CHECK(made(backport{}, sim::vfio_6_12).find("with backports") != std::string::npos);
  sim::linux_release own = sim::vfio_6_1;
  own.name = backport::name;
  CHECK(made(backport{}, own) == backport::name);
}

// What GoogleTest does: a function for every type, and PrintTo called without a namespace.
namespace framework {
template <class T>
void PrintTo(const T&, std::ostream* to) {
  *to << "{?}";
}
template <class T>
std::string print(const T& object) {
  std::ostringstream out;
  PrintTo(object, &out);
  return out.str();
}
}  // namespace framework

TEST_CASE("Catch2 and GoogleTest print the names of errors, and the texts of all that has a text") {
  using Catch::Detail::stringify;
  const auto both = [](const auto& object, const std::string& text) {
    CHECK(stringify(object) == text);
    CHECK(framework::print(object) == text);
  };
  both(errc::busy, "EBUSY");
  both(errc::ok, "OK");
  both(kvm_vfio::to_errc(12345), "error 12345");
  both(kvm_vfio::result<int>(7), "7");
  both(kvm_vfio::result<int>(errc::inval), "EINVAL");
  both(sim::answer(errc::noent), "ENOENT");
  both(kvm_vfio::result<bool>(true), "true");
  both(kvm_vfio::result<const char*>("text"), "text");
  both(kvm_vfio::result<trace::rule>(trace::rule::irqs_armed), "irqs-armed");
  both(kvm_vfio::result<sim::file*>(static_cast<sim::file*>(nullptr)), "success");
  both(trace::rule::del_untracked, "del-untracked");
  trace::call c;
  c.text = "/dev/kvm";
  c.error = errc::access;
  both(c, to_string(c));
  both(trace::report{.by = c}, to_string(trace::report{.by = c}));
  CHECK(stringify(c).find("EACCES") != std::string::npos);
  sim::machine m(two_groups());
  both(m.look(), "Linux 7.3\n");
}

}  // namespace
