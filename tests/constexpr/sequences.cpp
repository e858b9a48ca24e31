// SPDX-License-Identifier: BSL-1.0
// The main sequences at compile time, and the same bodies again at run time.

#include <cstdint>
#include <cstdio>
#include <iterator>
#include <type_traits>
#include <vector>

#include "unit/world.hpp"

namespace tests {
namespace {

// An attribute group, and a number that no attribute of that group has.
constexpr std::uint32_t file = uapi::dev_vfio_file;
constexpr std::uint64_t no_such = 4;

// A check that did not hold.
struct failure {
  const char* what = nullptr;  // the check's text; null: all checks held
  int line = 0;
  errc answer = errc::ok;    // of a check that compares one
  errc expected = errc::ok;  // equal: the check compares none
};

// It is no constant expression, so the compiler shows the line of a check that calls it.
void does_not_hold(const char* /*what*/) {}

// Remembers the first check that did not hold. At compile time that check is an error.
class checks {
 public:
  constexpr void holds(bool holds, const char* what, int line) {
    if (!holds) fail({what, line});
  }
  constexpr void answers(errc answer, errc expected, const char* what, int line) {
    if (answer != expected) fail({what, line, answer, expected});
  }
  [[nodiscard]] constexpr failure first_failed() const { return first_; }

