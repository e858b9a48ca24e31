// SPDX-License-Identifier: BSL-1.0
// The files of a VM move to another VM: in which order, what a failure of each call leaves, dead
// VMs, and the TCE tables of POWER.
#include "machine.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <algorithm>
#include <map>

namespace {

/// A VM with two groups and a device file, and the VM that they move to.
struct moving {
  explicit moving(vmm_machine<>& on) : m(on) {
    memory = must(c.map(memory_at(0)));
    device_1 = must(m.attach(1, c, files).open_device(first_device));
    group_2 = m.attach(2, c, files);
    device_file = m.plug(3, s, files);
    m.forget_calls();
  }
  vmm_machine<>& m;
  vm_files files = m.make_files();  // vm0
  container c = must(container::open(m.system));
  address_space s = must(address_space::open(m.system));
  mapping memory;
  device device_1;
  attached_group group_2;
  device device_file;
  vm_owner to = m.make_vm();  // vm1
};

sim::topology three_groups() {
  sim::topology t = two_groups();
  t.groups.push_back({.number = 3, .devices = {{.name = "0000:00:06.0"}}});
  return t;
}
const names all_files{"/dev/vfio/1", "/dev/vfio/2", "0000:00:06.0"};
names sorted(names n) {
  std::sort(n.begin(), n.end());
  return n;
}

TEST_CASE("rebind: every file moves to the new VM") {
  vmm_machine<> m(three_groups());
  {
    moving v(m);
    CHECK(v.files.rebind(v.to) == errc::ok);
    CHECK(m.calls() ==
          "ioctl(4, KVM_CREATE_DEVICE) = 0, fd 8\n"
          "ioctl(0, FILE_DEL fd 7) = 0\n"
          "ioctl(8, FILE_ADD fd 7) = 0\n"
          "ioctl(0, FILE_DEL fd 6) = 0\n"
          "ioctl(8, FILE_ADD fd 6) = 0\n"
          "ioctl(0, FILE_DEL fd 3) = 0\n"
          "ioctl(8, FILE_ADD fd 3) = 0\n"
          "close(0) = 0\n");
    CHECK(v.files.size() == 3);
    CHECK(v.files.device().fd() == 8);
    CHECK(sorted(m.tracked("vm1")) == all_files);
    CHECK(m.tracked("vm0").empty());  // the open devices keep this VM
    CHECK(v.group_2.close() == errc::ok);
    CHECK(v.device_file.close() == errc::ok);
    CHECK(m.tracked("vm1") == names{"/dev/vfio/1"});
    auto third = m.make_vm();
    CHECK(v.files.rebind(third) == errc::ok);
    CHECK(m.tracked("vm2") == names{"/dev/vfio/1"});
    // The VM may be the one that the files came to first: its kvm-vfio device is closed.
    CHECK(v.files.rebind(v.to) == errc::ok);
    CHECK(v.files.rebind(v.to) == errc::busy);
    CHECK(v.files.size() == 1);
  }
  CHECK(m.checker().count(trace::rule::second_kvm_vfio) == 1);
  CHECK(m.checker().reports().size() == 1);
}

TEST_CASE("rebind: without files only the device is changed") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto to = m.make_vm();
  m.forget_calls();
  CHECK(files.rebind(to) == errc::ok);
  CHECK(m.calls() == "ioctl(2, KVM_CREATE_DEVICE) = 0, fd 1\nclose(0) = 0\n");
  files = {};
  to = {};
  CHECK(m.finish() == "");
}

TEST_CASE("rebind: whatever call fails, every file stays on the old VM") {
  // KVM_CREATE_DEVICE, and FILE_DEL and FILE_ADD of three files.
  for (std::size_t n = 1; n <= 7; ++n) {
    INFO("call " << n);
    vmm_machine<> m(three_groups());
    {
      moving v(m);
      m.process().fail_call(n, errc::nomem);
      CHECK(v.files.rebind(v.to) == errc::nomem);
      INFO(m.calls());
      CHECK(sorted(m.tracked("vm0")) == all_files);
      CHECK(m.tracked("vm1").empty());
      CHECK(v.files.size() == 3);
      vmm_machine<> fresh(three_groups());
      const moving same(fresh);
      CHECK(difference(fresh.look(), m.look()) == "");
      CHECK(v.files.rebind(v.to) == errc::ok);
      CHECK(sorted(m.tracked("vm1")) == all_files);
    }
    CHECK(m.finish() == "");
  }
}

