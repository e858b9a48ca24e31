// SPDX-License-Identifier: BSL-1.0
// The attributes: which exist, what is read of user memory, and which file a descriptor means.

#include <cstdint>
#include <string>
#include <vector>

#include "calls.hpp"
#include "world.hpp"

namespace tests {
namespace {

TEMPLATE_TEST_CASE("Every other group and attribute says ENXIO before its address is read", "",
                   linux_7_3, linux_6_12, linux_6_1) {
  constexpr std::uint32_t file = uapi::dev_vfio_file;
  constexpr std::uint64_t add = uapi::dev_vfio_file_add, del = uapi::dev_vfio_file_del;
  struct row {
    std::uint32_t group = file;
    std::uint64_t attr;
    errc has = errc::nxio;
  };
  const row rows[] = {
      {.attr = add, .has = errc::ok},
      {.attr = del, .has = errc::ok},
      {.attr = uapi::dev_vfio_group_set_spapr_tce},  // an sPAPR backend brings it
      {.attr = 0},
      {.attr = 4},
      {.attr = 1ull << 32 | add},
      {.attr = ~0ull},
      {.group = 0, .attr = add},
      {.group = 2, .attr = add},
      {.group = 2, .attr = del},
      {.group = ~0u, .attr = add},
  };
  for (const row& r : rows) {
    INFO("group " << r.group << ", attribute " << r.attr);
    world<TestType> w;
    REQUIRE(w.create() == errc::ok);
    // Address 0 is not mapped. has_attr never looks, set_attr looks when the attribute exists.
    CHECK(w.has(r.group, r.attr, 0) == r.has);
    CHECK(to_string(w.log.all()) == calls("copy_from_user() = true"));
    CHECK(w.set(r.group, r.attr, 0) == (r.has == errc::ok ? errc::fault : errc::nxio));
    CHECK(to_string(w.log.all()) == calls(r.has == errc::ok
                                              ? "copy_from_user() = true; copy_from_user() = false"
                                              : "copy_from_user() = true"));
    CHECK(w.end().empty());
    CHECK(w.always.broken() == "");
  }
}

TEST_CASE("The flags of an attribute are ignored") {
  world<> w;
  REQUIRE(w.create() == errc::ok);
  w.task.memory.poke(w.inner, w.file());
  CHECK(w.set(uapi::dev_vfio_file, uapi::dev_vfio_file_add, w.inner, ~0u) == errc::ok);
  CHECK(w.set(uapi::dev_vfio_file, uapi::dev_vfio_file_del, w.inner, 1) == errc::ok);
}

TEST_CASE("A descriptor is four bytes of readable memory") {
  struct row {
    const char* where;
    std::uint64_t address;
    errc answer;  // of an ADD of descriptor 0, which is no VFIO file
  };
  constexpr std::uint64_t inner = world<>::inner;
  constexpr std::uint64_t end = inner + world<>::page;
  const row rows[] = {
      {.where = "at the beginning", .address = inner, .answer = errc::inval},
      {.where = "before it", .address = inner - 1, .answer = errc::fault},
      {.where = "not aligned", .address = inner + 1, .answer = errc::inval},
      {.where = "at the very end", .address = end - 4, .answer = errc::inval},
      {.where = "a byte out", .address = end - 3, .answer = errc::fault},
      {.where = "three bytes out", .address = end - 1, .answer = errc::fault},
      {.where = "past the end", .address = end, .answer = errc::fault},
      {.where = "null", .address = 0, .answer = errc::fault},
      {.where = "the last address, which wraps around", .address = ~0ull, .answer = errc::fault},
  };
  for (const row& r : rows) {
    INFO(r.where);
    world<> w;
    REQUIRE(w.create() == errc::ok);
    CHECK(w.set(uapi::dev_vfio_file, uapi::dev_vfio_file_add, r.address) == r.answer);
    CHECK(w.set(uapi::dev_vfio_file, uapi::dev_vfio_file_del, r.address) ==
          (r.answer == errc::inval ? errc::noent : r.answer));
    CHECK(w.kept() == 0);
    CHECK(w.always.broken() == "");
  }
}

TEST_CASE("Read-only memory is enough, unreadable memory is not") {
  world<> w;
  REQUIRE(w.create() == errc::ok);
  const int fd = w.file();
  w.task.memory.protect(w.inner, access::read);
  CHECK(w.add(fd) == errc::ok);
  w.task.memory.protect(w.outer, access::read);
  CHECK(w.del(fd) == errc::ok);
  w.task.memory.protect(w.inner, access::none);
  CHECK(w.add(fd) == errc::fault);
  w.task.memory.protect(w.outer, access::none);
  CHECK(w.has(uapi::dev_vfio_file, uapi::dev_vfio_file_add) == errc::fault);
}

TEST_CASE("Which file a descriptor means") {
  world<> w;
  REQUIRE(w.create() == errc::ok);
  const int fd = w.file();
  const file_id file = w.task.file_of(fd);
  SECTION("a dup'ed descriptor is the same file") {
    const int twin = w.task.dup(fd).value();
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.add(twin) == errc::exists);
    CHECK(w.task.close(fd) == errc::ok);
    CHECK(w.add(twin) == errc::exists);
    CHECK(w.del(twin) == errc::ok);
    CHECK(w.add(twin) == errc::ok);
    CHECK(w.end() == std::vector{1});
  }
  SECTION("a second open is another file") {
    const int second = w.file();
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.del(second) == errc::noent);
    CHECK(w.add(second) == errc::ok);
    CHECK(w.end() == std::vector{1, 2});
  }
  SECTION("an O_PATH descriptor is none") {
    const int path = w.task.open_path(file);
    CHECK(w.add(path) == errc::badf);
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.del(path) == errc::badf);
    CHECK(w.end() == std::vector{1});
  }
  SECTION("a closed descriptor is none, and the file stays with the device") {
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.task.close(fd) == errc::ok);
    CHECK(w.del(fd) == errc::badf);
    CHECK(w.files.references(file) == 1);
    CHECK(w.end() == std::vector{1});
    CHECK(w.files.references(file) == 0);
  }
  SECTION("a number that is used again means the new file") {
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.task.close(fd) == errc::ok);
    REQUIRE(w.file() == fd);
    CHECK(w.del(fd) == errc::noent);
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.end() == std::vector{1, 2});
  }
  SECTION("files of others: stdin, the VM, kvm-vfio itself") {
    const int input = w.file({.kind = file_kind::other});
    for (const int other : {input, w.vm_fd, w.device_fd}) {
      INFO("descriptor " << other);
      const file_id id = w.task.file_of(other);
      const int references = w.files.references(id);
      CHECK(w.add(other) == errc::inval);
      CHECK(w.del(other) == errc::noent);
      CHECK(w.files.references(id) == references);
    }
    CHECK(w.end().empty());
  }
  SECTION("DEL twice, ADD twice") {
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.add(fd) == errc::exists);
    CHECK(w.files.references(file) == 2);
    CHECK(w.del(fd) == errc::ok);
    CHECK(w.del(fd) == errc::noent);
    CHECK(w.files.references(file) == 1);
    CHECK(w.end().empty());
  }
  CHECK(w.always.broken() == "");
}

