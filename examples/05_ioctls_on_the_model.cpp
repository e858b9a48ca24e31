// SPDX-License-Identifier: BSL-1.0
// Tests a VMM that uses ioctl numbers and structs, as in C, on the model: a process with
// descriptors, a VM on one of them, KVM_CREATE_DEVICE and KVM_SET_DEVICE_ATTR. It needs no
// /dev/kvm.
#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/process.hpp>
#include <kvm_vfio/testing/recording_iommu.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

namespace kv = kvm_vfio;
namespace kt = kvm_vfio::testing;

// The VMM's code under test. It makes its system calls through a System, which a test replaces. The
// System has `close`, and `ioctl`, which returns 0 or the error number (ioctl(2) returns -1 and
// sets errno). The function returns the descriptor of the kvm-vfio device. If it fails, it returns
// the negated error number and leaves nothing open.
template <class System>
int plug(System& system, int vm, const int* vfio_files, int count) {
  kvm_create_device create{.type = KVM_DEV_TYPE_VFIO, .fd = 0, .flags = 0};
  if (const int e = system.ioctl(vm, KVM_CREATE_DEVICE, &create)) return -e;
  const int device = static_cast<int>(create.fd);
  for (int i = 0; i < count; ++i) {
    const std::int32_t fd = vfio_files[i];
    kvm_device_attr add{.flags = 0,
                        .group = kv::uapi::dev_vfio_file,
                        .attr = kv::uapi::dev_vfio_file_add,
                        .addr = reinterpret_cast<std::uintptr_t>(&fd)};
    if (const int e = system.ioctl(device, KVM_SET_DEVICE_ATTR, &add)) {
      system.close(device);
      return -e;
    }
  }
  return device;
}

// The System in production.
struct host {
  int ioctl(int fd, unsigned long request, void* argument) {
    return ::ioctl(fd, request, argument) < 0 ? errno : 0;
  }
  void close(int fd) { (void)::close(fd); }
};

// The System in tests: a kernel with one process and its VM.
struct model {
  using vm = kv::vm<kt::process, kt::vm_id>;
  using vfio_type =
      kv::vfio_device_type<vm, kt::recording_symbols, kv::null_lock, kt::recording_iommu,
                           kv::linux_7_3, kv::heap_storage, kt::open_files::policy>;

  kt::journal log;
  kt::fault_plan plan;
  kt::recording_symbols vfio{log};
  kt::recording_iommu iommu{log};
  kt::open_files files{log, &plan};
  kt::process task{files, log, &plan};
  vm::types types;
  vfio_type type{vfio, iommu, {}, {}, kt::open_files::policy(files)};
  vm kvm{types, kt::vm_id{1}, task};
  int vm_fd = task.open(kvm);

  model() {
    (void)types.register_type(kv::uapi::dev_type_vfio, type);
    task.memory.share_host();  // the VMM's pointers are good as they are
  }
  ~model() { task.exit(); }  // before what its descriptors refer to

  int ioctl(int fd, unsigned long request, void* argument) {
    return static_cast<int>(task.ioctl(fd, request, reinterpret_cast<std::uintptr_t>(argument)));
  }
  void close(int fd) { (void)task.close(fd); }
};

namespace {
int failures = 0;
void expect(bool holds, const char* what) {
  std::printf("%-6s %s\n", holds ? "ok" : "FAILED", what);
  failures += !holds;
}
}  // namespace

int main() {
  {
    model m;
    const int files[] = {m.task.open(m.vfio.make()), m.task.open(m.vfio.make({.coherent = false}))};
    const int device = plug(m, m.vm_fd, files, 2);
    expect(device >= 0 && m.iommu.registered() == 1, "two files are added, and one is noncoherent");
    expect(plug(m, m.vm_fd, files, 2) == -EBUSY, "a second kvm-vfio of the VM fails with EBUSY");
    expect(m.ioctl(device, KVM_GET_DEVICE_ATTR, nullptr) == EPERM,
           "KVM_GET_DEVICE_ATTR fails with EPERM");
    m.close(device);
    expect(m.iommu.registered() == 0 && m.files.references() == 3,
           "closing the device releases both files; the descriptors of the VM and the files stay");
  }
  {
    model m;
    const int files[] = {m.task.open(m.vfio.make()), m.vm_fd};
    expect(plug(m, m.vm_fd, files, 2) == -EINVAL, "a VM is not a VFIO file: EINVAL");
    expect(m.kvm.users() == 1 && m.files.references() == 2,
           "the failed attempt leaves nothing behind");
  }
  {
    model m;
    const int file = m.task.open(m.vfio.make());
    m.plan.fail(kt::fault::install, 1, kv::errc::mfile);
    expect(plug(m, m.vm_fd, &file, 1) == -EMFILE, "without a free descriptor it fails with EMFILE");
    expect(plug(m, m.vm_fd, &file, 1) >= 0, "the next attempt succeeds");
  }
  {
    host h;  // the code under test with the system calls of this host, up to the first call on a VM
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    expect(plug(h, null, nullptr, 0) == -ENOTTY, "on the host, /dev/null is not a VM: ENOTTY");
    h.close(null);
    expect(plug(h, null, nullptr, 0) == -EBADF,
           "on the host, a closed descriptor fails with EBADF");
  }
  return failures == 0 ? 0 : 1;
}