TEST_CASE("rebind: the files go back in this order") {
  vmm_machine<> m(three_groups());
  {
    moving v(m);
    m.fail_ioctl(KVM_SET_DEVICE_ATTR, 4, errc::nomem);
    CHECK(v.files.rebind(v.to) == errc::nomem);
    CHECK(m.calls() ==
          "ioctl(4, KVM_CREATE_DEVICE) = 0, fd 8\n"
          "ioctl(0, FILE_DEL fd 7) = 0\n"
          "ioctl(8, FILE_ADD fd 7) = 0\n"
          "ioctl(0, FILE_DEL fd 6) = 0\n"
          "ioctl(8, FILE_ADD fd 6) = ENOMEM\n"
          "close(8) = 0\n"  // before the files go back: it would take their VM away
          "ioctl(0, FILE_ADD fd 7) = 0\n"
          "ioctl(0, FILE_ADD fd 6) = 0\n");
  }
  CHECK(m.finish() == "");
}

TEST_CASE("rebind: a file that cannot go back is tried at the next time") {
  vmm_machine<> m(three_groups());
  {
    moving v(m);
    m.fail_ioctl(KVM_SET_DEVICE_ATTR, 4, errc::nomem);
    m.fail_ioctl(KVM_SET_DEVICE_ATTR, 5, errc::nomem);
    CHECK(v.files.rebind(v.to) == errc::nomem);
    CHECK(v.files.size() == 2);
    CHECK(sorted(m.tracked("vm0")) == names{"/dev/vfio/1", "/dev/vfio/2"});
    SECTION("a rebind attaches it again") {
      CHECK(v.files.rebind(v.to) == errc::ok);
      CHECK(v.files.size() == 3);
    }
    SECTION("no FILE_DEL is called for it") { CHECK(v.device_file.close() == errc::ok); }
  }
  CHECK(m.finish() == "");
}

TEST_CASE("rebind: a file that somebody else took out moves, too") {
  vmm_machine<> m(three_groups());
  moving v(m);
  auto old_device = v.files.device();
  REQUIRE(kvm_vfio::file_del(old_device, v.group_2.view().fd()) == errc::ok);
  CHECK(v.files.rebind(v.to) == errc::ok);
  CHECK(sorted(m.tracked("vm1")) == all_files);
}

TEST_CASE("rebind: the old VM is dead") {
  vmm_machine<> m(three_groups());
  {
    moving v(m);
    m.kernel().kill(0);
    SECTION("its device is closed, and every file is added to the new one") {
      CHECK(v.files.rebind(v.to) == errc::ok);
      CHECK(m.calls() ==
            "ioctl(4, KVM_CREATE_DEVICE) = 0, fd 8\n"
            "ioctl(0, FILE_DEL fd 7) = EIO\n"
            "close(0) = 0\n"
            "ioctl(8, FILE_ADD fd 7) = 0\n"
            "ioctl(8, FILE_ADD fd 6) = 0\n"
            "ioctl(8, FILE_ADD fd 3) = 0\n");
      CHECK(sorted(m.tracked("vm1")) == all_files);
    }
    SECTION("a file that the new VM does not take is in none, and the others are") {
      m.fail_ioctl(KVM_SET_DEVICE_ATTR, 3, errc::nomem);
      CHECK(v.files.rebind(v.to) == errc::nomem);
      CHECK(v.files.size() == 2);
      CHECK(sorted(m.tracked("vm1")) == names{"/dev/vfio/1", "0000:00:06.0"});
      m.forget_calls();
      CHECK(v.group_2.close() == errc::ok);  // without FILE_DEL
      CHECK(m.calls() ==
            "ioctl(6, UNSET_CONTAINER) = 0\n"
            "close(6) = 0\n");
    }
    SECTION("the new VM is dead, too: the next rebind takes all files") {
      m.kernel().kill(1);
      CHECK(v.files.rebind(v.to) == errc::io);  // KVM_CREATE_DEVICE
      CHECK(v.files.size() == 3);
      auto third = m.make_vm();
      CHECK(v.files.rebind(third) == errc::ok);
      CHECK(sorted(m.tracked("vm2")) == all_files);
    }
  }
  CHECK(m.finish() == "");
}