TEST_CASE("Device files are tracked, except by Linux 6.1, which knows groups only") {
  world<linux_7_3> now;
  REQUIRE(now.create() == errc::ok);
  CHECK(now.add(now.file({.kind = file_kind::device})) == errc::ok);
  world<linux_6_12> before;
  REQUIRE(before.create() == errc::ok);
  CHECK(before.add(before.file({.kind = file_kind::device})) == errc::ok);
  world<linux_6_1> old;
  REQUIRE(old.create() == errc::ok);
  CHECK(old.add(old.file({.kind = file_kind::device})) == errc::inval);
  CHECK(old.add(old.file({.kind = file_kind::group})) == errc::ok);
}

TEST_CASE("Capacity fixed at compile time: the next file says ENOMEM, and a DEL makes room") {
  world<linux_7_3, recording_iommu, inline_storage<2>> w;
  REQUIRE(w.create() == errc::ok);
  const int fds[] = {w.file(), w.file(), w.file()};
  CHECK(w.add(fds[0]) == errc::ok);
  CHECK(w.add(fds[1]) == errc::ok);
  CHECK(w.add(fds[2]) == errc::nomem);
  CHECK(w.add(fds[1]) == errc::exists);
  CHECK(w.del(fds[0]) == errc::ok);
  CHECK(w.add(fds[2]) == errc::ok);
  CHECK(w.end() == std::vector{2, 3});
  CHECK(w.always.broken() == "");
}

}  // namespace
}  // namespace tests
