// SPDX-License-Identifier: BSL-1.0
// The main sequences at compile time, and the same bodies again at run time.

#include <cstdio>
#include <vector>

#include "unit/world.hpp"

namespace tests {
namespace {

// Counts checks; remembers the first that failed. A sequence returns its number, 0 for none.
class checks {
 public:
  constexpr void operator()(bool holds) {
    ++count_;
    if (!holds && first_ == 0) first_ = count_;
  }
  constexpr void is(errc answer, errc expected) { (*this)(answer == expected); }
  [[nodiscard]] constexpr int first_failed() const { return first_; }

 private:
  int count_ = 0;
  int first_ = 0;
};

template <class Profile, class Storage>
struct device_on_its_own {
  static constexpr const char* name = "the device on its own";
  static constexpr int run() {
    checks check;
    journal log;
    recording_symbols vfio(log);
    recording_iommu iommu(log);
    const vm_id vm{1};
    const file_id gpu = vfio.make({.coherent = false});
    const file_id nic = vfio.make();
    {
      device dev(vfio, null_lock{}, iommu, vm, Profile{}, Storage{});
      check.is(dev.add(gpu), errc::ok);
      check.is(dev.add(gpu), errc::exists);
      check.is(dev.add(file_id{9}), errc::inval);
      check.is(dev.add(nic), errc::ok);
      check(dev.size() == 2 && dev.noncoherent() && vfio.vm_of(gpu) == vm);
      check.is(dev.del(gpu), errc::ok);
      check.is(dev.del(gpu), errc::noent);
      check(dev.size() == 1 && !dev.noncoherent() && vfio.vm_of(gpu) == vm_id{});
      check.is(dev.add(gpu), errc::ok);
      std::vector<file_id> order;
      dev.for_each([&order](const file_id& f) { order.push_back(f); });
      check(order == std::vector{nic, gpu});
    }
    check(iommu.registered() == 0 && iommu.assigned() == 0);
    check(vfio.vm_of(gpu) == vm_id{} && vfio.vm_of(nic) == vm_id{});
    return check.first_failed();
  }
};

template <class Profile, class Storage>
struct through_descriptors {
  static constexpr const char* name = "through descriptors";
  static constexpr int run() {
    checks check;
    world<Profile, recording_iommu, Storage> w;
    check.is(w.create(uapi::dev_type_vfio, uapi::create_device_test), errc::ok);
    check.is(w.create(5), errc::nodev);
    check.is(w.create(), errc::ok);
    check.is(w.create(), errc::busy);
    const int a = w.file(), b = w.file({.coherent = false});
    const int other = w.file({.kind = file_kind::other});
    const file_id fa = w.task.file_of(a), fb = w.task.file_of(b);
    check.is(w.has(1, 1), errc::ok);
    check.is(w.has(1, 3), errc::nxio);
    check.is(w.set(1, 4, 0), errc::nxio);
    check.is(w.set(1, 1, 0), errc::fault);
    check.is(w.add(-1), errc::badf);
    check.is(w.add(other), errc::inval);
    check.is(w.add(w.device_fd), errc::inval);
    check.is(w.add(a), errc::ok);
    check.is(w.add(w.task.dup(a).value()), errc::exists);
    check.is(w.add(b), errc::ok);

    using namespace events;
    const event valid =
        Profile::validity == symbol::file_is_group ? is_group(fb, true) : is_valid(fb, true);
    std::vector<event> expected{valid};
    if (Profile::counts_assignments) expected.push_back(start_assignment({1}));
    for (const event& e : {set_kvm(fb, {1}), enforced_coherent(fa, true),
                           enforced_coherent(fb, false), register_noncoherent({1})})
      expected.push_back(e);
    check(w.log.calls() == expected);
    check(w.noncoherent() && w.kept() == 2);

    check.is(w.del(other), errc::noent);
    check.is(w.del(a), errc::ok);
    check.is(w.add(a), errc::ok);
    check.is(w.task.close(w.vm_fd), errc::ok);
    check(w.kvm.users() == 1);
    check(w.end() == std::vector{2, 1});
    check(w.always.broken().empty());
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
  static constexpr int run() {
    checks check;
    world<Profile, recording_iommu, Storage> w;
    for (const row& r : creating) {
      w.plan.fail(r.at, r.nth, r.error);
      check.is(w.create(), r.error);
      check(w.kvm.users() == 1 && w.always.allocated() == 0);
    }
    check.is(w.create(), errc::ok);
    const int fd = w.file({.coherent = false});
    for (const row& r : adding) {
      w.plan.fail(r.at, r.nth, r.error);
      check.is(w.add(fd), r.error);
      check(w.kept() == 0 && !w.noncoherent() && w.iommu.assigned() == 0);
    }
    check.is(w.add(fd), errc::ok);
    for (const row& r : deleting) {
      w.plan.fail(r.at, r.nth, r.error);
      check.is(w.del(fd), r.error);
      check(w.kept() == 1 && w.noncoherent());
    }
    check(w.plan.struck() ==
          static_cast<int>(std::size(creating) + std::size(adding) + std::size(deleting)));
    check(w.end() == std::vector{1});
    check(w.always.broken().empty());
    return check.first_failed();
  }
};

template <class Profile, class Storage>
struct tce_tables {
  static constexpr const char* name = "TCE tables";
  static constexpr int run() {
    checks check;
    world<Profile, failing_spapr_iommu<recording_spapr_iommu>, Storage> w;
    check.is(w.create(), errc::ok);
    w.iommu.table(50, errc::ok);
    const int group = w.file({.iommu_group = {7}}), none = w.file();
    check.is(w.set_spapr_tce(group, 50), errc::noent);
    check.is(w.add(group), errc::ok);
    check.is(w.add(none), errc::ok);
    check.is(w.set_spapr_tce(none, 50), errc::io);
    w.plan.fail(fault::attach, 1, errc::notty);
    check.is(w.set_spapr_tce(group, 50), errc::notty);
    check.is(w.set_spapr_tce(group, -1), errc::badf);
    check.is(w.set_spapr_tce(group, 50), errc::ok);
    check(w.iommu.attached() == 1 && w.vfio.groups_handed_out() == 1);
    check.is(w.del(group), errc::ok);
    check(w.iommu.attached() == 0 && w.iommu.groups_put() == 1);
    check(w.end() == std::vector{2});
    check(w.always.broken().empty());
    return check.first_failed();
  }
};

template <class Profile, class Storage>
struct other_address_spaces {
  static constexpr const char* name = "other address spaces";
  static constexpr int run() {
    checks check;
    world<Profile, recording_iommu, Storage> w;
    check.is(w.create(), errc::ok);
    {
      process child(w.files, w.log, &w.plan, 2);
      w.task.fork_into(child);
      check.is(child.ioctl(w.vm_fd, uapi::create_device, 0), errc::io);
      check.is(child.ioctl(w.device_fd, 0xdead, 0), errc::io);
      check.is(w.task.ioctl(w.device_fd, 0xdead, 0), errc::notty);
      check.is(w.task.ioctl(w.device_fd, uapi::get_device_attr, 0), errc::perm);
    }
    w.kvm.kill();
    check.is(w.has(1, 1), errc::io);
    check.is(w.create(), errc::io);
    check(w.end().empty());
    check(w.always.broken().empty());
    return check.first_failed();
  }
};

template <class Profile>
struct capacity {
  static constexpr const char* name = "capacity";
  static constexpr int run() {
    checks check;
    world<Profile, recording_iommu, inline_storage<2>> w;
    check.is(w.create(), errc::ok);
    const int a = w.file(), b = w.file(), c = w.file();
    check.is(w.add(a), errc::ok);
    check.is(w.add(b), errc::ok);
    check.is(w.add(c), errc::nomem);
    check.is(w.del(a), errc::ok);
    check.is(w.add(c), errc::ok);
    check(w.end() == std::vector{2, 3});
    check(w.always.broken().empty());
    return check.first_failed();
  }
};

// At compile time, then again at run time.
template <class Sequence>
int twice(const char* profile, const char* storage) {
  static_assert(Sequence::run() == 0);
  const int failed = Sequence::run();
  if (failed != 0)
    std::fprintf(stderr, "%s, %s, %s: check %d failed\n", Sequence::name, profile, storage, failed);
  return failed != 0;
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