TEST_CASE("rebind: the old VM dies between two files") {
  vmm_machine<> m(three_groups());
  {
    moving v(m);
    m.fail_ioctl(KVM_SET_DEVICE_ATTR, 3, errc::io);
    CHECK(v.files.rebind(v.to) == errc::ok);
    CHECK(m.calls() ==
          "ioctl(4, KVM_CREATE_DEVICE) = 0, fd 8\n"
          "ioctl(0, FILE_DEL fd 7) = 0\n"
          "ioctl(8, FILE_ADD fd 7) = 0\n"
          "ioctl(0, FILE_DEL fd 6) = EIO\n"
          "close(0) = 0\n"
          "ioctl(8, FILE_ADD fd 6) = 0\n"
          "ioctl(8, FILE_ADD fd 3) = 0\n");
    CHECK(sorted(m.tracked("vm1")) == all_files);
  }
  CHECK(m.finish() == "");
}

TEST_CASE("A dead VM refuses FILE_ADD and FILE_DEL, and devices still go away") {
  vmm_machine<> m(three_groups());
  moving v(m);
  auto second = must(v.group_2.open_device(second_device));
  v.group_2 = {};
  m.kernel().kill(0);
  CHECK(v.device_file.close() == errc::io);
  CHECK(second.close() == errc::io);
  CHECK(v.files.size() == 1);
  auto open = must(device_file::open(3, m.system));
  CHECK(std::move(open).attach(v.files).error() == errc::io);
}

using spapr_machine = vmm_machine<kvm_vfio::linux_7_3, sim::kvm_spapr_tce>;

/// Maps a table of the old VM to one of the new.
struct tables {
  const std::map<int, int>* all;
  std::vector<int>* asked;
  int operator()(int fd) const noexcept {
    asked->push_back(fd);
    const auto found = all->find(fd);
    return found == all->end() ? -1 : found->second;
  }
};

/// A group that is attached to two TCE tables of a VM.
struct spapr_moving {
  spapr_machine m{two_groups(), {.iommu = sim::iommu_kind::spapr, .device_files = false}};
  vm_owner from = m.make_vm();
  vm_owner to = m.make_vm();
  vm_files files = must(vm_files::create(from));
  container c = must(container::open(m.system));
  attached_group group = in_container();
  container c2 = must(container::open(m.system));  // this driver takes one group only
  attached_group other =
      must(must(must(must(group_file::open(2, m.system)).join(c2)).set_iommu(VFIO_SPAPR_TCE_IOMMU))
               .attach(files));
  int small_pages = table(from, 12, 1 << 18);
  int large_pages = table(from, 16, 1 << 14);
  int new_small = table(to, 12, 1 << 18);
  int new_large = table(to, 16, 1 << 14);
  std::vector<int> asked;

  int table(const vm_owner& of, std::uint32_t page_shift, std::uint64_t pages) {
    kvm_vfio::uapi::create_spapr_tce_64 made{
        .liobn = page_shift, .page_shift = page_shift, .flags = 0, .offset = 0, .size = pages};
    return must(m.system.ioctl(of.fd(), kvm_vfio::uapi::request_create_spapr_tce_64,
                               reinterpret_cast<std::uintptr_t>(&made)));
  }
  attached_group in_container() {
    auto ready =
        must(must(must(group_file::open(1, m.system)).join(c)).set_iommu(VFIO_SPAPR_TCE_IOMMU));
    REQUIRE(m.system.ioctl(c.view().fd(), VFIO_IOMMU_ENABLE, 0));
    mapping window = must(c.map(memory_at(0)));
    window.release();  // the group's window exists from the first mapping on
    return must(std::move(ready).attach(files));
  }
};

