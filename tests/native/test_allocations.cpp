// SPDX-License-Identifier: BSL-1.0
// Nothing on the way to the kernel takes memory.
#include "support.hpp"
#include "support/replaced_new.hpp"

#include <kvm_vfio/device.hpp>
#include <kvm_vfio/inline_storage.hpp>
#include <kvm_vfio/native/caller.hpp>
#include <kvm_vfio/native/dma_guard.hpp>
#include <kvm_vfio/native/event.hpp>
#include <kvm_vfio/native/explain.hpp>
#include <kvm_vfio/native/ioas.hpp>
#include <kvm_vfio/native/iommu.hpp>
#include <kvm_vfio/native/mutex.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/native/vfio_symbols.hpp>

#include <cstdlib>
#include <new>

namespace {
int allocations = 0;
}

KVM_VFIO_REPLACED void* operator new(std::size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  if (void* const p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
KVM_VFIO_REPLACED void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return std::malloc(size);
}
KVM_VFIO_REPLACED void operator delete(void* p) noexcept { std::free(p); }
KVM_VFIO_REPLACED void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

TEST_CASE("The counter counts") {
  const int before = allocations;
  const std::vector<int> taken(3);
  CHECK(allocations == before + static_cast<int>(!taken.empty()));
}

TEST_CASE_METHOD(support::no_leaks, "The kernel's own device is reached without allocation") {
  const support::pipe_ends pipe;
  const int before = allocations;
  const auto kvm = native::kvm::open();
  if (!kvm) return support::skip_without_kvm("/dev/kvm cannot be opened", kvm.error());
  const auto vm = kvm->create_vm();
  if (!vm) return support::skip_without_kvm("no VM can be made", vm.error());
  const auto device = vm->create_kvm_vfio_device();
  if (!device) return support::skip_without_kvm("no kvm-vfio", device.error());
  const errc answer = device->attach(pipe.in.get()).error();
  const int after = allocations;
  CHECK(after == before);
  CHECK(answer == errc::inval);
}

TEST_CASE_METHOD(support::no_leaks, "A device is used without allocation") {
  namespace vfio = native::vfio;
  const vfio::region_info region{.size = 0x1000, .offset = 0};
  vfio::dependent_device devices[2];
  vfio::iova_range ranges[2];
  const int before = allocations;
  const auto event = native::event::make();
  const bool signalled = event && event->signal() == errc::ok && event->take();
  // An eventfd takes none of these calls.
  const int fd = event ? event->fd() : -1;
  const vfio::device_ref device(fd);
  const vfio::ioas_ref ioas(vfio::iommufd_ref(fd), vfio::ioas_id{1});
  const bool failed = !device.info() && !device.irq(0) && !device.region(0) &&
                      !device.read_le<std::uint32_t>(region, 0) && !device.map(region, 0, 4096) &&
                      !device.arm(0, 0, &fd, 1) && device.mask(0) != errc::ok &&
                      device.reset() != errc::ok && !device.hot_reset_devices(devices, 2) &&
                      device.hot_reset(&fd, 1) != errc::ok && !native::vm_ref(fd).irqfd(fd, 1) &&
                      !vfio::container_ref(fd).iommu_info(ranges, 2) &&
                      !ioas.iova_ranges(ranges, 2) && !vfio::map_dma(ioas, {});
  const int after = allocations;
  CHECK(after == before);
  CHECK(signalled);
  if (!support::skip_emulated()) CHECK(failed);
}

TEST_CASE_METHOD(support::no_leaks, "The model over real descriptors runs without allocation") {
  const support::pipe_ends pipe;
  const native::current_task task;
  native::coherency_callback nobody;
  std::int32_t value = 0;
  char text[200];

  const int before = allocations;
  native::vfio_symbols vfio{native::kvm_vfio_device_ref()};
  kv::device<decltype(vfio), native::mutex, native::coherency_callback, kv::linux_7_3,
             kv::inline_storage<4>, native::held_files>
      model(vfio, nobody, native::vm_ref(0));
  const errc added = model.add(native::file{pipe.in.get()});
  const auto found = task.fget(pipe.in.get());
  const bool same = found && *found == native::file{pipe.in.get()};
  const bool same_ends = native::detail::same_file_by_lock(pipe.in.get(), pipe.out.get());
  if (found) native::held_files().fput(*found);
  const bool readable = task.copy_from_user(0, value);
  (void)native::explain(text, sizeof text, native::operation::file_add, added);
  const int after = allocations;

  CHECK(after == before);
  CHECK(added == errc::inval);
  CHECK(same);
  CHECK_FALSE(same_ends);
  CHECK_FALSE(readable);
}

}  // namespace
