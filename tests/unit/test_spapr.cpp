// SPDX-License-Identifier: BSL-1.0
// POWER: attribute 3, and what FILE_DEL and the last close do about TCE tables.

#include <string>
#include <vector>

#include "calls.hpp"
#include "world.hpp"

namespace tests {
namespace {

using std::string;

const string read = "copy_from_user() = true; copy_from_user() = true; ";

template <class Profile>
using power = world<Profile, failing_spapr_iommu<recording_spapr_iommu>>;

TEMPLATE_TEST_CASE("GROUP_SET_SPAPR_TCE, fault by fault", "", linux_7_3, linux_6_12, linux_6_1) {
  struct row {
    const char* when;
    fault at;
    int nth;
    errc error;
    int groupfd;
    int tablefd;
    errc answer;
    bool has_group;  // the entry, afterwards
    string expected;
  };
  // Descriptors: 0 the VM, 1 kvm-vfio, then files 1 (tracked, group 7), 2 (tracked, no group),
  // 3 (a group that is not tracked), 4 (not VFIO's). Table 50 fits, 51 does not.
  const string found = read + "fget(2) = file 1; lock(2); ";
  const string grouped = found + "[iommu_group(file 1) = group 7]; ";
  const string done = "unlock(2); fput(file 1)";
  const string attach = "spapr_tce_attach(vm 1, table 50, group 7); ";
  const string no_group = "warn(attach_without_iommu_group); ";
  const row rows[] = {
      {"all is well", fault::attach, 0, errc::ok, 2, 50, errc::ok, true, grouped + attach + done},
      {"the attribute cannot be read", fault::copy_from_user, 1, errc::fault, 2, 50, errc::fault,
       false, "copy_from_user() = false"},
      {"the argument cannot be read", fault::copy_from_user, 2, errc::fault, 2, 50, errc::fault,
       false, "copy_from_user() = true; copy_from_user() = false"},
      {"the look-up fails", fault::fget, 1, errc::badf, 2, 50, errc::badf, false,
       read + "fget(2) = no file"},
      {"groupfd is negative", fault::attach, 0, errc::ok, -1, 50, errc::badf, false,
       read + "fget(-1) = no file"},
      {"not tracked: the table is not looked at", fault::attach, 0, errc::ok, 4, -1, errc::noent,
       false, read + "fget(4) = file 3; lock(2); unlock(2); fput(file 3)"},
      {"not tracked, nor a VFIO file", fault::attach, 0, errc::ok, 5, 50, errc::noent, false,
       read + "fget(5) = file 4; lock(2); unlock(2); fput(file 4)"},
      {"a device file has no IOMMU group", fault::attach, 0, errc::ok, 3, 50, errc::io, false,
       read + "fget(3) = file 2; lock(2); [iommu_group(file 2) = no group]; " + no_group +
           "unlock(2); fput(file 2)"},
      {"the symbol is missing", fault::symbol_iommu_group, 1, errc::noent, 2, 50, errc::io, false,
       found + no_group + done},
      {"tablefd is not open", fault::attach, 0, errc::ok, 2, -1, errc::badf, true,
       grouped + "spapr_tce_attach(vm 1, table -1, group 7); " + done},
      {"the table does not fit", fault::attach, 0, errc::ok, 2, 51, errc::inval, true,
       grouped + "spapr_tce_attach(vm 1, table 51, group 7); " + done},
      {"no table data", fault::attach, 1, errc::fault, 2, 50, errc::fault, true, grouped + done},
      {"the table is going away", fault::attach, 1, errc::notty, 2, 50, errc::notty, true,
       grouped + done},
      {"no memory", fault::attach, 1, errc::nomem, 2, 50, errc::nomem, true, grouped + done},
  };
  for (const row& r : rows) {
    INFO(TestType::name << ", GROUP_SET_SPAPR_TCE, " << r.when);
    power<TestType> w;
    REQUIRE(w.create() == errc::ok);
    const int first = w.file({.iommu_group = {7}});
    const int second = w.file();
    w.file({.iommu_group = {8}});
    w.file({.kind = file_kind::other});
    w.iommu.table(50, errc::ok);
    REQUIRE(w.add(first) == errc::ok);
    REQUIRE(w.add(second) == errc::ok);
    if (r.nth) w.plan.fail(r.at, r.nth, r.error);
    CHECK(w.set_spapr_tce(r.groupfd, r.tablefd) == r.answer);
    CHECK(to_string(w.log.all()) == calls(r.expected));
    CHECK(w.plan.struck() == (r.nth ? 1 : 0));
    CHECK(w.kept() == 2);
    CHECK(w.vfio.groups_handed_out() == (r.has_group ? 1 : 0));
    CHECK(w.iommu.attached() == (r.answer == errc::ok ? 1 : 0));

    // Attached again, now without a fault: the group that the entry has is not asked for again.
    w.plan.clear();
    CHECK(w.set_spapr_tce(first, 50) == errc::ok);
    CHECK(to_string(w.log.all()) == calls((r.has_group ? found : grouped) + attach + done));
    CHECK(w.set_spapr_tce(first, 50) == errc::ok);
    CHECK(to_string(w.log.all()) == calls(found + attach + done));
    CHECK(w.iommu.attached() == 1);
    CHECK(w.end() == std::vector{1, 2});
    CHECK(w.always.broken() == "");
  }
}

TEMPLATE_TEST_CASE("FILE_DEL and the last close let go of the IOMMU group, or warn", "", linux_7_3,
                   linux_6_12, linux_6_1) {
  struct row {
    const char* when;
    int tablefd;  // 0: attribute 3 is not set
    errc answer;  // of attribute 3
    string freed;
  };
  const string let_go = "spapr_tce_release(vm 1, group 7); iommu_group_put(group 7); ";
  const string warned = "warn(release_without_iommu_group); ";
  const row rows[] = {
      {"attribute 3 was never set", 0, errc::ok, warned},
      {"attached", 50, errc::ok, let_go},
      {"the attach failed with EBADF: the entry has its group", -1, errc::badf, let_go},
      {"the attach failed with EINVAL: the entry has its group", 51, errc::inval, let_go},
  };
  const string told = "[set_kvm(file 1, no vm)]; fput(file 1); free(); ";
  const string end = "end_assignment(vm 1); ";
  for (const row& r : rows) {
    for (const bool by_close : {false, true}) {
      INFO(TestType::name << (by_close ? ", close, " : ", FILE_DEL, ") << r.when);
      power<TestType> w;
      REQUIRE(w.create() == errc::ok);
      w.iommu.table(50, errc::ok);
      const int fd = w.file({.iommu_group = {7}});
      REQUIRE(w.add(fd) == errc::ok);
      if (r.tablefd) CHECK(w.set_spapr_tce(fd, r.tablefd) == r.answer);
      string expected;
      if (by_close) {
        CHECK(w.close(w.device_fd) == errc::ok);
        w.device_fd = -1;
        const string entry =
            pick<TestType>(r.freed + told, r.freed + told + end, r.freed + told + end);
        const string apart = TestType::updates_coherency_apart ? "lock(2); unlock(2); " : "";
        expected = "lock(1); " + entry + apart + "free(); free(); unlock(1)";
      } else {
        CHECK(w.del(fd) == errc::ok);
        expected = read + "fget(2) = file 1; lock(2); " +
                   pick<TestType>(r.freed + told + "unlock(2); fput(file 1)",
                                  end + r.freed + told + "unlock(2); fput(file 1)",
                                  end + r.freed + told +
                                      "unlock(2); fput(file 1); lock(2); "
                                      "unlock(2)");
      }
      CHECK(to_string(w.log.all()) == calls(expected));
      CHECK(w.end().empty());
      CHECK(w.always.broken() == "");
    }
  }
}

TEST_CASE("The backend is told of every warning: to print it once is its own business") {
  power<linux_7_3> w;
  REQUIRE(w.create() == errc::ok);
  const int fd = w.file();
  for (int round = 0; round < 2; ++round) {
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.set_spapr_tce(fd, 50) == errc::io);
    CHECK(w.log.count(call::warn) == 1);
    CHECK(w.del(fd) == errc::ok);
    CHECK(w.log.count(call::warn) == 1);
  }
}

TEMPLATE_TEST_CASE("A DEL that set_kvm refuses keeps the file, without its tables", "", linux_7_3,
                   linux_6_12, linux_6_1) {
  power<TestType> w;
  REQUIRE(w.create() == errc::ok);
  w.iommu.table(50, errc::ok);
  const int fd = w.file({.iommu_group = {7}});
  REQUIRE(w.add(fd) == errc::ok);
  REQUIRE(w.set_spapr_tce(fd, 50) == errc::ok);
  w.plan.fail(fault::set_kvm, 1, errc::nospc);
  CHECK(w.del(fd) == errc::nospc);
  CHECK(w.iommu.attached() == 0);
  CHECK(w.iommu.groups_put() == 1);
  CHECK(w.kept() == 1);
  // It asks for its group anew.
  CHECK(w.set_spapr_tce(fd, 50) == errc::ok);
  CHECK(w.vfio.groups_handed_out() == 2);
  CHECK(w.end() == std::vector{1});
  CHECK(w.always.broken() == "");
}

TEST_CASE("Attribute 3 exists with an sPAPR backend alone") {
  world<> x86;
  REQUIRE(x86.create() == errc::ok);
  CHECK(x86.has(uapi::dev_vfio_file, uapi::dev_vfio_group_set_spapr_tce) == errc::nxio);
  CHECK(x86.set_spapr_tce(0, 0) == errc::nxio);
  CHECK(to_string(x86.log.all()) == calls("copy_from_user() = true"));
  power<linux_7_3> w;
  REQUIRE(w.create() == errc::ok);
  CHECK(w.has(uapi::dev_vfio_file, uapi::dev_vfio_group_set_spapr_tce) == errc::ok);
  CHECK(w.has(uapi::dev_vfio_file, uapi::dev_vfio_group_set_spapr_tce + 1) == errc::nxio);
  CHECK(w.set(uapi::dev_vfio_file, uapi::dev_vfio_group_set_spapr_tce, 0) == errc::fault);
  // The struct is 8 bytes: at the very end it is readable, a byte later it is not.
  CHECK(w.set(uapi::dev_vfio_file, uapi::dev_vfio_group_set_spapr_tce, w.inner + w.page - 8) ==
        errc::noent);  // descriptor 0: the VM, not tracked
  CHECK(w.set(uapi::dev_vfio_file, uapi::dev_vfio_group_set_spapr_tce, w.inner + w.page - 7) ==
        errc::fault);
}

TEST_CASE("A table is attached by file handle, without a calling task") {
  journal log;
  fault_plan plan;
  recording_symbols vfio(log);
  recording_spapr_iommu iommu(log);
  open_files files(log, &plan);
  iommu.table(50, errc::ok);
  device dev(vfio, null_lock{}, iommu, vm_id{1}, linux_7_3{}, heap_storage{},
             open_files::policy(files));
  const file_id f = vfio.make({.iommu_group = {7}});
  CHECK(dev.set_spapr_tce(f, 50) == errc::noent);
  REQUIRE(dev.add(f) == errc::ok);
  CHECK(dev.set_spapr_tce(f, 50) == errc::ok);
  CHECK(dev.set_spapr_tce(f, 51) == errc::inval);
  CHECK(dev.set_spapr_tce(f, -1) == errc::badf);
  plan.fail(fault::get_file, 1, errc::mfile);
  CHECK(dev.set_spapr_tce(f, 50) == errc::ok);  // takes no reference
  CHECK(iommu.attached() == 1);
  CHECK(files.references(f) == 1);
}

}  // namespace
}  // namespace tests
