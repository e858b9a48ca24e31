// SPDX-License-Identifier: BSL-1.0
// The kernel's own device through the endpoint. What needs /dev/kvm says SKIPPED without it.
#include "support.hpp"

#include <sys/mman.h>
#include <cstdint>

namespace {

// Every case runs with a fresh VM, or not at all.
struct with_vm : support::no_leaks {
  with_vm() {
    auto kvm = native::kvm::open();
    if (!kvm) {
      support::skip_without_kvm("/dev/kvm cannot be opened", kvm.error());
      return;
    }
    auto made = kvm->create_vm();
    if (!made) {
      support::skip_without_kvm("no VM can be made", made.error());
      return;
    }
    const errc has = made->has_device_type(kv::uapi::dev_type_vfio);
    if (has != errc::ok) {
      REQUIRE(has == errc::nodev);
      support::skip("this KVM has no kvm-vfio", has);
      return;
    }
    vm = std::move(*made);
  }
  native::vm vm;
};

constexpr std::uint32_t file_group = kv::uapi::dev_vfio_file, no_group = 2;
constexpr std::uint64_t add = kv::uapi::dev_vfio_file_add, del = kv::uapi::dev_vfio_file_del,
                        no_such = 4;
kvm_device_attr attr(std::uint32_t group, std::uint64_t number, const void* addr) {
  return {
      .flags = 0, .group = group, .attr = number, .addr = reinterpret_cast<std::uintptr_t>(addr)};
}

// A guard needs its device open: an owner that goes at once attaches nothing, a view does.
template <class Device>
concept attaches = requires(Device&& device) { static_cast<Device&&>(device).attach(3); };
static_assert(attaches<native::kvm_vfio_device&> && attaches<const native::kvm_vfio_device&>);
static_assert(!attaches<native::kvm_vfio_device> && !attaches<const native::kvm_vfio_device>);
static_assert(attaches<native::kvm_vfio_device_ref> && attaches<native::kvm_vfio_device_ref&>);
template <class Result>
concept attaches_by_arrow = requires(Result&& made) { static_cast<Result&&>(made)->attach(3); };
static_assert(attaches_by_arrow<kv::result<native::kvm_vfio_device>&>);
static_assert(!attaches_by_arrow<kv::result<native::kvm_vfio_device>>);

TEST_CASE_METHOD(support::no_leaks, "Opening what is not KVM is a precise error") {
  CHECK(native::kvm::open("/dev/kvm_that_is_not_there").error() == errc::noent);
  CHECK(native::kvm::open("/").error() == errc::isdir);
  const errc exhausted =
      support::without_descriptors([] { return native::kvm::open("/dev/null").error(); });
  CHECK(exhausted == errc::mfile);
  if (support::skip_emulated()) return;
  CHECK(native::kvm::open("/dev/null").error() == errc::notty);
}

TEST_CASE_METHOD(support::no_leaks, "An empty handle says EBADF and owns nothing") {
  CHECK_FALSE(native::kvm_vfio_device());
  if (support::skip_emulated()) return;
  CHECK(native::kvm().create_vm().error() == errc::badf);
  CHECK(native::vm().create_kvm_vfio_device().error() == errc::badf);
  const native::kvm_vfio_device none;
  CHECK(none.attach(0).error() == errc::badf);
  CHECK(none.has_attr(attr(file_group, add, nullptr)) == errc::badf);
}

TEST_CASE_METHOD(with_vm, "A VM has one kvm-vfio device, and a new one after it is closed") {
  if (!vm) return;
  auto device = vm.create_kvm_vfio_device();
  REQUIRE(device);
  CHECK((::fcntl(device->fd(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(vm.create_kvm_vfio_device().error() == errc::busy);
  CHECK(vm.has_device_type(kv::uapi::dev_type_vfio) == errc::ok);
  *device = native::kvm_vfio_device();
  CHECK(vm.create_kvm_vfio_device());
}

TEST_CASE_METHOD(with_vm, "Creation fails as the kernel says, and nothing is left behind") {
  if (!vm) return;
  CHECK(vm.has_device_type(KVM_DEV_TYPE_MAX + 7) == errc::nodev);
  kvm_create_device unknown{.type = KVM_DEV_TYPE_MAX + 7, .fd = 99, .flags = 0};
  CHECK(vm.create_device(unknown) == errc::nodev);
  CHECK(unknown.fd == 99);
  kvm_create_device tested{.type = kv::uapi::dev_type_vfio, .fd = 99, .flags = 1};
  CHECK(vm.create_device(tested) == errc::ok);
  CHECK(tested.fd == 99);
  const errc exhausted =
      support::without_descriptors([&] { return vm.create_kvm_vfio_device().error(); });
  CHECK(exhausted == errc::mfile);
  CHECK(vm.create_kvm_vfio_device());
}

TEST_CASE_METHOD(with_vm, "The attributes answer as the kernel does") {
  if (!vm) return;
  auto device = vm.create_kvm_vfio_device();
  REQUIRE(device);
  const std::int32_t null = -1;
  CHECK(device->has_attr(attr(file_group, add, nullptr)) == errc::ok);
  CHECK(device->has_attr(attr(file_group, del, nullptr)) == errc::ok);
  CHECK(device->has_attr(attr(file_group, no_such, nullptr)) == errc::nxio);
  CHECK(device->has_attr(attr(no_group, add, nullptr)) == errc::nxio);
  CHECK(device->set_attr(attr(file_group, no_such, nullptr)) == errc::nxio);
  CHECK(device->set_attr(attr(no_group, add, &null)) == errc::nxio);
  CHECK(device->set_attr(attr(file_group, add, nullptr)) == errc::fault);
  CHECK(device->set_attr(attr(file_group, add, &null)) == errc::badf);
  kvm_device_attr get = attr(file_group, add, nullptr);
  CHECK(device->ioctl(kv::uapi::get_device_attr, &get) == errc::perm);
  CHECK(device->ioctl(0xAE7F, nullptr) == errc::notty);
}

TEST_CASE_METHOD(with_vm, "Descriptors that are no VFIO files are refused and left alone") {
  if (!vm) return;
  auto device = vm.create_kvm_vfio_device();
  REQUIRE(device);
  support::pipe_ends pipe;
  const native::unique_fd path(::open("/", O_PATH | O_CLOEXEC));
  CHECK(device->attach(-1).error() == errc::badf);
  CHECK(device->attach(path.get()).error() == errc::badf);
  CHECK(device->attach(pipe.in.get()).error() == errc::inval);
  CHECK(device->attach(device->fd()).error() == errc::inval);
  CHECK(kv::file_del(*device, pipe.in.get()) == errc::noent);
  CHECK(kv::file_del(*device, -1) == errc::badf);
  CHECK(::write(pipe.in.get(), "x", 1) == 1);
}

TEST_CASE_METHOD(with_vm, "The device outlives the VM's descriptor, not the process") {
  if (!vm) return;
  auto device = vm.create_kvm_vfio_device();
  REQUIRE(device);
  vm = native::vm();
  CHECK(device->has_attr(attr(file_group, add, nullptr)) == errc::ok);
  CHECK(device->attach(-1).error() == errc::badf);
  const int answer = support::in_child(
      [&] { return static_cast<int>(device->has_attr(attr(file_group, add, nullptr))); });
  CHECK(answer == EIO);
}

TEST_CASE_METHOD(with_vm, "A descriptor that a VMM holds itself can be borrowed or adopted") {
  if (!vm) return;
  const native::vm_ref borrowed(vm.fd());
  auto device = borrowed.create_kvm_vfio_device();
  REQUIRE(device);
  const int number = device->release().fd();
  CHECK_FALSE(*device);
  native::kvm_vfio_device adopted{native::unique_fd(number)};
  native::kvm_vfio_device moved = std::move(adopted);
  CHECK(moved.fd() == number);
  CHECK(moved.has_attr(attr(file_group, add, nullptr)) == errc::ok);
  adopted = std::move(moved);
  CHECK(adopted.fd() == number);
}

TEST_CASE("A guard holds a view of the device, so the device may move") {
  using guard = kv::attachment<native::kvm_vfio_device_ref>;
  using attached = decltype(std::declval<native::kvm_vfio_device&>().attach(0));
  STATIC_REQUIRE(std::is_same_v<attached, kv::result<guard>>);
  STATIC_REQUIRE(
      std::is_same_v<kv::endpoint_view<native::kvm_vfio_device>, native::kvm_vfio_device_ref>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<native::kvm_vfio_device>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<native::kvm_vfio_device>);
}

}  // namespace