 private:
  constexpr void fail(const failure& f) {
    if (std::is_constant_evaluated()) does_not_hold(f.what);
    if (!first_.what) first_ = f;
  }
  failure first_;
};
#define HOLDS(...) check.holds(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__, __LINE__)
#define ANSWERS(expected, ...) check.answers((__VA_ARGS__), expected, #__VA_ARGS__, __LINE__)

template <class Profile, class Storage>
struct device_on_its_own {
  static constexpr const char* name = "the device on its own";
  static constexpr failure run() {
    checks check;
    journal log;
    recording_symbols vfio(log);
    recording_iommu iommu(log);
    const vm_id vm{1};
    const file_id gpu = vfio.make({.coherent = false});
    const file_id nic = vfio.make();
    {
      device dev(vfio, null_lock{}, iommu, vm, Profile{}, Storage{});
      ANSWERS(errc::ok, dev.add(gpu));
      ANSWERS(errc::exists, dev.add(gpu));
      ANSWERS(errc::inval, dev.add(file_id{9}));
      ANSWERS(errc::ok, dev.add(nic));
      HOLDS(dev.size() == 2 && dev.noncoherent() && vfio.vm_of(gpu) == vm);
      ANSWERS(errc::ok, dev.del(gpu));
      ANSWERS(errc::noent, dev.del(gpu));
      HOLDS(dev.size() == 1 && !dev.noncoherent() && vfio.vm_of(gpu) == vm_id{});
      ANSWERS(errc::ok, dev.add(gpu));
      std::vector<file_id> order;
      dev.for_each([&order](const file_id& f) { order.push_back(f); });
      HOLDS(order == std::vector{nic, gpu});
    }
    HOLDS(iommu.registered() == 0 && iommu.assigned() == 0);
    HOLDS(vfio.vm_of(gpu) == vm_id{} && vfio.vm_of(nic) == vm_id{});
    return check.first_failed();
  }
};

template <class Profile, class Storage>
struct through_descriptors {
  static constexpr const char* name = "through descriptors";
  static constexpr failure run() {
    checks check;
    world<Profile, recording_iommu, Storage> w;
    ANSWERS(errc::ok, w.create(uapi::dev_type_vfio, uapi::create_device_test));
    ANSWERS(errc::nodev, w.create(5));
    ANSWERS(errc::ok, w.create());
    ANSWERS(errc::busy, w.create());
    const int a = w.file(), b = w.file({.coherent = false});
    const int other = w.file({.kind = file_kind::other});
    const file_id fa = w.task.file_of(a), fb = w.task.file_of(b);
    ANSWERS(errc::ok, w.has(file, uapi::dev_vfio_file_add));
    ANSWERS(errc::nxio, w.has(file, uapi::dev_vfio_group_set_spapr_tce));
    ANSWERS(errc::nxio, w.set(file, no_such, 0));
    ANSWERS(errc::fault, w.set(file, uapi::dev_vfio_file_add, 0));
    ANSWERS(errc::badf, w.add(-1));
    ANSWERS(errc::inval, w.add(other));
    ANSWERS(errc::inval, w.add(w.device_fd));
    ANSWERS(errc::ok, w.add(a));
    ANSWERS(errc::exists, w.add(w.task.dup(a).value()));
    ANSWERS(errc::ok, w.add(b));

    using namespace events;
    const event valid =
        Profile::validity == symbol::file_is_group ? is_group(fb, true) : is_valid(fb, true);
    std::vector<event> expected{valid};
    if (Profile::counts_assignments) expected.push_back(start_assignment({1}));
    for (const event& e : {set_kvm(fb, {1}), enforced_coherent(fa, true),
                           enforced_coherent(fb, false), register_noncoherent({1})})
      expected.push_back(e);
    HOLDS(w.log.calls() == expected);
    HOLDS(w.noncoherent() && w.kept() == 2);

    ANSWERS(errc::noent, w.del(other));
    ANSWERS(errc::ok, w.del(a));
    ANSWERS(errc::ok, w.add(a));
    ANSWERS(errc::ok, w.task.close(w.vm_fd));
    HOLDS(w.kvm.users() == 1);
    HOLDS(w.end() == std::vector{2, 1});
    HOLDS(w.always.broken().empty());
    return check.first_failed();
  }
};

template <class Profile, class Storage>
struct fault_by_fault {
  static constexpr const char* name = "fault by fault";
  struct row {
    fault at;
    int nth;
    errc error;
  };
  static constexpr row creating[] = {
      {fault::copy_from_user, 1, errc::fault}, {fault::allocate, 1, errc::nomem},
      {fault::allocate, 2, errc::nomem},       {fault::install, 1, errc::mfile},
      {fault::install, 1, errc::nfile},
  };
  static constexpr row adding[] = {
      {fault::copy_from_user, 1, errc::fault},
      {fault::copy_from_user, 2, errc::fault},
      {fault::fget, 1, errc::badf},
      {missing(Profile::validity), 1, errc::inval},
      {fault::allocate, 1, errc::nomem},
      {fault::set_kvm, 1, errc::nospc},
  };
  static constexpr row deleting[] = {
      {fault::copy_from_user, 1, errc::fault},
      {fault::copy_from_user, 2, errc::fault},
      {fault::fget, 1, errc::badf},
      {fault::set_kvm, 1, errc::nospc},
  };
  static constexpr failure run() {
    checks check;
    world<Profile, recording_iommu, Storage> w;
    for (const row& r : creating) {
      w.plan.fail(r.at, r.nth, r.error);
      ANSWERS(r.error, w.create());
      HOLDS(w.kvm.users() == 1 && w.always.allocated() == 0);
    }
    ANSWERS(errc::ok, w.create());
    const int fd = w.file({.coherent = false});
    for (const row& r : adding) {
      w.plan.fail(r.at, r.nth, r.error);
      ANSWERS(r.error, w.add(fd));
      HOLDS(w.kept() == 0 && !w.noncoherent() && w.iommu.assigned() == 0);
    }
    ANSWERS(errc::ok, w.add(fd));
    for (const row& r : deleting) {
      w.plan.fail(r.at, r.nth, r.error);
      ANSWERS(r.error, w.del(fd));
      HOLDS(w.kept() == 1 && w.noncoherent());
    }
    HOLDS(w.plan.struck() ==
          static_cast<int>(std::size(creating) + std::size(adding) + std::size(deleting)));
    HOLDS(w.end() == std::vector{1});
    HOLDS(w.always.broken().empty());
    return check.first_failed();
  }
};

template <class Profile, class Storage>
struct tce_tables {
  static constexpr const char* name = "TCE tables";
  static constexpr failure run() {
    checks check;
    world<Profile, failing_spapr_iommu<recording_spapr_iommu>, Storage> w;
    ANSWERS(errc::ok, w.create());
    w.iommu.table(50, errc::ok);
    const int group = w.file({.iommu_group = {7}}), none = w.file();
    ANSWERS(errc::noent, w.set_spapr_tce(group, 50));
    ANSWERS(errc::ok, w.add(group));
    ANSWERS(errc::ok, w.add(none));
    ANSWERS(errc::io, w.set_spapr_tce(none, 50));
    w.plan.fail(fault::attach, 1, errc::notty);
    ANSWERS(errc::notty, w.set_spapr_tce(group, 50));
    ANSWERS(errc::badf, w.set_spapr_tce(group, -1));
    ANSWERS(errc::ok, w.set_spapr_tce(group, 50));
    HOLDS(w.iommu.attached() == 1 && w.vfio.groups_handed_out() == 1);
    ANSWERS(errc::ok, w.del(group));
    HOLDS(w.iommu.attached() == 0 && w.iommu.groups_put() == 1);
    HOLDS(w.end() == std::vector{2});
    HOLDS(w.always.broken().empty());
    return check.first_failed();
  }
};

template <class Profile, class Storage>
struct other_address_spaces {
  static constexpr const char* name = "other address spaces";
  static constexpr failure run() {
    checks check;
    world<Profile, recording_iommu, Storage> w;
    ANSWERS(errc::ok, w.create());
    {
      process child(w.files, w.log, &w.plan, 2);
      w.task.fork_into(child);
      ANSWERS(errc::io, child.ioctl(w.vm_fd, uapi::create_device, 0));
      ANSWERS(errc::io, child.ioctl(w.device_fd, 0xdead, 0));
      ANSWERS(errc::notty, w.task.ioctl(w.device_fd, 0xdead, 0));
      ANSWERS(errc::perm, w.task.ioctl(w.device_fd, uapi::get_device_attr, 0));
    }
    w.kvm.kill();
    ANSWERS(errc::io, w.has(file, uapi::dev_vfio_file_add));
    ANSWERS(errc::io, w.create());
    HOLDS(w.end().empty());
    HOLDS(w.always.broken().empty());
    return check.first_failed();
  }
};

template <class Profile>
struct capacity {
  static constexpr const char* name = "capacity";
  static constexpr failure run() {
    checks check;
    world<Profile, recording_iommu, inline_storage<2>> w;
    ANSWERS(errc::ok, w.create());
    const int a = w.file(), b = w.file(), c = w.file();
    ANSWERS(errc::ok, w.add(a));
    ANSWERS(errc::ok, w.add(b));
    ANSWERS(errc::nomem, w.add(c));
    ANSWERS(errc::ok, w.del(a));
    ANSWERS(errc::ok, w.add(c));
    HOLDS(w.end() == std::vector{2, 3});
    HOLDS(w.always.broken().empty());
    return check.first_failed();
  }
};

// At compile time, then again at run time.
template <class Sequence>
int twice(const char* profile, const char* storage) {
  static_assert(Sequence::run().what == nullptr);
  const failure f = Sequence::run();
  if (!f.what) return 0;
  std::fprintf(stderr, "sequences.cpp:%d: %s, %s, %s: %s", f.line, Sequence::name, profile, storage,
               f.what);
  if (f.answer == f.expected) std::fputs(" does not hold\n", stderr);
  else std::fprintf(stderr, " is %s, not %s\n", name(f.answer), name(f.expected));
  return 1;
}
template <class Profile, class Storage>
int each_sequence(const char* storage) {
  const char* const p = Profile::name;
  return twice<device_on_its_own<Profile, Storage>>(p, storage) +
         twice<through_descriptors<Profile, Storage>>(p, storage) +
         twice<fault_by_fault<Profile, Storage>>(p, storage) +
         twice<tce_tables<Profile, Storage>>(p, storage) +
         twice<other_address_spaces<Profile, Storage>>(p, storage);
}
template <class Profile>
int each_storage() {
  return each_sequence<Profile, heap_storage>("heap") +
         each_sequence<Profile, inline_storage<4>>("inline") +
         twice<capacity<Profile>>(Profile::name, "inline");
}

}  // namespace
}  // namespace tests

int main() {
  const int failed = tests::each_storage<kvm_vfio::linux_7_3>() +
                     tests::each_storage<kvm_vfio::linux_6_12>() +
                     tests::each_storage<kvm_vfio::linux_6_1>();
  return failed == 0 ? 0 : 1;
}
