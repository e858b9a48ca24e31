// SPDX-License-Identifier: BSL-1.0
// POWER: attribute 3, and what FILE_DEL and the last close do about TCE tables.

#include <optional>
#include <string>
#include <vector>

#include "calls.hpp"
#include "world.hpp"

namespace tests {
namespace {

using std::string;

// Descriptors of TCE tables.
constexpr int fits = 50, does_not_fit = 51;

const string read = "copy_from_user() = true; copy_from_user() = true; ";

template <class Profile>
using power = world<Profile, failing_spapr_iommu<recording_spapr_iommu>>;

TEMPLATE_TEST_CASE("GROUP_SET_SPAPR_TCE, fault by fault", "", linux_7_3, linux_6_12, linux_6_1) {
  // Descriptors of file 1, which is tracked and has IOMMU group 7, of file 2, which is tracked and
  // has none, of file 3, a group that is not tracked, and of file 4, which is not VFIO's.
  static constexpr int group = power<linux_7_3>::first_file, groupless = group + 1,
                       untracked = group + 2, stranger = group + 3;
  struct row {
    const char* when;
    ordered_fault fails{};
    int groupfd = group;
    int tablefd = fits;
    errc answer = errc::ok;
    bool has_group = false;  // the entry, afterwards
    string expected;
  };
  const string found = read + "fget(2) = file 1; lock(2); ";
  const string grouped = found + "[iommu_group(file 1) = group 7]; ";
  const string done = "unlock(2); fput(file 1)";
  const string attach = "spapr_tce_attach(vm 1, table 50, group 7); ";
  const string no_group = "warn(attach_without_iommu_group); ";
  const row rows[] = {
      {.when = "all is well", .has_group = true, .expected = grouped + attach + done},
      {.when = "the attribute cannot be read",
       .fails = {.at = fault::copy_from_user, .nth = 1, .error = errc::fault},
       .answer = errc::fault,
       .expected = "copy_from_user() = false"},
      {.when = "the argument cannot be read",
       .fails = {.at = fault::copy_from_user, .nth = 2, .error = errc::fault},
       .answer = errc::fault,
       .expected = "copy_from_user() = true; copy_from_user() = false"},
      {.when = "the look-up fails",
       .fails = {.at = fault::fget, .nth = 1, .error = errc::badf},
       .answer = errc::badf,
       .expected = read + "fget(2) = no file"},
      {.when = "groupfd is negative",
       .groupfd = -1,
       .answer = errc::badf,
       .expected = read + "fget(-1) = no file"},
      {.when = "not tracked: the table is not looked at",
       .groupfd = untracked,
       .tablefd = -1,
       .answer = errc::noent,
       .expected = read + "fget(4) = file 3; lock(2); unlock(2); fput(file 3)"},
      {.when = "not tracked, nor a VFIO file",
       .groupfd = stranger,
       .answer = errc::noent,
       .expected = read + "fget(5) = file 4; lock(2); unlock(2); fput(file 4)"},
      {.when = "a device file has no IOMMU group",
       .groupfd = groupless,
       .answer = errc::io,
       .expected = read + "fget(3) = file 2; lock(2); [iommu_group(file 2) = no group]; " +
                   no_group + "unlock(2); fput(file 2)"},
      {.when = "the symbol is missing",
       .fails = {.at = fault::symbol_iommu_group, .nth = 1, .error = errc::noent},
       .answer = errc::io,
       .expected = found + no_group + done},
      {.when = "tablefd is not open",
       .tablefd = -1,
       .answer = errc::badf,
       .has_group = true,
       .expected = grouped + "spapr_tce_attach(vm 1, table -1, group 7); " + done},
      {.when = "the table does not fit",
       .tablefd = does_not_fit,
       .answer = errc::inval,
       .has_group = true,
       .expected = grouped + "spapr_tce_attach(vm 1, table 51, group 7); " + done},
      {.when = "no table data",
       .fails = {.at = fault::attach, .nth = 1, .error = errc::fault},
       .answer = errc::fault,
       .has_group = true,
       .expected = grouped + done},
      {.when = "the table is going away",
       .fails = {.at = fault::attach, .nth = 1, .error = errc::notty},
       .answer = errc::notty,
       .has_group = true,
       .expected = grouped + done},
      {.when = "no memory",
       .fails = {.at = fault::attach, .nth = 1, .error = errc::nomem},
       .answer = errc::nomem,
       .has_group = true,
       .expected = grouped + done},
  };
  for (const row& r : rows) {
    INFO(TestType::name << ", GROUP_SET_SPAPR_TCE, " << r.when);
    power<TestType> w;
    REQUIRE(w.create() == errc::ok);
    REQUIRE(w.file({.iommu_group = {7}}) == group);
    REQUIRE(w.file() == groupless);
    REQUIRE(w.file({.iommu_group = {8}}) == untracked);
    REQUIRE(w.file({.kind = file_kind::other}) == stranger);
    w.iommu.table(fits, errc::ok);
    REQUIRE(w.add(group) == errc::ok);
    REQUIRE(w.add(groupless) == errc::ok);
    r.fails.order(w.plan);
    CHECK(w.set_spapr_tce(r.groupfd, r.tablefd) == r.answer);
    CHECK(to_string(w.log.all()) == calls(r.expected));
    CHECK(w.plan.struck() == (r.fails ? 1 : 0));
    CHECK(w.kept() == 2);
    CHECK(w.vfio.groups_handed_out() == (r.has_group ? 1 : 0));
    CHECK(w.iommu.attached() == (r.answer == errc::ok ? 1 : 0));

    // Attached again, now without a fault: the group that the entry has is not asked for again.
    w.plan.clear();
    CHECK(w.set_spapr_tce(group, fits) == errc::ok);
    CHECK(to_string(w.log.all()) == calls((r.has_group ? found : grouped) + attach + done));
    CHECK(w.set_spapr_tce(group, fits) == errc::ok);
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
    std::optional<int> tablefd{};  // none: attribute 3 is not set
    errc answer = errc::ok;        // of attribute 3
    string freed;
  };
  const string let_go = "spapr_tce_release(vm 1, group 7); iommu_group_put(group 7); ";
  const string warned = "warn(release_without_iommu_group); ";
  const row rows[] = {
      {.when = "attribute 3 was never set", .freed = warned},
      {.when = "attached", .tablefd = fits, .freed = let_go},
      {.when = "the attach failed with EBADF: the entry has its group",
       .tablefd = -1,
       .answer = errc::badf,
       .freed = let_go},
      {.when = "the attach failed with EINVAL: the entry has its group",
       .tablefd = does_not_fit,
       .answer = errc::inval,
       .freed = let_go},
  };
  const string told = "[set_kvm(file 1, no vm)]; fput(file 1); free(); ";
  const string end = "end_assignment(vm 1); ";
  for (const row& r : rows) {
    for (const bool by_close : {false, true}) {
      INFO(TestType::name << (by_close ? ", close, " : ", FILE_DEL, ") << r.when);
      power<TestType> w;
      REQUIRE(w.create() == errc::ok);
      w.iommu.table(fits, errc::ok);
      const int fd = w.file({.iommu_group = {7}});
      REQUIRE(w.add(fd) == errc::ok);
      if (r.tablefd) CHECK(w.set_spapr_tce(fd, *r.tablefd) == r.answer);
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
    CHECK(w.set_spapr_tce(fd, fits) == errc::io);
    CHECK(w.log.count(call::warn) == 1);
    CHECK(w.del(fd) == errc::ok);
    CHECK(w.log.count(call::warn) == 1);
  }
}

TEMPLATE_TEST_CASE("A DEL that set_kvm refuses keeps the file, without its tables", "", linux_7_3,
                   linux_6_12, linux_6_1) {
  power<TestType> w;
  REQUIRE(w.create() == errc::ok);
  w.iommu.table(fits, errc::ok);
  const int fd = w.file({.iommu_group = {7}});
  REQUIRE(w.add(fd) == errc::ok);
  REQUIRE(w.set_spapr_tce(fd, fits) == errc::ok);
  w.plan.fail(fault::set_kvm, 1, errc::nospc);
  CHECK(w.del(fd) == errc::nospc);
  CHECK(w.iommu.attached() == 0);
  CHECK(w.iommu.groups_put() == 1);
  CHECK(w.kept() == 1);
  // It asks for its group anew.
  CHECK(w.set_spapr_tce(fd, fits) == errc::ok);
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
  iommu.table(fits, errc::ok);
  device dev(vfio, null_lock{}, iommu, vm_id{1}, linux_7_3{}, heap_storage{},
             open_files::policy(files));
  const file_id f = vfio.make({.iommu_group = {7}});
  CHECK(dev.set_spapr_tce(f, fits) == errc::noent);
  REQUIRE(dev.add(f) == errc::ok);
  CHECK(dev.set_spapr_tce(f, fits) == errc::ok);
  CHECK(dev.set_spapr_tce(f, does_not_fit) == errc::inval);
  CHECK(dev.set_spapr_tce(f, -1) == errc::badf);
  plan.fail(fault::get_file, 1, errc::mfile);
  CHECK(dev.set_spapr_tce(f, fits) == errc::ok);  // takes no reference
  CHECK(iommu.attached() == 1);
  CHECK(files.references(f) == 1);
}

}  // namespace
}  // namespace tests
