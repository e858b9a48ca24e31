// SPDX-License-Identifier: BSL-1.0
// The mocks themselves.

#include <kvm_vfio/attachment.hpp>
#include <kvm_vfio/testing/model_endpoint.hpp>

#include <cstdint>
#include <cstring>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "calls.hpp"
#include "world.hpp"

namespace tests {
namespace {

TEST_CASE("Events read well") {
  struct row {
    event e;
    const char* text;
  };
  const file_id f{1};
  const vm_id vm{2};
  const group_id g{3};
  const row rows[] = {
      {events::is_valid(f, true), "is_valid(file 1) = true"},
      {events::is_group(f, false), "is_group(file 1) = false"},
      {events::set_kvm(f, vm), "set_kvm(file 1, vm 2)"},
      {events::set_kvm(f, {}), "set_kvm(file 1, no vm)"},
      {events::enforced_coherent(f, true), "enforced_coherent(file 1) = true"},
      {events::iommu_group(f, g), "iommu_group(file 1) = group 3"},
      {events::iommu_group(f, {}), "iommu_group(file 1) = no group"},
      {events::register_noncoherent(vm), "register_noncoherent(vm 2)"},
      {events::unregister_noncoherent(vm), "unregister_noncoherent(vm 2)"},
      {events::start_assignment(vm), "start_assignment(vm 2)"},
      {events::end_assignment(vm), "end_assignment(vm 2)"},
      {events::spapr_tce_attach(vm, -1, g), "spapr_tce_attach(vm 2, table -1, group 3)"},
      {events::spapr_tce_release(vm, g), "spapr_tce_release(vm 2, group 3)"},
      {events::iommu_group_put(g), "iommu_group_put(group 3)"},
      {events::warn(spapr_warning::attach_without_iommu_group), "warn(attach_without_iommu_group)"},
      {events::warn(spapr_warning::release_without_iommu_group),
       "warn(release_without_iommu_group)"},
      {events::symbol_get(symbol::file_set_kvm), "symbol_get(vfio_file_set_kvm)"},
      {events::symbol_put(symbol::file_is_group), "symbol_put(vfio_file_is_group)"},
      {events::get_file({-4}), "get_file(file -4)"},
      {events::get_file(f, errc::mfile), "get_file(file 1) = EMFILE"},
      {events::fput(f), "fput(file 1)"},
      {events::lock(), "lock()"},
      {events::unlock(2), "unlock(2)"},
      {events::allocate(false), "allocate() = false"},
      {events::free(), "free()"},
      {events::copy_from_user(true), "copy_from_user() = true"},
      {events::copy_to_user(false), "copy_to_user() = false"},
      {events::fget(3, f), "fget(3) = file 1"},
      {events::fget(-1, {}), "fget(-1) = no file"},
      {events::install(4), "install() = 4"},
      {events::install(errc::nfile), "install() = ENFILE"},
      {events::install(to_errc(9999)), "install() = -9999"},
  };
  std::vector<event> all;
  std::string lines;
  for (const row& r : rows) {
    CHECK(to_string(r.e) == r.text);
    std::ostringstream out;
    out << r.e;
    CHECK(out.str() == r.text);
    all.push_back(r.e);
    lines += r.text + std::string("\n");
  }
  CHECK(to_string(all) == lines);
}

TEST_CASE("A journal keeps the order and filters what crosses the boundary") {
  journal log;
  log.add(events::lock());
  log.add(events::set_kvm({1}, {1}));
  log.add(events::symbol_get(symbol::file_set_kvm));
  log.add(events::warn(spapr_warning::attach_without_iommu_group));
  log.add(events::lock());
  CHECK(log.all().size() == 5);
  CHECK(log.calls() == std::vector{events::set_kvm({1}, {1}),
                                   events::warn(spapr_warning::attach_without_iommu_group)});
  CHECK(log.count(call::lock) == 2);
  CHECK(log.count(call::unlock) == 0);
  log.clear();
  CHECK(log.all().empty());
}

TEST_CASE("A fault plan strikes at the use that was ordered, once or always") {
  fault_plan plan;
  plan.fail(fault::set_kvm, 2, errc::nospc);
  CHECK(plan.strike(fault::set_kvm) == errc::ok);
  CHECK(plan.strike(fault::attach) == errc::ok);
  CHECK(plan.strike(fault::set_kvm) == errc::nospc);
  CHECK(plan.strike(fault::set_kvm) == errc::ok);
  CHECK(plan.struck() == 1);
  plan.fail_always(fault::attach, errc::notty);
  CHECK(plan.strike(fault::attach) == errc::notty);
  CHECK(plan.strike(fault::attach) == errc::notty);
  plan.fail(fault::attach, 1, errc::inval);  // replaces
  CHECK(plan.strike(fault::attach) == errc::inval);
  CHECK(plan.strike(fault::attach) == errc::ok);
  plan.fail(fault::attach, 1, errc::inval);
  plan.fail_always(fault::fget, errc::badf);
  plan.clear();
  CHECK(plan.strike(fault::attach) == errc::ok);
  CHECK(plan.strike(fault::fget) == errc::ok);
  CHECK(plan.struck() == 4);
  CHECK(missing(symbol::file_set_kvm) == fault::symbol_set_kvm);
  CHECK(missing(symbol::file_enforced_coherent) == fault::symbol_enforced_coherent);
  CHECK(missing(symbol::file_is_valid) == fault::symbol_is_valid);
  CHECK(missing(symbol::file_is_group) == fault::symbol_is_group);
  CHECK(missing(symbol::file_iommu_group) == fault::symbol_iommu_group);
  STATIC_REQUIRE(static_cast<int>(fault::install) + 1 == fault_count);
}

TEST_CASE("A fault plan strikes at the n-th use of any step, twice at most") {
  fault_plan plan;
  plan.fail_use(2, errc::nomem);
  plan.fail_use(4, errc::badf);
  plan.fail(fault::attach, 1, errc::nospc);  // waits beside them
  CHECK(plan.waiting());
  CHECK(plan.ordered(fault::fget));
  CHECK(plan.strike(fault::fget) == errc::ok);
  CHECK(plan.strike(fault::allocate) == errc::nomem);
  CHECK(plan.strike(fault::attach) == errc::nospc);
  CHECK(plan.waiting());
  CHECK(plan.strike(fault::fget) == errc::badf);
  CHECK_FALSE(plan.waiting());
  CHECK_FALSE(plan.ordered(fault::fget));
  CHECK(plan.struck() == 3);
  plan.fail_use(1, errc::nomem);
  plan.clear();
  CHECK_FALSE(plan.waiting());
  CHECK(plan.strike(fault::fget) == errc::ok);
}

TEST_CASE("recording_symbols: files it did not make are nobody's") {
  journal log;
  recording_symbols vfio(log);
  const file_id known = vfio.make({.kind = file_kind::device, .iommu_group = {7}});
  for (const file_id f : {file_id{}, file_id{2}, file_id{-1}}) {
    INFO("file " << f.number);
    CHECK_FALSE(vfio.file_is_valid(f));
    CHECK_FALSE(vfio.file_is_group(f));
    CHECK_FALSE(vfio.file_enforced_coherent(f));
    CHECK(vfio.file_iommu_group(f) == group_id{});
    vfio.file_set_kvm(f, {1});
  }
  CHECK(vfio.vm_of(known) == vm_id{});
  CHECK(vfio.file_is_valid(known));
  CHECK_FALSE(vfio.file_is_group(known));
  CHECK(vfio.file_iommu_group(known) == group_id{7});
  CHECK(vfio.groups_handed_out() == 1);
  vfio.file_set_kvm(known, {3});
  CHECK(vfio.vm_of(known) == vm_id{3});
}

TEST_CASE("A provider or backend that fails answers what was ordered and calls nobody") {
  journal log;
  fault_plan plan;
  failing_symbols<failing_symbols<recording_symbols>> vfio(plan, plan, log);
  const file_id f = vfio.make();
  plan.fail(fault::set_kvm, 1, errc::nospc);
  CHECK(vfio.file_set_kvm(f, {1}) == errc::nospc);
  plan.fail(fault::set_kvm, 2, errc::io);  // the inner one's
  CHECK(vfio.file_set_kvm(f, {1}) == errc::io);
  CHECK(log.all().empty());
  CHECK(vfio.file_set_kvm(f, {1}) == errc::ok);
  CHECK(log.all() == std::vector{events::set_kvm(f, {1})});

  failing_spapr_iommu<recording_spapr_iommu> iommu(plan, log);
  log.clear();
  plan.fail(fault::attach, 1, errc::notty);
  CHECK(iommu.spapr_tce_attach(vm_id{1}, 5, group_id{1}) == errc::notty);
  CHECK(log.all().empty());
  CHECK(iommu.spapr_tce_attach(vm_id{1}, 5, group_id{1}) == errc::inval);
  CHECK(iommu.spapr_tce_attach(vm_id{1}, -5, group_id{1}) == errc::badf);
  iommu.table(5, errc::ok);
  CHECK(iommu.spapr_tce_attach(vm_id{1}, 5, group_id{1}) == errc::ok);
  iommu.table(5, errc::fault);  // the younger answer wins
  CHECK(iommu.spapr_tce_attach(vm_id{1}, 5, group_id{1}) == errc::fault);
  CHECK(iommu.attached() == 1);
  iommu.spapr_tce_release({1}, {1});
  CHECK(iommu.attached() == 0);
}

TEST_CASE("counting_lock notices misuse") {
  // By pointers to members, which Clang's thread-safety analysis does not follow.
  constexpr auto lock = &counting_lock::lock;
  constexpr auto unlock = &counting_lock::unlock;
  counting_lock twice;
  (twice.*lock)();
  CHECK_FALSE(twice.misused());
  (twice.*lock)();
  CHECK(twice.misused());
  counting_lock never;
  (never.*unlock)();
  CHECK(never.misused());
  counting_lock good;
  good.lock();
  good.unlock();
  good.lock();
  CHECK(good.held());
  good.unlock();
  CHECK_FALSE(good.misused());
  CHECK(good.acquisitions() == 2);
}

TEST_CASE("Mapped memory: what may be read and written, and where it ends") {
  mapped_memory memory;
  memory.map(0x1000, 8);
  memory.map(0x1008, 8, access::read);
  std::uint32_t value = 0;
  CHECK(memory.copy_to_user(0x1000, std::uint32_t{0x01020304}));
  CHECK(memory.copy_from_user(0x1000, value));
  CHECK(value == 0x01020304);
  SECTION("a struct may straddle two ranges") {
    memory.poke(0x1006, std::uint32_t{0x0a0b0c0d});
    CHECK(memory.copy_from_user(0x1006, value));
    CHECK(value == 0x0a0b0c0d);
    CHECK(memory.peek<std::uint32_t>(0x1006) == 0x0a0b0c0d);
  }
  SECTION("but every byte must allow it, and a refused write changes nothing") {
    CHECK_FALSE(memory.copy_to_user(0x1006, ~0u));
    CHECK(memory.peek<std::uint16_t>(0x1006) == 0);
    CHECK_FALSE(memory.copy_to_user(0x1008, ~0u));
  }
  SECTION("past the end, before the beginning, and around the top") {
    CHECK(memory.copy_from_user(0x100c, value));
    CHECK_FALSE(memory.copy_from_user(0x100d, value));
    CHECK_FALSE(memory.copy_from_user(0xfff, value));
    CHECK_FALSE(memory.copy_from_user(0, value));
    CHECK_FALSE(memory.copy_from_user(~0ull - 1, value));
  }
  SECTION("protect") {
    memory.protect(0x1004, access::none);
    CHECK_FALSE(memory.copy_from_user(0x1000, value));
    memory.protect(0x1000, access::read);
    CHECK(memory.copy_from_user(0x1000, value));
    CHECK_FALSE(memory.copy_to_user(0x1000, value));
    memory.protect(0x1008, access::read_write);
    CHECK(memory.copy_to_user(0x1008, value));
  }
  SECTION("a range mapped over another hides it") {
    memory.map(0x1002, 4);
    std::uint16_t first = 0;
    std::memcpy(&first, &value, sizeof first);
    CHECK(memory.peek<std::uint16_t>(0x1000) == first);
    CHECK(memory.peek<std::uint16_t>(0x1002) == 0);
    memory.protect(0x1002, access::none);
    CHECK_FALSE(memory.copy_from_user(0x1000, value));
    std::uint16_t half = 0;
    CHECK(memory.copy_from_user(0x1000, half));
  }
  SECTION("the host's memory, once it is shared; ranges and null stay what they are") {
    int mine = 5, copy = 0;
    const auto address = reinterpret_cast<std::uintptr_t>(&mine);
    CHECK_FALSE(memory.copy_from_user(address, copy));
    memory.share_host();
    CHECK(memory.copy_from_user(address, copy));
    CHECK(copy == 5);
    CHECK(memory.copy_to_user(address, 6));
    CHECK(mine == 6);
    CHECK_FALSE(memory.copy_from_user(0, copy));
    if (sizeof(void*) < 8)
      CHECK_FALSE(memory.copy_from_user(address | std::uint64_t{1} << 32, copy));
    CHECK_FALSE(memory.copy_to_user(0x1008, ~0u));
    CHECK(memory.copy_from_user(0x1000, value));
  }
}

TEST_CASE("A process numbers, dups, closes and counts its descriptors") {
  journal log;
  open_files files(log);
  process task(files, log);
  CHECK(task.open(file_id{1}) == 0);
  CHECK(task.open(file_id{2}) == 1);
  CHECK(task.dup(0).value() == 2);
  CHECK(files.references({1}) == 2);
  CHECK(task.close(0) == errc::ok);
  CHECK(task.close(0) == errc::badf);
  CHECK(task.close(-1) == errc::badf);
  CHECK(task.close(99) == errc::badf);
  CHECK(task.dup(0).error() == errc::badf);
  CHECK(task.open(file_id{3}) == 0);  // the lowest that is free
  CHECK(task.open_path({1}) == 3);
  CHECK(files.references({1}) == 2);
  CHECK(task.descriptors() == 4);
  CHECK(task.file_of(2) == file_id{1});
  CHECK(task.file_of(7) == file_id{});
  CHECK(task.file_of(-1) == file_id{});
  CHECK(task.name_of(2) == nullptr);
  CHECK(task.ioctl(7, 0, 0) == errc::badf);
  CHECK(task.ioctl(3, 0, 0) == errc::badf);
  CHECK(task.ioctl(2, 0, 0) == errc::notty);
  CHECK(task.fget(3).error() == errc::badf);
  CHECK(task.fget(-1).error() == errc::badf);
  CHECK(*task.fget(2) == file_id{1});
  CHECK(files.references({1}) == 3);
  open_files::policy(files).fput({1});
  task.exit();
  CHECK(task.descriptors() == 0);
  CHECK(files.references() == 0);
}

// Counts its releases.
struct probe final : open_file<process> {
  int released = 0;
  [[nodiscard]] constexpr const char* name() const noexcept override { return "probe"; }
  [[nodiscard]] constexpr errc ioctl(process&, std::uint64_t,
                                     std::uint64_t argument) noexcept override {
    return to_errc(static_cast<long>(argument));
  }
  [[nodiscard]] constexpr errc lseek() noexcept override { return errc::nospc; }
  constexpr void release() noexcept override { ++released; }
};

TEST_CASE("The last reference to an open file releases it, whoever has it") {
  journal log;
  fault_plan plan;
  open_files files(log, &plan);
  probe made;
  {
    process parent(files, log, &plan);
    process child(files, log, &plan, 2);
    const int fd = parent.install(made).value();
    CHECK(parent.name_of(fd) == std::string_view("probe"));
    CHECK(parent.ioctl(fd, 0, EINTR) == errc::intr);
    parent.fork_into(child);
    CHECK(child.file_of(fd) == parent.file_of(fd));
    CHECK(child.address_space() != parent.address_space());
    CHECK(parent.close(fd) == errc::ok);
    const file_id held = *child.fget(fd);
    CHECK(child.close(fd) == errc::ok);
    CHECK(made.released == 0);
    open_files::policy(files).fput(held);
    CHECK(made.released == 1);
    const int again = parent.install(made).value();
    CHECK(again == fd);
  }
  CHECK(made.released == 2);  // the process ended
}

TEST_CASE("Limits of a process and of the system") {
  journal log;
  fault_plan plan;
  open_files files(log, &plan);
  probe made;
  process task(files, log, &plan);
  (void)task.open(file_id{1});
  task.limit(1);
  CHECK(task.install(made).error() == errc::mfile);
  task.limit(8);
  files.limit(1);
  CHECK(task.install(made).error() == errc::nfile);
  task.limit(1);
  CHECK(task.install(made).error() == errc::mfile);  // the process is asked first
  task.limit(8);
  files.limit(2);
  plan.fail(fault::install, 1, errc::nomem);
  CHECK(task.install(made).error() == errc::nomem);
  CHECK(task.install(made).value() == 1);
  CHECK(log.all() == std::vector{events::install(errc::mfile), events::install(errc::nfile),
                                 events::install(errc::mfile), events::install(errc::nomem),
                                 events::install(1)});
}

// A VMM's view of the model: descriptors and pointers of its own.
struct vmm {
  world<linux_7_3, recording_spapr_iommu> w;
  model_endpoint device{w.task, opened()};
  int opened() {
    w.task.memory.share_host();
    (void)w.create();
    const int fd = w.device_fd;
    w.device_fd = -1;
    return fd;
  }
};

TEST_CASE("model_endpoint: the calls of a VMM reach the model") {
  vmm v;
  const int fd = v.w.file({.coherent = false, .iommu_group = {7}});
  v.w.iommu.table(50, errc::ok);
  CHECK(v.device.fd() == 1);
  CHECK(file_add(v.device, fd) == errc::ok);
  CHECK(file_add(v.device, fd) == errc::exists);
  CHECK(v.w.noncoherent());
  CHECK(set_spapr_tce(v.device, fd, 50) == errc::ok);
  CHECK(set_spapr_tce(v.device, fd, -1) == errc::badf);
  CHECK(v.w.log.count(call::spapr_tce_attach) == 2);
  CHECK(file_del(v.device, fd) == errc::ok);
  CHECK(file_del(v.device, fd) == errc::noent);
  CHECK(file_add(v.device, -1) == errc::badf);
  kvm_device_attr attr = support::file_attribute(uapi::dev_vfio_file_add);
  CHECK(v.device.has_attr(attr) == errc::ok);
  CHECK(v.device.set_attr(attr) == errc::fault);
  CHECK(v.device.ioctl(uapi::has_device_attr, &attr) == errc::ok);
  CHECK(v.device.ioctl(uapi::get_device_attr, nullptr) == errc::perm);
  CHECK(v.device.ioctl(uapi::set_device_attr, nullptr) == errc::fault);
}

TEST_CASE("model_endpoint closes its descriptor") {
  world<> w;
  REQUIRE(w.create() == errc::ok);
  {
    model_endpoint device(w.task, w.device_fd);
  }
  CHECK(w.kvm.users() == 1);
  CHECK(w.task.close(w.device_fd) == errc::badf);
}

TEST_CASE("attach: the file goes with its guard") {
  vmm v;
  const int a = v.w.file(), b = v.w.file();
  SECTION("the end of the scope detaches") {
    {
      const auto attached = attach(v.device, a);
      REQUIRE(attached);
      CHECK(attached->fd() == a);
      CHECK(*attached);
      CHECK(v.w.kept() == 1);
      CHECK(attach(v.device, a).error() == errc::exists);
      CHECK(v.w.kept() == 1);  // the refused one detaches nothing
    }
    CHECK(v.w.kept() == 0);
  }
  SECTION("detach answers, once") {
    auto attached = attach(v.device, a).value();
    CHECK(attached.detach() == errc::ok);
    CHECK_FALSE(attached);
    CHECK(attached.detach() == errc::ok);
    CHECK(v.w.kept() == 0);
    auto lost = attach(v.device, a).value();
    CHECK(file_del(v.device, a) == errc::ok);
    CHECK(lost.detach() == errc::noent);
  }
  SECTION("dismiss leaves it attached") {
    {
      attach(v.device, a).value().dismiss();
    }
    CHECK(v.w.kept() == 1);
    CHECK(file_del(v.device, a) == errc::ok);
  }
  SECTION("moving hands over; move assignment detaches what was there") {
    auto first = attach(v.device, a).value();
    attachment<endpoint_view<model_endpoint>> second(std::move(first));
    CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): the moved-from state is the point
    CHECK(v.w.kept() == 1);
    auto third = attach(v.device, b).value();
    CHECK(v.w.kept() == 2);
    third = std::move(second);
    CHECK(v.w.kept() == 1);
    CHECK(third.fd() == a);
    auto& same = third;
    third = std::move(same);
    CHECK(third);
    CHECK(v.w.kept() == 1);
    third = {};
    CHECK(v.w.kept() == 0);
  }
}

}  // namespace
}  // namespace tests
