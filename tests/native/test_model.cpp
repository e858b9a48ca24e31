// SPDX-License-Identifier: BSL-1.0
// The device model over real descriptors: what it tells the kernel's device, and what is left when
// that fails. The kernel's device is played by a recorder, since FILE_ADD needs VFIO hardware.
#include "support.hpp"
#include "support/attribute.hpp"

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/native/caller.hpp>
#include <kvm_vfio/native/iommu.hpp>
#include <kvm_vfio/native/mutex.hpp>
#include <kvm_vfio/native/vfio_symbols.hpp>

#include <sys/eventfd.h>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace {

// What the kernel's device was told; it answers as it is bid.
struct recorder {
  struct call {
    std::uint64_t attr;
    std::int32_t fd;
  };
  std::vector<call> calls;
  errc answer = errc::ok;
};
class recorded_kernel {
 public:
  explicit recorded_kernel(recorder& r) noexcept : recorder_(&r) {}
  errc set_attr(const kvm_device_attr& attr) noexcept {
    std::int32_t fd = -1;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): as the kernel has it
    std::memcpy(&fd, reinterpret_cast<const void*>(attr.addr), sizeof fd);
    recorder_->calls.push_back({attr.attr, fd});
    return recorder_->answer;
  }
  errc has_attr(const kvm_device_attr&) noexcept { return errc::ok; }
  errc ioctl(unsigned long, void*) noexcept { return notty_; }

 private:
  recorder* recorder_;
  errc notty_ = errc::notty;
};

// Here every descriptor passes for a VFIO file.
struct accepting_symbols : native::vfio_symbols<recorded_kernel> {
  using vfio_symbols::vfio_symbols;
  [[nodiscard]] bool file_is_valid(const file&) const noexcept { return true; }
  [[nodiscard]] bool file_is_group(const file&) const noexcept { return true; }
};

template <class Symbols, class Iommu>
using device = kv::device<Symbols, native::mutex, Iommu, kv::linux_7_3, kv::inline_storage<4>,
                          native::held_files>;

struct world : support::no_leaks {
  recorder kernel;
  accepting_symbols vfio{recorded_kernel(kernel)};
  int edges = 0;
  bool noncoherent = false;
  struct listener {
    world* of;
    void operator()(native::vm_ref vm, bool now) const noexcept {
      of->edges += vm == native::vm_ref(77);
      of->noncoherent = now;
    }
  } heard{this};
  native::coherency_callback iommu{heard};
  native::current_task task;
  native::unique_fd event{::eventfd(0, EFD_CLOEXEC)};

  template <class Device>
  errc add(Device& d, int fd) {
    return set_file(d, kv::uapi::dev_vfio_file_add, fd);
  }
  template <class Device>
  errc del(Device& d, int fd) {
    return set_file(d, kv::uapi::dev_vfio_file_del, fd);
  }

 private:
  template <class Device>
  errc set_file(Device& d, std::uint64_t number, int fd) {
    std::int32_t argument = fd;
    return d.set_attr(task, support::file_attribute(number, support::address_of(argument)));
  }
};

TEST_CASE_METHOD(world, "ADD and DEL reach the kernel's device and the VMM") {
  {
    device<accepting_symbols, native::coherency_callback> model(vfio, iommu, native::vm_ref(77));
    const int dup = ::dup(event.get());
    CHECK(add(model, event.get()) == errc::ok);
    CHECK(edges == 1);
    CHECK(noncoherent);  // an eventfd's container says nothing: not coherent
    CHECK(add(model, dup) == errc::exists);
    REQUIRE(kernel.calls.size() == 1);
    CHECK(kernel.calls[0].attr == kv::uapi::dev_vfio_file_add);
    CHECK(native::same_file(kernel.calls[0].fd, event.get()));

    // The model holds the file, not the VMM's descriptor.
    event.reset();
    CHECK(del(model, dup) == errc::ok);
    CHECK(edges == 2);
    CHECK_FALSE(noncoherent);
    REQUIRE(kernel.calls.size() == 2);
    CHECK(kernel.calls[1].attr == kv::uapi::dev_vfio_file_del);
    CHECK(del(model, dup) == errc::noent);
    CHECK(add(model, dup) == errc::ok);
    ::close(dup);
    event.reset(::eventfd(0, EFD_CLOEXEC));
  }
  // The device's end undoes the last ADD.
  REQUIRE(kernel.calls.size() == 4);
  CHECK(kernel.calls[3].attr == kv::uapi::dev_vfio_file_del);
  CHECK(edges == 4);
}

// Linux 6.1's VFIO, over these descriptors.
struct accepting_6_1 : native::vfio_symbols<recorded_kernel, native::one_container, kv::linux_6_1> {
  using vfio_symbols::vfio_symbols;
  [[nodiscard]] bool file_is_group(const file&) const noexcept { return true; }
};

