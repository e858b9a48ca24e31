// SPDX-License-Identifier: BSL-1.0
// Without memory adopt takes nothing from its caller.
#include "machine.hpp"
#include "support/catch.hpp"
#include "support/replaced_new.hpp"

#include <kvm_vfio/sim/snapshot_difference.hpp>

#include <cstdlib>
#include <new>

// The client layer allocates with the second function only. While `no_memory` is set, it fails.
namespace {
bool no_memory = false;
}  // namespace
KVM_VFIO_REPLACED void* operator new(std::size_t size) {
  if (void* const p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
KVM_VFIO_REPLACED void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return no_memory ? nullptr : std::malloc(size);
}
KVM_VFIO_REPLACED void operator delete(void* p) noexcept { std::free(p); }
KVM_VFIO_REPLACED void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

namespace vfio = native::vfio;

TEST_CASE("Without memory adopt answers ENOMEM, and the owner keeps its descriptor") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  auto group = must(vfio::basic_group_ref<sys>::open(1, m.system));
  auto file = must(vfio::basic_device_ref<sys>::open(1, m.system));
  auto iommufd = must(vfio::basic_iommufd_ref<sys>::open("/dev/iommu", m.system));
  auto empty = must(vfio::basic_container_ref<sys>::open("/dev/vfio/vfio", m.system));
  auto kvm_vfio = must(m.make_vm().create_kvm_vfio_device());
  auto with_driver = m.with_iommu(2, c);
  REQUIRE(group.set_container(c.view()) == errc::ok);
  const sim::snapshot before = m.look();
  const auto without_memory = [&](auto&& adopt) {
    no_memory = true;
    const errc e = adopt().error();
    no_memory = false;
    CHECK(e == errc::nomem);
    CHECK(difference(before, m.look()) == "");
  };
  without_memory([&] { return vm_files::adopt(std::move(kvm_vfio)); });
  without_memory([&] { return container::adopt(std::move(empty)); });
  without_memory([&] { return address_space::adopt(std::move(iommufd)); });
  without_memory([&] { return group_file::adopt(std::move(group)); });
  without_memory([&] { return group_in_container::adopt(std::move(group), c); });
  without_memory([&] { return group_with_iommu::adopt(std::move(group), c); });
  without_memory([&] { return attached_group::adopt(std::move(group), c, files); });
  without_memory([&] { return device_file::adopt(std::move(file)); });
  without_memory([&] { return attached_device_file::adopt(std::move(file), files); });
  without_memory([&] { return c.adopt_mapping(memory_at(0)); });
  CHECK(with_driver.close() == errc::ok);  // the device file is of its group
  REQUIRE(file.bind_iommufd(s.view()));
  const sim::snapshot bound = m.look();
  no_memory = true;
  const errc as_bound = bound_device::adopt(std::move(file), 1, s).error();
  const errc as_device = device::adopt(std::move(file), s, files).error();
  no_memory = false;
  CHECK(as_bound == errc::nomem);
  CHECK(as_device == errc::nomem);
  CHECK(difference(bound, m.look()) == "");
  for (const int fd : {group.fd(), file.fd(), iommufd.fd(), empty.fd(), kvm_vfio.fd()})
    CHECK(m.process().file_of(fd) != nullptr);
  CHECK(group.unset_container() == errc::ok);
}

}  // namespace
