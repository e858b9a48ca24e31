// SPDX-License-Identifier: BSL-1.0
// FILE_ADD and FILE_DEL: each fault at each point, in each profile, with every call in order.

#include <string>
#include <vector>

#include "calls.hpp"
#include "world.hpp"

namespace tests {
namespace {

using std::string;
using w73 = world<linux_7_3>;

struct row {
  const char* when;
  ordered_fault fails{};
  int fd;
  errc answer = errc::ok;
  std::vector<int> tracked;  // file numbers, afterwards
  bool noncoherent = false;  // afterwards
  string expected;
};

template <class World>
void check(World& w, const row& r, errc answer) {
  CHECK(answer == r.answer);
  CHECK(to_string(w.log.all()) == calls(r.expected));
  CHECK(w.plan.struck() == (r.fails ? 1 : 0));
  CHECK(w.kept() == static_cast<int>(r.tracked.size()));
  CHECK(w.noncoherent() == r.noncoherent);
  CHECK(w.end() == r.tracked);
  CHECK(w.always.broken() == "");
}

const string attr = "copy_from_user() = true; ";
const string read = "copy_from_user() = true; copy_from_user() = true; ";

TEMPLATE_TEST_CASE("FILE_ADD, fault by fault", "", linux_7_3, linux_6_12, linux_6_1) {
  // Descriptors of file 1, which is tracked and coherent, of file 2, which is neither, and of file
  // 3, which is not VFIO's.
  constexpr int tracked = w73::first_file, untracked = tracked + 1, stranger = tracked + 2,
                closed = 9;
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
      {.when = "all is well",
       .fd = untracked,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected =
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
      {.when = "the attribute cannot be read",
       .fails = {.at = fault::copy_from_user, .nth = 1, .error = errc::fault},
       .fd = untracked,
       .answer = errc::fault,
       .tracked = {1},
       .expected = "copy_from_user() = false"},
      {.when = "the descriptor cannot be read",
       .fails = {.at = fault::copy_from_user, .nth = 2, .error = errc::fault},
       .fd = untracked,
       .answer = errc::fault,
       .tracked = {1},
       .expected = attr + "copy_from_user() = false"},
      {.when = "the look-up fails",
       .fails = {.at = fault::fget, .nth = 1, .error = errc::badf},
       .fd = untracked,
       .answer = errc::badf,
       .tracked = {1},
       .expected = read + "fget(3) = no file"},
      {.when = "not open",
       .fd = closed,
       .answer = errc::badf,
       .tracked = {1},
       .expected = read + "fget(9) = no file"},
      {.when = "negative",
       .fd = -1,
       .answer = errc::badf,
       .tracked = {1},
       .expected = read + "fget(-1) = no file"},
      {.when = "not a VFIO file",
       .fd = stranger,
       .answer = errc::inval,
       .tracked = {1},
       .expected = read + "fget(4) = file 3; " + valid(3, false) + "fput(file 3)"},
      {.when = "the validity symbol is missing",
       .fails = {.at = no_validity, .nth = 1, .error = errc::noent},
       .fd = untracked,
       .answer = errc::inval,
       .tracked = {1},
       .expected = read + "fget(3) = file 2; fput(file 2)"},
      {.when = "tracked already",
       .fd = tracked,
       .answer = errc::exists,
       .tracked = {1},
       .expected =
           read + "fget(2) = file 1; " + valid(1, true) + "lock(2); unlock(2); fput(file 1)"},
      {.when = "no memory",
       .fails = {.at = fault::allocate, .nth = 1, .error = errc::nomem},
       .fd = untracked,
       .answer = errc::nomem,
       .tracked = {1},
       .expected = to_lock + "allocate() = false; unlock(2); fput(file 2)"},
      {.when = "set_kvm is missing",
       .fails = {.at = fault::symbol_set_kvm, .nth = 1, .error = errc::noent},
       .fd = untracked,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected = to_lock +
                   pick<TestType, string>(
                       "allocate() = true; get_file(file 2); " + asked + "unlock(2); fput(file 2)",
                       "allocate() = true; get_file(file 2); start_assignment(vm 1); " + asked +
                           "unlock(2); fput(file 2)",
                       "allocate() = true; start_assignment(vm 1); unlock(2); lock(2); " + asked +
                           "unlock(2)")},
      {.when = "set_kvm fails: ADD undoes itself",
       .fails = {.at = fault::set_kvm, .nth = 1, .error = errc::nospc},
       .fd = untracked,
       .answer = errc::nospc,
       .tracked = {1},
       .expected =  // The call that failed left no event of its own between its symbol's get and
                    // put.
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
      {.when = "enforced_coherent is missing: noncoherent at the first",
       .fails = {.at = fault::symbol_enforced_coherent, .nth = 1, .error = errc::noent},
       .fd = untracked,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected =
           to_lock +
           pick<TestType, string>(
               "allocate() = true; get_file(file 2); [set_kvm(file 2, vm 1)]; "
               "register_noncoherent(vm 1); unlock(2); fput(file 2)",
               "allocate() = true; get_file(file 2); start_assignment(vm 1); "
               "[set_kvm(file 2, vm 1)]; register_noncoherent(vm 1); unlock(2); fput(file 2)",
               "allocate() = true; start_assignment(vm 1); [set_kvm(file 2, vm 1)]; unlock(2); "
               "lock(2); register_noncoherent(vm 1); unlock(2)")},
      {.when = "enforced_coherent is missing at the second look-up",
       .fails = {.at = fault::symbol_enforced_coherent, .nth = 2, .error = errc::noent},
       .fd = untracked,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected =
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
    REQUIRE(w.file() == tracked);
    REQUIRE(w.file({.coherent = false}) == untracked);
    REQUIRE(w.file({.kind = file_kind::other}) == stranger);
    REQUIRE(w.add(tracked) == errc::ok);
    r.fails.order(w.plan);
    check(w, r, w.add(r.fd));
  }
}

TEMPLATE_TEST_CASE("FILE_ADD when the entry's own reference cannot be had", "", linux_7_3,
                   linux_6_12) {
  const row r{
      .when = "",
      .fails = {.at = fault::get_file, .nth = 1, .error = errc::mfile},
      .fd = w73::first_file,
      .answer = errc::mfile,
      .tracked = {},
      .expected = read +
                  "fget(2) = file 1; [is_valid(file 1) = true]; lock(2); allocate() = true; "
                  "get_file(file 1) = EMFILE; free(); unlock(2); fput(file 1)"};
  world<TestType> w;
  REQUIRE(w.create() == errc::ok);
  REQUIRE(w.file({.coherent = false}) == r.fd);
  r.fails.order(w.plan);
  check(w, r, w.add(r.fd));
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
  // Descriptors of files 1 and 2, which are tracked, and of file 3, which is not VFIO's.
  constexpr int noncoherent = w73::first_file, coherent = noncoherent + 1,
                stranger = noncoherent + 2;
  const string found = read + "fget(2) = file 1; lock(2); ";
  const string asked = "[enforced_coherent(file 2) = true]; unregister_noncoherent(vm 1); ";
  const string asked_stranger = "[enforced_coherent(file 1) = false]; ";
  const row rows[] = {
      {.when = "all is well",
       .fd = noncoherent,
       .tracked = {2},
       .expected =
           found +
           pick<TestType, string>(
               "[set_kvm(file 1, no vm)]; fput(file 1); free(); " + asked +
                   "unlock(2); fput(file 1)",
               "end_assignment(vm 1); [set_kvm(file 1, no vm)]; fput(file 1); free(); " + asked +
                   "unlock(2); fput(file 1)",
               "end_assignment(vm 1); [set_kvm(file 1, no vm)]; fput(file 1); free(); unlock(2); "
               "fput(file 1); lock(2); " +
                   asked + "unlock(2)")},
      {.when = "the attribute cannot be read",
       .fails = {.at = fault::copy_from_user, .nth = 1, .error = errc::fault},
       .fd = noncoherent,
       .answer = errc::fault,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected = "copy_from_user() = false"},
      {.when = "the descriptor cannot be read",
       .fails = {.at = fault::copy_from_user, .nth = 2, .error = errc::fault},
       .fd = noncoherent,
       .answer = errc::fault,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected = attr + "copy_from_user() = false"},
      {.when = "the look-up fails",
       .fails = {.at = fault::fget, .nth = 1, .error = errc::badf},
       .fd = noncoherent,
       .answer = errc::badf,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected = read + "fget(2) = no file"},
      {.when = "negative",
       .fd = -1,
       .answer = errc::badf,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected = read + "fget(-1) = no file"},
      {.when = "not tracked, and not a VFIO file: nobody asks for its validity",
       .fd = stranger,
       .answer = errc::noent,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected = read + "fget(4) = file 3; lock(2); " +
                   pick<TestType, string>(
                       "unlock(2); fput(file 3)", asked_stranger + "unlock(2); fput(file 3)",
                       "unlock(2); fput(file 3); lock(2); " + asked_stranger + "unlock(2)")},
      {.when = "set_kvm is missing",
       .fails = {.at = fault::symbol_set_kvm, .nth = 1, .error = errc::noent},
       .fd = noncoherent,
       .tracked = {2},
       .expected =
           found +
           pick<TestType, string>(
               "fput(file 1); free(); " + asked + "unlock(2); fput(file 1)",
               "end_assignment(vm 1); fput(file 1); free(); " + asked + "unlock(2); fput(file 1)",
               "end_assignment(vm 1); fput(file 1); free(); unlock(2); fput(file 1); lock(2); " +
                   asked + "unlock(2)")},
      {.when = "set_kvm fails: the file stays, in its place",
       .fails = {.at = fault::set_kvm, .nth = 1, .error = errc::nospc},
       .fd = noncoherent,
       .answer = errc::nospc,
       .tracked = {1, 2},
       .noncoherent = true,
       .expected =
           found + pick<TestType, string>(
                       "symbol_get(vfio_file_set_kvm); symbol_put(vfio_file_set_kvm); unlock(2); "
                       "fput(file 1)",
                       "end_assignment(vm 1); symbol_get(vfio_file_set_kvm); "
                       "symbol_put(vfio_file_set_kvm); "
                       "start_assignment(vm 1); unlock(2); fput(file 1)",
                       "end_assignment(vm 1); symbol_get(vfio_file_set_kvm); "
                       "symbol_put(vfio_file_set_kvm); "
                       "start_assignment(vm 1); unlock(2); fput(file 1); lock(2); unlock(2)")},
      {.when = "enforced_coherent is missing: still noncoherent",
       .fails = {.at = fault::symbol_enforced_coherent, .nth = 1, .error = errc::noent},
       .fd = noncoherent,
       .tracked = {2},
       .noncoherent = true,
       .expected =
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
    REQUIRE(w.file({.coherent = false}) == noncoherent);
    REQUIRE(w.file() == coherent);
    REQUIRE(w.file({.kind = file_kind::other}) == stranger);
    REQUIRE(w.add(noncoherent) == errc::ok);
    REQUIRE(w.add(coherent) == errc::ok);
    r.fails.order(w.plan);
    check(w, r, w.del(r.fd));
  }
}

}  // namespace
}  // namespace tests