// A VMM that knows of every file that it is in no container.
struct in_none {
  native::file only;
  kv::result<native::vfio::container_ref> operator()(const native::file&) const noexcept {
    return native::vfio::container_ref();
  }
};
// Linux 6.1's VFIO, of groups that are in no container.
struct outside_6_1 : native::vfio_symbols<recorded_kernel, in_none, kv::linux_6_1> {
  using vfio_symbols::vfio_symbols;
  [[nodiscard]] bool file_is_group(const file&) const noexcept { return true; }
};

TEST_CASE_METHOD(world,
                 "A group in no container is coherent on Linux 6.1, of an unknown one nowhere") {
  const native::file group{event.get()};
  CHECK_FALSE(vfio.file_enforced_coherent(group));
  CHECK_FALSE(accepting_6_1(recorded_kernel(kernel)).file_enforced_coherent(group));
  outside_6_1 old{recorded_kernel(kernel)};
  CHECK(old.file_enforced_coherent(group));
  CHECK_FALSE(native::vfio_symbols<recorded_kernel, in_none>(recorded_kernel(kernel))
                  .file_enforced_coherent(group));
  // A container that is known and does not answer is not coherent on any kernel.
  const native::one_container wrong{native::vfio::container_ref(event.get())};
  CHECK_FALSE(accepting_6_1(recorded_kernel(kernel), wrong).file_enforced_coherent(group));

  kv::device<outside_6_1, native::mutex, native::coherency_callback, kv::linux_6_1,
             kv::inline_storage<4>, native::held_files>
      model(old, iommu, native::vm_ref(77));
  CHECK(add(model, event.get()) == errc::ok);
  CHECK(edges == 0);
  CHECK(del(model, event.get()) == errc::ok);
  CHECK(edges == 0);
}

TEST_CASE_METHOD(world, "A file that somebody else took out can leave the model") {
  device<accepting_symbols, native::coherency_callback> model(vfio, iommu, native::vm_ref(77));
  REQUIRE(add(model, event.get()) == errc::ok);
  kernel.answer = errc::noent;
  CHECK(del(model, event.get()) == errc::ok);
  CHECK(model.size() == 0);
  CHECK_FALSE(noncoherent);
  kernel.answer = errc::ok;
  CHECK(add(model, event.get()) == errc::ok);
}

TEST_CASE_METHOD(world, "DEL needs no free descriptor, ADD does and says so") {
  if (support::skip_without_own_copy()) return;
  device<accepting_symbols, native::coherency_callback> model(vfio, iommu, native::vm_ref(77));
  REQUIRE(add(model, event.get()) == errc::ok);
  CHECK(support::without_descriptors([&] { return del(model, event.get()); }) == errc::ok);
  CHECK(model.size() == 0);
  CHECK(support::without_descriptors([&] { return add(model, event.get()); }) == errc::mfile);
}

TEST_CASE_METHOD(world,
                 "By default a device over real descriptors keeps its own and gives all back") {
  kv::device model{vfio, kv::null_lock(), iommu, native::vm_ref(77)};
  static_assert(
      std::is_same_v<decltype(model),
                     kv::device<accepting_symbols, kv::null_lock, native::coherency_callback,
                                kv::linux_7_3, kv::heap_storage, native::held_files>>);
  const std::size_t before = support::descriptors().size();
  for (int i = 0; i < 100; ++i) CHECK(del(model, event.get()) == errc::noent);
  CHECK(add(model, event.get()) == errc::ok);
  CHECK(add(model, event.get()) == errc::exists);
  CHECK(support::descriptors().size() == before + 1);  // the model's own
}

// A provider over an owner keeps the owner's view.
static_assert(
    std::is_same_v<decltype(native::vfio_symbols(std::declval<const native::kvm_vfio_device&>())),
                   native::vfio_symbols<>>);
static_assert(
    std::is_same_v<decltype(native::vfio_symbols(std::declval<native::kvm_vfio_device_ref>(),
                                                 std::declval<in_none>())),
                   native::vfio_symbols<native::kvm_vfio_device_ref, in_none>>);

int function_heard = 0;
void on_edge(native::vm_ref vm, bool noncoherent) noexcept {
  if (vm == native::vm_ref(5)) function_heard = noncoherent ? 1 : 2;
}

TEST_CASE("The VMM hears by an object, a const one or a function") {
  const native::vm_ref vm(5);
  int heard = 0;
  const auto constant = [&heard](native::vm_ref of, bool noncoherent) noexcept {
    heard += of == native::vm_ref(5) ? (noncoherent ? 1 : 10) : 100;
  };
  const native::coherency_callback by_constant(constant);
  by_constant.register_noncoherent_dma(vm);
  by_constant.unregister_noncoherent_dma(vm);
  CHECK(heard == 11);

  auto changing = [count = 0, &heard](native::vm_ref, bool) mutable noexcept { heard = ++count; };
  const native::coherency_callback by_changing(changing);
  by_changing.register_noncoherent_dma(vm);
  by_changing.register_noncoherent_dma(vm);
  CHECK(heard == 2);

  const native::coherency_callback by_function(on_edge);
  by_function.register_noncoherent_dma(vm);
  CHECK(function_heard == 1);
  by_function.unregister_noncoherent_dma(vm);
  CHECK(function_heard == 2);

  native::coherency_callback().register_noncoherent_dma(vm);
  CHECK(function_heard == 2);
}

