// SPDX-License-Identifier: BSL-1.0
// The mutex, the explanations.
#include "support.hpp"

#include <kvm_vfio/native/explain.hpp>
#include <kvm_vfio/native/mutex.hpp>

#include <thread>

namespace {

TEST_CASE("The mutex excludes") {
  native::mutex m;
  long value = 0;
  std::vector<std::thread> threads;
  constexpr int each = 20000;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        const kv::guard held(m);
        ++value;
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(value == 4L * each);
}

TEST_CASE("The mutex wakes every waiter") {
  native::mutex m;
  int passed = 0;
  int started = 0;
  m.lock();
  std::vector<std::thread> threads;
  threads.reserve(3);
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      __atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
      const kv::guard held(m);
      ++passed;
    });
  while (__atomic_load_n(&started, __ATOMIC_RELAXED) < 3) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) std::this_thread::yield();
  CHECK(passed == 0);
  m.unlock();
  for (std::thread& t : threads) t.join();
  CHECK(passed == 3);
}

std::string explained(native::operation what, errc why, int fd = -1) {
  char text[256];
  const std::size_t length = native::explain(text, sizeof text, what, why, fd);
  REQUIRE(length < sizeof text);
  CHECK(std::strlen(text) == length);
  return text;
}

TEST_CASE("An error is explained by the call that failed") {
  using native::operation;
  CHECK(explained(operation::create_device, errc::busy) ==
        "KVM_CREATE_DEVICE of kvm-vfio: EBUSY: this VM has a kvm-vfio device already; reuse it, a "
        "VM has one at the most");
  CHECK(explained(operation::file_add, errc::inval, 7) ==
        "FILE_ADD of descriptor 7: EINVAL: not a VFIO file, or VFIO is not loaded; before Linux "
        "6.6 it must be a group's");
  CHECK(explained(operation::file_del, static_cast<errc>(12345), 0) ==
        "FILE_DEL of descriptor 0: error 12345: not an answer that this call is known to give");
  CHECK(explained(operation::open_kvm, errc::mfile) ==
        "opening KVM: EMFILE: this process has no free descriptor; raise RLIMIT_NOFILE");
  static_assert(*native::explain(operation::file_add, errc::inval) == 'n');
}

TEST_CASE("Every row of the explanations is found, and no two are for the same error") {
  for (const auto& row : native::detail::explanations) {
    INFO(native::name(row.what) << ": " << row.text);
    CHECK(native::explain(row.what, row.why) == row.text);
  }
}

TEST_CASE("An explanation is cut to the buffer") {
  const std::string whole = explained(native::operation::file_add, errc::inval, 7);
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{9}, whole.size()}) {
    char text[256];
    std::memset(text, '#', sizeof text);
    CHECK(native::explain(text, size, native::operation::file_add, errc::inval, 7) == whole.size());
    CHECK(text[size] == '#');
    if (size) CHECK(text == whole.substr(0, size - 1));
  }
}

}  // namespace
