// SPDX-License-Identifier: BSL-1.0
// Everything of the library in a project with more warnings than the library's own: every header,
// and the members of the main templates. It is compiled, never run.

#include "every_header.hpp"

namespace strict {

namespace kv = kvm_vfio;
namespace kt = kvm_vfio::testing;
namespace native = kvm_vfio::native;
namespace sim = kvm_vfio::sim;
namespace trace = kvm_vfio::trace;

kv::errc with_mocks(kt::process& task, const kt::file_id& file);
kv::errc with_the_system(const native::vm& vm, int fd);
kv::errc with_a_vm(kt::open_files& files, kt::process& task);
sim::snapshot with_the_simulator(const sim::topology& of);

namespace {

template <class Device, class File, class Caller>
kv::errc all_of(Device& device, const File& file, Caller& from) {
  File seen[4] = {};
  std::size_t count = device.snapshot(seen, 4);
  device.for_each([&](const File& f) {
    if (f == file) ++count;
  });
  if constexpr (Device::spapr)
    if (const kv::errc e = device.set_spapr_tce(file, 1); e != kv::errc::ok) return e;
  const kvm_device_attr attr{.flags = 0, .group = 1, .attr = 1, .addr = 0};
  if (const kv::errc e = device.set_attr(from, attr); e != kv::errc::ok) return e;
  if (const kv::errc e = device.add(file); e != kv::errc::ok) return e;
  return device.noncoherent() && count == device.size() ? device.del(file) : device.has_attr(attr);
}

// FILE_ADD and FILE_DEL of a descriptor, whoever the kernel is.
template <class Endpoint>
kv::errc attached(Endpoint& device, int fd) {
  auto first = kv::attach(device, fd);
  if (!first) return first.error();
  auto second = static_cast<decltype(first)&&>(first);
  return second->detach();
}

}  // namespace

kv::errc with_mocks(kt::process& task, const kt::file_id& file) {
  kt::journal log;
  kt::fault_plan plan;
  kt::recording_symbols vfio(log);
  kt::epoch_symbols epoch(log);
  kt::failing_symbols<kt::recording_symbols> failing(plan, log);
  kt::recording_iommu iommu(log);
  kt::failing_spapr_iommu<kt::recording_spapr_iommu> power(plan, log);
  kt::counting_lock lock(log);
  const kt::vm_id vm{1};

  kv::device plain(vfio, kv::null_lock{}, iommu, vm);
  kv::device shared(vfio, lock, iommu, vm, kv::linux_6_1{});
  kv::device spapr(failing, kv::null_lock{}, power, vm, kv::linux_6_12{},
                   kt::failing_storage<>(plan));
  kv::device fixed(epoch, kv::null_lock{}, iommu, vm, kv::linux_7_3{}, kv::inline_storage<40>{});
  kv::device<kt::recording_symbols, native::mutex, kt::recording_iommu> own(vfio, iommu, vm);
  (void)all_of(plain, file, task);
  (void)all_of(shared, file, task);
  (void)all_of(spapr, file, task);
  (void)all_of(own, file, task);
  return all_of(fixed, file, task);
}

kv::errc with_the_system(const native::vm& vm, int fd) {
  const auto kernel = vm.create_kvm_vfio_device();
  if (!kernel) return kernel.error();
  native::vfio_symbols vfio(*kernel);
  native::coherency_callback iommu;
  native::kvm_spapr_tce power(kernel->borrow());
  native::current_task task;
  const native::file file{fd};
  kv::device<native::vfio_symbols<>, native::mutex, native::coherency_callback> model(vfio, iommu,
                                                                                      vm.borrow());
  kv::device<native::vfio_symbols<>, native::mutex, native::kvm_spapr_tce<>> spapr(vfio, power,
                                                                                   vm.borrow());
  if (const kv::errc e = all_of(model, file, task); e != kv::errc::ok) return e;
  if (const kv::errc e = all_of(spapr, file, task); e != kv::errc::ok) return e;
  native::kvm_vfio_device_ref device = kernel->borrow();
  return attached(device, fd);
}

kv::errc with_a_vm(kt::open_files& files, kt::process& task) {
  using machine = kv::vm<kt::process, kt::vm_id>;
  kt::journal log;
  kt::recording_symbols vfio(log);
  kt::recording_iommu iommu(log);
  machine::types types;
  kv::vfio_device_type<machine, kt::recording_symbols, kv::null_lock, kt::recording_iommu,
                       kv::linux_7_3, kv::heap_storage, kt::open_files::policy>
      type(vfio, iommu, {}, {}, kt::open_files::policy(files));
  if (const kv::errc e = types.register_type(kv::uapi::dev_type_vfio, type); e != kv::errc::ok)
    return e;
  machine vm(types, kt::vm_id{1}, task);
  kt::model_endpoint device(task, task.open(vm));
  return attached(device, 3);
}

sim::snapshot with_the_simulator(const sim::topology& of) {
  sim::world_of<kv::linux_7_3> world(of);
  sim::kernel<> kernel(world);
  sim::kernel<kv::linux_6_1> old(of);
  sim::kernel<kv::linux_6_12, sim::kvm_spapr_tce> power(of);
  sim::memory memory;
  sim::process task(kernel, memory);
  trace::checker checker;
  task.observe(checker);
  (void)task.open("/dev/vfio/vfio");
  (void)power.vms();
  return old.vms().empty() ? kernel.look() : old.look();
}

}  // namespace strict