using native::coherency_callback;
static_assert(!std::is_constructible_v<coherency_callback, void (&)(native::vm_ref, bool)>);
static_assert(!std::is_constructible_v<coherency_callback, world::listener>);        // a temporary
static_assert(!std::is_constructible_v<coherency_callback, const world::listener>);  // one more
static_assert(std::is_constructible_v<coherency_callback, const world::listener&>);
static_assert(std::is_constructible_v<coherency_callback, const coherency_callback>);
static_assert(std::is_nothrow_copy_constructible_v<coherency_callback> &&
              std::is_nothrow_move_constructible_v<coherency_callback>);

TEST_CASE_METHOD(world, "A failed ADD or DEL changes nothing and keeps no descriptor") {
  device<accepting_symbols, native::coherency_callback> model(vfio, iommu, native::vm_ref(77));
  const auto before = support::descriptors();
  kernel.answer = errc::busy;
  CHECK(add(model, event.get()) == errc::busy);
  CHECK(model.size() == 0);
  CHECK(edges == 0);
  CHECK(support::descriptors() == before);

  kernel.answer = errc::ok;
  CHECK(add(model, -1) == errc::badf);
  CHECK(model.set_attr(task, support::file_attribute(kv::uapi::dev_vfio_file_add)) == errc::fault);
  if (!support::skip_without_own_copy()) {
    const errc exhausted = support::without_descriptors([&] { return add(model, event.get()); });
    CHECK(exhausted == errc::mfile);
  }
  CHECK(kernel.calls.size() == 1);
  CHECK(support::descriptors() == before);

  CHECK(add(model, event.get()) == errc::ok);
  kernel.answer = errc::io;
  CHECK(del(model, event.get()) == errc::io);
  CHECK(model.size() == 1);
  kernel.answer = errc::ok;
  CHECK(del(model, event.get()) == errc::ok);
  CHECK(support::descriptors() == before);
}

TEST_CASE_METHOD(world, "Attribute 3 reaches the kernel's device with the group and the table") {
  native::kvm_spapr_tce spapr{recorded_kernel(kernel), iommu};
  {
    device<accepting_symbols, decltype(spapr)> model(vfio, spapr, native::vm_ref(77));
    const kvm_vfio_spapr_tce argument{.groupfd = event.get(), .tablefd = 1234};
    const kvm_device_attr attr = support::file_attribute(kv::uapi::dev_vfio_group_set_spapr_tce,
                                                         support::address_of(argument));
    CHECK(model.set_attr(task, attr) == errc::noent);
    CHECK(add(model, event.get()) == errc::ok);
    CHECK(model.set_attr(task, attr) == errc::ok);
    kernel.answer = errc::nxio;
    CHECK(model.set_attr(task, attr) == errc::nxio);
    kernel.answer = errc::ok;
  }
  REQUIRE(kernel.calls.size() == 4);
  CHECK(kernel.calls[1].attr == kv::uapi::dev_vfio_group_set_spapr_tce);
  CHECK(native::same_file(kernel.calls[1].fd, kernel.calls[0].fd));
  CHECK(kernel.calls[3].attr == kv::uapi::dev_vfio_file_del);
}

TEST_CASE_METHOD(world, "What is no VFIO file never reaches the kernel's device") {
  native::vfio_symbols<recorded_kernel> real{recorded_kernel(kernel)};
  device<decltype(real), native::coherency_callback> model(real, iommu, native::vm_ref(77));
  CHECK(add(model, event.get()) == errc::inval);
  CHECK(kernel.calls.empty());
}

TEST_CASE_METHOD(support::no_leaks, "Over the kernel's own device, its refusal comes back") {
  const auto kvm = native::kvm::open();
  if (!kvm) return support::skip_without_kvm("/dev/kvm cannot be opened", kvm.error());
  const auto vm = kvm->create_vm();
  if (!vm) return support::skip_without_kvm("no VM can be made", vm.error());
  const auto kernel = vm->create_kvm_vfio_device();
  if (!kernel) return support::skip_without_kvm("no kvm-vfio", kernel.error());

  struct accepting : native::vfio_symbols<> {
    using vfio_symbols::vfio_symbols;
    [[nodiscard]] bool file_is_valid(const file&) const noexcept { return true; }
  } vfio{kernel->borrow()};
  native::coherency_callback nobody;
  device<accepting, native::coherency_callback> model(vfio, nobody, vm->borrow());
  const native::unique_fd event(::eventfd(0, EFD_CLOEXEC));
  CHECK(model.add(native::file{event.get()}) == errc::inval);
  CHECK(model.size() == 0);
  CHECK(model.add(native::file{}) == errc::badf);
}

}  // namespace
