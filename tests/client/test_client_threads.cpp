// SPDX-License-Identifier: BSL-1.0
// Threads of one VMM that plug and unplug devices of one container and one VM at the same time.
#include "machine.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <vector>

namespace {

constexpr int threads = 4;
constexpr int rounds = 40;

template <class... Results>
bool all_ok(const Results&... r) {
  return (static_cast<bool>(r) && ...);
}

// Plugs and unplugs a device of a group; false: a step failed.
bool plug_group(sys system, int group, const container& c, const vm_files& files) {
  auto open = group_file::open(group, system);
  if (!open) return false;
  auto joined = std::move(*open).join(c);
  if (!joined) return false;
  auto ready = std::move(*joined).set_iommu();
  if (!ready) return false;
  auto attached = std::move(*ready).attach(files);
  if (!attached) return false;
  auto first = attached->open_device(name_of_many(group, 0).c_str());
  auto second = attached->open_device(name_of_many(group, 1).c_str());
  if (!all_ok(first, second)) return false;
  *attached = {};
  return first->close() == errc::ok && second->close() == errc::ok;
}

// Plugs and unplugs a device file; false: a step failed.
bool plug_file(sys system, int number, const address_space& s, const vm_files& files) {
  auto open = device_file::open(number, system);
  if (!open) return false;
  auto attached = std::move(*open).attach(files);
  if (!attached) return false;
  auto bound = std::move(*attached).bind(s);
  if (!bound) return false;
  auto d = std::move(*bound).attach_to_space();
  return d && d->close() == errc::ok;
}

TEST_CASE("Threads plug and unplug groups of one container and one VM") {
  vmm_machine<> m(many(threads, 2));
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto memory = must(c.map(memory_at(0)));
  std::atomic<int> failed = 0;
  support::on_threads(
      threads,
      [&](int t) {
        for (int n = 0; n < rounds; ++n)
          if (!plug_group(m.system, t, c, files)) ++failed;
      },
      [&] {
        for (int n = 0; n < rounds; ++n) {
          auto more = c.map(memory_at(0x100000 + page * static_cast<std::uint64_t>(n)));
          if (!more || more->unmap() != errc::ok) ++failed;
          if (files.size() > threads || c.groups() > threads) ++failed;
          (void)c.has_iommu();
        }
      });
  CHECK(failed == 0);
  CHECK(files.size() == 0);
  CHECK(c.groups() == 0);
  CHECK_FALSE(c.has_iommu());
  memory = {};
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("Threads plug and unplug device files of one address space while the VM is changed") {
  vmm_machine<> m(many(threads, 1));
  auto files = m.make_files();
  auto s = must(address_space::open(m.system));
  auto memory = must(s.map(memory_at(0)));
  std::atomic<int> failed = 0;
  support::on_threads(
      threads,
      [&](int t) {
        for (int n = 0; n < rounds; ++n)
          if (!plug_file(m.system, t, s, files)) ++failed;
      },
      [&] {
        for (int n = 0; n < rounds / 2; ++n)
          if (files.rebind(m.make_vm()) != errc::ok) ++failed;
      });
  CHECK(failed == 0);
  memory = {};
  s = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("Threads plug and unplug groups while the VM is changed") {
  vmm_machine<> m(many(threads, 2));
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  std::atomic<int> failed = 0;
  support::on_threads(
      threads,
      [&](int t) {
        for (int n = 0; n < rounds; ++n)
          if (!plug_group(m.system, t, c, files)) ++failed;
      },
      [&] {
        for (int n = 0; n < rounds; ++n)
          if (files.rebind(m.make_vm()) != errc::ok) ++failed;
      });
  CHECK(failed == 0);
  CHECK(files.size() == 0);
  c = {};
  files = {};
  CHECK(m.process().descriptors() == 0);
  CHECK(m.finish() == "");
}

TEST_CASE("The last users of a group go at the same time") {
  vmm_machine<> m(many(1, threads));
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  for (int n = 0; n < rounds; ++n) {
    std::vector<device> devices;
    {
      auto group = m.attach(0, c, files);
      for (int d = 0; d < threads; ++d)
        devices.push_back(must(group.open_device(name_of_many(0, d).c_str())));
    }
    std::atomic<int> failed = 0;
    support::on_threads(threads, [&](int t) {
      if (devices[static_cast<std::size_t>(t)].close() != errc::ok) ++failed;
    });
    CHECK(failed == 0);
    CHECK(files.size() == 0);
    CHECK(c.groups() == 0);
  }
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("Threads open and close devices of one group at the same time") {
  vmm_machine<> m(many(1, threads));
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto group = m.attach(0, c, files);
  std::atomic<int> failed = 0;
  support::on_threads(threads, [&](int t) {
    const auto mine = name_of_many(0, t);
    for (int n = 0; n < rounds; ++n) {
      auto d = group.open_device(mine.c_str());
      if (!d || !group_of(*d) || d->close() != errc::ok) ++failed;
    }
  });
  CHECK(failed == 0);
  CHECK(group.close() == errc::ok);
  CHECK(files.size() == 0);
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

}  // namespace