TEST_CASE("rebind: the TCE tables of a group move, too") {
  spapr_moving v;
  spapr_machine& m = v.m;
  REQUIRE(v.group.set_spapr_tce(v.small_pages) == errc::ok);
  REQUIRE(v.group.set_spapr_tce(v.large_pages) == errc::ok);
  REQUIRE(v.group.set_spapr_tce(v.small_pages) == errc::ok);
  CHECK(v.group.set_spapr_tce(v.new_small) == errc::inval);  // a table of another VM
  const std::map<int, int> moves{{v.small_pages, v.new_small}, {v.large_pages, v.new_large}};
  m.forget_calls();
  CHECK(v.files.rebind(v.to, tables{&moves, &v.asked}) == errc::ok);
  CHECK(m.calls() ==
        "ioctl(2, KVM_CREATE_DEVICE) = 0, fd 11\n"
        "ioctl(0, FILE_DEL fd 6) = 0\n"
        "ioctl(11, FILE_ADD fd 6) = 0\n"
        "ioctl(0, FILE_DEL fd 4) = 0\n"
        "ioctl(11, FILE_ADD fd 4) = 0\n"
        "ioctl(11, SET_SPAPR_TCE fd 4) = 0\n"
        "ioctl(11, SET_SPAPR_TCE fd 4) = 0\n"
        "close(0) = 0\n");
  CHECK(v.asked == std::vector<int>{v.small_pages, v.large_pages});
  CHECK(m.tracked("vm1").size() == 2);

  // At the next time the tables are those of the second VM.
  auto third = m.make_vm();
  const std::map<int, int> again{{v.new_small, v.table(third, 12, 1 << 18)},
                                 {v.new_large, v.table(third, 16, 1 << 14)}};
  v.asked.clear();
  CHECK(v.files.rebind(third, tables{&again, &v.asked}) == errc::ok);
  CHECK(v.asked == std::vector<int>{v.new_small, v.new_large});
}

TEST_CASE("rebind: TCE tables that cannot move") {
  spapr_moving v;
  spapr_machine& m = v.m;
  REQUIRE(v.group.set_spapr_tce(v.small_pages) == errc::ok);
  REQUIRE(v.group.set_spapr_tce(v.large_pages) == errc::ok);
  std::map<int, int> moves{{v.small_pages, v.new_small}, {v.large_pages, v.new_large}};
  const auto is_back = [&v, &m] {
    CHECK(m.tracked("vm0").size() == 2);
    CHECK(m.tracked("vm1").empty());
    CHECK(v.files.size() == 2);
  };
  SECTION("there is no table for one of them") {
    moves.erase(v.large_pages);
    CHECK(v.files.rebind(v.to, tables{&moves, &v.asked}) == errc::badf);
    is_back();
  }
  SECTION("nobody says which") {
    CHECK(v.files.rebind(v.to) == errc::badf);
    is_back();
  }
  SECTION("the table is one of the old VM") {
    moves[v.small_pages] = v.small_pages;
    CHECK(v.files.rebind(v.to, tables{&moves, &v.asked}) == errc::inval);
    is_back();
  }
  SECTION("the calls") {
    moves[v.large_pages] = v.large_pages;
    m.forget_calls();
    CHECK(v.files.rebind(v.to, tables{&moves, &v.asked}) == errc::inval);
    CHECK(m.calls() ==
          "ioctl(2, KVM_CREATE_DEVICE) = 0, fd 11\n"
          "ioctl(0, FILE_DEL fd 6) = 0\n"
          "ioctl(11, FILE_ADD fd 6) = 0\n"
          "ioctl(0, FILE_DEL fd 4) = 0\n"
          "ioctl(11, FILE_ADD fd 4) = 0\n"
          "ioctl(11, SET_SPAPR_TCE fd 4) = 0\n"
          "ioctl(11, SET_SPAPR_TCE fd 4) = EINVAL\n"
          "ioctl(11, FILE_DEL fd 4) = 0\n"
          "close(11) = 0\n"
          "ioctl(0, FILE_ADD fd 6) = 0\n"
          "ioctl(0, FILE_ADD fd 4) = 0\n"
          "ioctl(0, SET_SPAPR_TCE fd 4) = 0\n"
          "ioctl(0, SET_SPAPR_TCE fd 4) = 0\n");
    is_back();
  }
  SECTION("the old VM is dead") {
    m.kernel().kill(0);
    moves[v.small_pages] = -1;
    CHECK(v.files.rebind(v.to, tables{&moves, &v.asked}) == errc::badf);
    CHECK(m.tracked("vm1") == names{"/dev/vfio/2"});
    CHECK(v.files.size() == 1);
    CHECK(v.group.close() == errc::ok);
    return;
  }
  moves = {{v.small_pages, v.new_small}, {v.large_pages, v.new_large}};
  CHECK(v.files.rebind(v.to, tables{&moves, &v.asked}) == errc::ok);
  CHECK(m.tracked("vm1").size() == 2);
}

}  // namespace
