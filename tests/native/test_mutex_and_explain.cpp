// SPDX-License-Identifier: BSL-1.0
// The mutex, the explanations.
#include "support.hpp"
#include "support/threads.hpp"

#include <kvm_vfio/native/explain.hpp>
#include <kvm_vfio/native/mutex.hpp>

#include <thread>

namespace {

TEST_CASE("The mutex excludes") {
  native::mutex m;
  long value = 0;
  constexpr int each = 20000;
  support::on_threads(4, [&](int) {
    for (int i = 0; i < each; ++i) {
      const kv::guard held(m);
      ++value;
    }
  });
  CHECK(value == 4L * each);
}

TEST_CASE("The mutex wakes every waiter") {
  native::mutex m;
  int passed = 0;
  int started = 0;
  m.lock();
  // Not by on_threads: Clang's thread-safety analysis wants lock and unlock in one function.
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
        "KVM_CREATE_DEVICE of kvm-vfio: EBUSY: this VM already has a kvm-vfio device: use that "
        "one, because a VM can have only one");
  CHECK(explained(operation::file_add, errc::inval, 7) ==
        "FILE_ADD of descriptor 7: EINVAL: the descriptor is not a VFIO file, or VFIO is not "
        "loaded; before Linux 6.6 only the file of a group is accepted");
  CHECK(explained(operation::file_del, kv::to_errc(12345), 0) ==
        "FILE_DEL of descriptor 0: error 12345: this library has no explanation; the kernel's log "
        "may have one");
  CHECK(explained(operation::open_kvm, errc::mfile) ==
        "opening KVM: EMFILE: this process has no free descriptor: raise RLIMIT_NOFILE");
  static_assert(*native::explain(operation::file_add, errc::inval) == 't');
}

TEST_CASE("Every row of the explanations is found, and no two are for the same error") {
  for (const auto& row : native::detail::explanations) {
    INFO(native::name(row.what) << ": " << row.text);
    CHECK(native::explain(row.what, row.why) == row.text);
  }
}

bool has_row(native::operation what, errc why) {
  for (const auto& row : native::detail::explanations)
    if (row.what == what && row.why == why) return true;
  return false;
}

TEST_CASE("Whatever a machine without KVM answers is explained by the call") {
  int lacking = 0;
  for (int number = 1; number < 200; ++number) {
    const auto why = kv::to_errc(number);
    if (!native::kvm_is_lacking(why)) continue;
    INFO(explained(native::operation::open_kvm, why));
    CHECK(has_row(native::operation::open_kvm, why));
    ++lacking;
  }
  CHECK(lacking == 5);
}

TEST_CASE("What commonly fails on a good machine is explained by the call") {
  using native::operation;
  struct row {
    operation what;
    std::vector<errc> why;
  };
  const row rows[] = {
      // Nodes that are there without their driver, or that may not be opened.
      {operation::open_container, {errc::noent, errc::nodev, errc::access}},
      {operation::open_iommufd, {errc::noent, errc::nodev, errc::nxio, errc::access}},
      {operation::open_group, {errc::noent, errc::nodev, errc::nxio, errc::access, errc::busy}},
      {operation::open_device, {errc::noent, errc::nodev, errc::nxio, errc::access}},
      // Somebody else has the group.
      {operation::set_container, {errc::perm, errc::busy, errc::nodev}},
      {operation::set_iommu, {errc::perm, errc::busy}},
      {operation::get_device, {errc::perm, errc::busy}},
      {operation::bind_iommufd, {errc::perm, errc::busy}},
      {operation::attach_iommufd_pt, {errc::busy, errc::fault, errc::nomem}},
      {operation::map_dma, {errc::nospc, errc::exists, errc::noent, errc::inval, errc::fault}},
  };
  for (const row& r : rows)
    for (const errc why : r.why) {
      INFO(explained(r.what, why));
      CHECK(has_row(r.what, why));
    }
}

TEST_CASE("An explanation names each cause that the simulator or a host shows") {
  using native::operation;
  struct row {
    operation what;
    errc why;
    std::string part;
  };
  const row rows[] = {
      {operation::set_container, errc::perm, "firmware"},   // a `direct` region, Linux 6.1
      {operation::set_container, errc::inval, "firmware"},  // a `direct` region, later releases
      {operation::bind_iommufd, errc::inval, "firmware"},
      {operation::set_container, errc::busy, "new address"},  // the flag VADDR
      {operation::set_iommu, errc::nodev, "iommufd"},         // an iommufd without a group
      {operation::get_device, errc::inval, "VF token"},
      {operation::set_irqs, errc::inval, "another kind"},  // MSI while INTx is armed
      {operation::set_irqs, errc::busy, "UNMASK"},
      {operation::set_irqs, errc::range, "count is 0"},
      {operation::set_irqfd, errc::inval, "KVM_CREATE_IRQCHIP"},  // x86
      {operation::map_dma, errc::fault, "access"},                // memory that can only be read
      {operation::map_dma, errc::fault, "BAR"},
      {operation::attach_iommufd_pt, errc::fault, "BAR"},
      {operation::attach_iommufd_pt, errc::nomem, "RLIMIT_MEMLOCK"},
      {operation::hot_reset, errc::inval, "takes no groups"},
      {operation::hot_reset, errc::inval, "not bound"},  // the other function of a slot
      // A group without an IOMMU.
      {operation::open_group, errc::noent, "noiommu-N"},
      {operation::set_container, errc::perm, "only some groups have an IOMMU"},
      {operation::set_iommu, errc::nodev, "VFIO_NOIOMMU_IOMMU"},
      {operation::set_iommu, errc::perm, "CAP_SYS_RAWIO"},
      {operation::get_device, errc::perm, "CAP_SYS_RAWIO"},
      {operation::map_dma, errc::notty, "no IOMMU"},
      {operation::unmap_dma, errc::notty, "no IOMMU"},
      {operation::get_iommu_info, errc::notty, "no IOMMU"},
  };
  for (const row& r : rows) {
    const std::string text = explained(r.what, r.why);
    INFO(text);
    CHECK(text.find(r.part) != std::string::npos);
  }
}

TEST_CASE("Every error that has a name is printed with its name and a sentence, in every call") {
  const std::string unknown = native::explain(native::operation::file_add, errc{12345});
  int named = 0;
  for (int number = 0; number < 4096; ++number) {
    const auto why = kv::to_errc(number);
    if (!has_name(why)) continue;
    ++named;
    for (std::size_t call = 0; call < native::operation_count; ++call) {
      const auto what = static_cast<native::operation>(call);
      const std::string text = explained(what, why);
      INFO(text);
      CHECK(text.find(std::string(": ") + name(why) + ": ") != std::string::npos);
      CHECK(text.find(unknown) == std::string::npos);
      CHECK(text.find("error ") == std::string::npos);
    }
  }
  CHECK(named == 35);
  CHECK(explained(native::operation::map_dma, kv::to_errc(EOPNOTSUPP)) ==
        "mapping DMA: EOPNOTSUPP: this kernel does not know one of the fields or flags that are "
        "set");
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
