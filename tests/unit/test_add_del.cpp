// SPDX-License-Identifier: BSL-1.0
// FILE_ADD and FILE_DEL: each fault at each point, in each profile, with every call in order.

#include <string>
#include <vector>

#include "calls.hpp"
#include "world.hpp"

namespace tests {
namespace {

using std::string;

struct row {
  const char* when;
  fault at;
  int nth;     // 0: no fault
  errc error;  // what the fault answers
  int fd;
  errc answer;
  std::vector<int> tracked;  // afterwards
  bool noncoherent;          // afterwards
  string expected;
};
constexpr fault no_fault = fault::allocate;

template <class World>
void check(World& w, const row& r, errc answer) {
  CHECK(answer == r.answer);
  CHECK(to_string(w.log.all()) == calls(r.expected));
  CHECK(w.plan.struck() == (r.nth ? 1 : 0));
  CHECK(w.kept() == static_cast<int>(r.tracked.size()));
  CHECK(w.noncoherent() == r.noncoherent);
  CHECK(w.end() == r.tracked);
  CHECK(w.always.broken() == "");
}

const string attr = "copy_from_user() = true; ";
const string read = "copy_from_user() = true; copy_from_user() = true; ";

TEMPLATE_TEST_CASE("FILE_ADD, fault by fault", "", linux_7_3, linux_6_12, linux_6_1) {
  // Descriptors: 0 the VM, 1 kvm-vfio, then files 1 (tracked, coherent), 2 (not), 3 (not VFIO's).
  const fault no_validity = missing(TestType::validity);
  const auto valid = [](int file, bool answer) {
    const auto text = "(file " + std::to_string(file) + ") = " + (answer ? "true" : "false");
    return pick<TestType, string>("[is_valid" + text + "]; ", "[is_valid" + text + "]; ",
                                  "[is_group" + text + "]; ");
  };
  const string to_lock = read + "fget(3) = file 2; " + valid(2, true) + "lock(2); ";
  const string asked =
      "[enforced_coherent(file 1) = true]; [enforced_coherent(file 2) = false]; "
      "register_noncoherent(vm 1); ";
  const row rows[] = {
      {"all is well",
       no_fault,
       0,
       errc::ok,
       3,
       errc::ok,
       {1, 2},
       true,
       to_lock +
           pick<TestType, string>(
               "allocate() = true; get_file(file 2); [set_kvm(file 2, vm 1)]; " + asked +
                   "unlock(2); fput(file 2)",
               "allocate() = true; get_file(file 2); start_assignment(vm 1); "
               "[set_kvm(file 2, vm 1)]; " +
                   asked + "unlock(2); fput(file 2)",
               "allocate() = true; start_assignment(vm 1); [set_kvm(file 2, vm 1)]; unlock(2); "
               "lock(2); " +
                   asked + "unlock(2)")},
      {"the attribute cannot be read",
       fault::copy_from_user,
       1,
       errc::fault,
       3,
       errc::fault,
       {1},
       false,
       "copy_from_user() = false"},
      {"the descriptor cannot be read",
       fault::copy_from_user,
       2,
       errc::fault,
       3,
       errc::fault,
       {1},
       false,
       attr + "copy_from_user() = false"},
      {"the look-up fails",
       fault::fget,
       1,
       errc::badf,
       3,
       errc::badf,
       {1},
       false,
       read + "fget(3) = no file"},
      {"not open", no_fault, 0, errc::ok, 9, errc::badf, {1}, false, read + "fget(9) = no file"},
      {"negative", no_fault, 0, errc::ok, -1, errc::badf, {1}, false, read + "fget(-1) = no file"},
      {"not a VFIO file",
       no_fault,
       0,
       errc::ok,
       4,
       errc::inval,
       {1},
       false,
       read + "fget(4) = file 3; " + valid(3, false) + "fput(file 3)"},
      {"the validity symbol is missing",
       no_validity,
       1,
       errc::noent,
       3,
       errc::inval,
       {1},
       false,
       read + "fget(3) = file 2; fput(file 2)"},
      {"tracked already",
       no_fault,
       0,
       errc::ok,
       2,
       errc::exists,
       {1},
       false,
       read + "fget(2) = file 1; " + valid(1, true) + "lock(2); unlock(2); fput(file 1)"},
      {"no memory",
       fault::allocate,
       1,
       errc::nomem,
       3,
       errc::nomem,
       {1},
       false,
       to_lock + "allocate() = false; unlock(2); fput(file 2)"},
      {"set_kvm is missing",
       fault::symbol_set_kvm,
       1,
       errc::noent,
       3,
       errc::ok,
       {1, 2},
       true,
       to_lock + pick<TestType, string>(
                     "allocate() = true; get_file(file 2); " + asked + "unlock(2); fput(file 2)",
                     "allocate() = true; get_file(file 2); start_assignment(vm 1); " + asked +
                         "unlock(2); fput(file 2)",
                     "allocate() = true; start_assignment(vm 1); unlock(2); lock(2); " + asked +
                         "unlock(2)")},
      {"set_kvm fails: ADD undoes itself",
       fault::set_kvm,
       1,
       errc::nospc,
       3,
       errc::nospc,
       {1},
       false,
       // The call that failed left no event of its own between its symbol's get and put.
       to_lock + pick<TestType, string>(
                     "allocate() = true; get_file(file 2); symbol_get(vfio_file_set_kvm); "
                     "symbol_put(vfio_file_set_kvm); fput(file 2); free(); unlock(2); fput(file 2)",
                     "allocate() = true; get_file(file 2); start_assignment(vm 1); "
                     "symbol_get(vfio_file_set_kvm); symbol_put(vfio_file_set_kvm); "
                     "end_assignment(vm 1); "
                     "fput(file 2); free(); unlock(2); fput(file 2)",
                     "allocate() = true; start_assignment(vm 1); symbol_get(vfio_file_set_kvm); "
                     "symbol_put(vfio_file_set_kvm); end_assignment(vm 1); fput(file 2); free(); "
                     "unlock(2)")},
      {"enforced_coherent is missing: noncoherent at the first",
       fault::symbol_enforced_coherent,
       1,
       errc::noent,
       3,
       errc::ok,
       {1, 2},
       true,
       to_lock +
           pick<TestType, string>(
               "allocate() = true; get_file(file 2); [set_kvm(file 2, vm 1)]; "
               "register_noncoherent(vm 1); unlock(2); fput(file 2)",
               "allocate() = true; get_file(file 2); start_assignment(vm 1); "
               "[set_kvm(file 2, vm 1)]; register_noncoherent(vm 1); unlock(2); fput(file 2)",
               "allocate() = true; start_assignment(vm 1); [set_kvm(file 2, vm 1)]; unlock(2); "
               "lock(2); register_noncoherent(vm 1); unlock(2)")},
      {"enforced_coherent is missing at the second look-up",
       fault::symbol_enforced_coherent,
       2,
       errc::noent,
       3,
       errc::ok,
       {1, 2},
       true,
       to_lock +
           pick<TestType, string>(
               "allocate() = true; get_file(file 2); [set_kvm(file 2, vm 1)]; "
               "[enforced_coherent(file 1) = true]; register_noncoherent(vm 1); unlock(2); "
               "fput(file 2)",
               "allocate() = true; get_file(file 2); start_assignment(vm 1); "
               "[set_kvm(file 2, vm 1)]; [enforced_coherent(file 1) = true]; "
               "register_noncoherent(vm 1); unlock(2); fput(file 2)",
               "allocate() = true; start_assignment(vm 1); [set_kvm(file 2, vm 1)]; unlock(2); "
               "lock(2); [enforced_coherent(file 1) = true]; register_noncoherent(vm 1); "
               "unlock(2)")},
  };
  for (const row& r : rows) {
    INFO(TestType::name << ", FILE_ADD, " << r.when);
    world<TestType> w;
    REQUIRE(w.create() == errc::ok);
    const int first = w.file();
    w.file({.coherent = false});
    w.file({.kind = file_kind::other});
    REQUIRE(w.add(first) == errc::ok);
    if (r.nth) w.plan.fail(r.at, r.nth, r.error);
    check(w, r, w.add(r.fd));
  }
}

TEMPLATE_TEST_CASE("FILE_ADD when the entry's own reference cannot be had", "", linux_7_3,
                   linux_6_12) {
  const row r{"",
              fault::get_file,
              1,
              errc::mfile,
              2,
              errc::mfile,
              {},
              false,
              read +
                  "fget(2) = file 1; [is_valid(file 1) = true]; lock(2); allocate() = true; "
                  "get_file(file 1) = EMFILE; free(); unlock(2); fput(file 1)"};
  world<TestType> w;
  REQUIRE(w.create() == errc::ok);
  const int fd = w.file({.coherent = false});
  w.plan.fail(r.at, r.nth, r.error);
  check(w, r, w.add(fd));
}

TEST_CASE("FILE_ADD of Linux 6.1 takes no second reference, so it cannot fail there") {
  world<linux_6_1> w;
  REQUIRE(w.create() == errc::ok);
  const int fd = w.file();
  w.plan.fail_always(fault::get_file, errc::mfile);
  CHECK(w.add(fd) == errc::ok);
  CHECK(w.del(fd) == errc::ok);
  CHECK(w.plan.struck() == 0);
  CHECK(w.end().empty());
  CHECK(w.always.broken() == "");
}

TEMPLATE_TEST_CASE("FILE_DEL, fault by fault", "", linux_7_3, linux_6_12, linux_6_1) {
  // Descriptors: 0 the VM, 1 kvm-vfio, then files 1 (tracked, noncoherent), 2 (tracked, coherent),
  // 3 (not VFIO's).
  const string found = read + "fget(2) = file 1; lock(2); ";
  const string asked = "[enforced_coherent(file 2) = true]; unregister_noncoherent(vm 1); ";
  const string asked_stranger = "[enforced_coherent(file 1) = false]; ";
  const row rows[] = {
      {"all is well",
       no_fault,
       0,
       errc::ok,
       2,
       errc::ok,
       {2},
       false,
       found +
           pick<TestType, string>(
               "[set_kvm(file 1, no vm)]; fput(file 1); free(); " + asked +
                   "unlock(2); fput(file 1)",
               "end_assignment(vm 1); [set_kvm(file 1, no vm)]; fput(file 1); free(); " + asked +
                   "unlock(2); fput(file 1)",
               "end_assignment(vm 1); [set_kvm(file 1, no vm)]; fput(file 1); free(); unlock(2); "
               "fput(file 1); lock(2); " +
                   asked + "unlock(2)")},
      {"the attribute cannot be read",
       fault::copy_from_user,
       1,
       errc::fault,
       2,
       errc::fault,
       {1, 2},
       true,
       "copy_from_user() = false"},
      {"the descriptor cannot be read",
       fault::copy_from_user,
       2,
       errc::fault,
       2,
       errc::fault,
       {1, 2},
       true,
       attr + "copy_from_user() = false"},
      {"the look-up fails",
       fault::fget,
       1,
       errc::badf,
       2,
       errc::badf,
       {1, 2},
       true,
       read + "fget(2) = no file"},
      {"negative",
       no_fault,
       0,
       errc::ok,
       -1,
       errc::badf,
       {1, 2},
       true,
       read + "fget(-1) = no file"},
      {"not tracked, and not a VFIO file: nobody asks for its validity",
       no_fault,
       0,
       errc::ok,
       4,
       errc::noent,
       {1, 2},
       true,
       read + "fget(4) = file 3; lock(2); " +
           pick<TestType, string>(
               "unlock(2); fput(file 3)", asked_stranger + "unlock(2); fput(file 3)",
               "unlock(2); fput(file 3); lock(2); " + asked_stranger + "unlock(2)")},
      {"set_kvm is missing",
       fault::symbol_set_kvm,
       1,
       errc::noent,
       2,
       errc::ok,
       {2},
       false,
       found +
           pick<TestType, string>(
               "fput(file 1); free(); " + asked + "unlock(2); fput(file 1)",
               "end_assignment(vm 1); fput(file 1); free(); " + asked + "unlock(2); fput(file 1)",
               "end_assignment(vm 1); fput(file 1); free(); unlock(2); fput(file 1); lock(2); " +
                   asked + "unlock(2)")},
      {"set_kvm fails: the file stays, in its place",
       fault::set_kvm,
       1,
       errc::nospc,
       2,
       errc::nospc,
       {1, 2},
       true,
       found + pick<TestType, string>(
                   "symbol_get(vfio_file_set_kvm); symbol_put(vfio_file_set_kvm); unlock(2); "
                   "fput(file 1)",
                   "end_assignment(vm 1); symbol_get(vfio_file_set_kvm); "
                   "symbol_put(vfio_file_set_kvm); "
                   "start_assignment(vm 1); unlock(2); fput(file 1)",
                   "end_assignment(vm 1); symbol_get(vfio_file_set_kvm); "
                   "symbol_put(vfio_file_set_kvm); "
                   "start_assignment(vm 1); unlock(2); fput(file 1); lock(2); unlock(2)")},
      {"enforced_coherent is missing: still noncoherent",
       fault::symbol_enforced_coherent,
       1,
       errc::noent,
       2,
       errc::ok,
       {2},
       true,
       found +
           pick<TestType, string>(
               "[set_kvm(file 1, no vm)]; fput(file 1); free(); unlock(2); fput(file 1)",
               "end_assignment(vm 1); [set_kvm(file 1, no vm)]; fput(file 1); free(); unlock(2); "
               "fput(file 1)",
               "end_assignment(vm 1); [set_kvm(file 1, no vm)]; fput(file 1); free(); unlock(2); "
               "fput(file 1); lock(2); unlock(2)")},
  };
  for (const row& r : rows) {
    INFO(TestType::name << ", FILE_DEL, " << r.when);
    world<TestType> w;
    REQUIRE(w.create() == errc::ok);
    const int first = w.file({.coherent = false});
    const int second = w.file();
    w.file({.kind = file_kind::other});
    REQUIRE(w.add(first) == errc::ok);
    REQUIRE(w.add(second) == errc::ok);
    if (r.nth) w.plan.fail(r.at, r.nth, r.error);
    check(w, r, w.del(r.fd));
  }
}

}  // namespace
}  // namespace tests
