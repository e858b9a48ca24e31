// SPDX-License-Identifier: BSL-1.0
// Attaching devices, with both interfaces and both kinds of KVM.
#include "client.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

namespace client {
namespace {

namespace uapi = kvm_vfio::uapi;

double now() {
  timespec t{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

int number(const std::vector<std::string>& arguments, std::size_t at, int otherwise) {
  return arguments.size() > at ? std::atoi(arguments[at].c_str()) : otherwise;
}

}  // namespace

int attach_legacy(const std::vector<std::string>&) {
  attached a = attach(1);
  CHECK(identity(a.device) == 0x00011234);
  void* const memory =
      ::mmap(nullptr, 4096 * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  vfio_iommu_type1_dma_map map{};
  map.argsz = sizeof map;
  map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  map.vaddr = reinterpret_cast<std::uintptr_t>(memory);
  map.iova = 0x100000;
  map.size = 4096 * 4;
  CHECK(::ioctl(a.container, VFIO_IOMMU_MAP_DMA, &map) == 0);
  FAILS(::ioctl(a.container, VFIO_IOMMU_MAP_DMA, &map), EEXIST);
  map.iova = 0x900000;
  map.vaddr = 0x1000;  // no page is there
  FAILS(::ioctl(a.container, VFIO_IOMMU_MAP_DMA, &map), EFAULT);
  vfio_iommu_type1_dma_unmap unmap{};
  unmap.argsz = sizeof unmap;
  unmap.iova = 0x100000;
  unmap.size = 4096 * 4;
  CHECK(::ioctl(a.container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0);
  CHECK(unmap.size == 4096 * 4);
  CHECK(::ioctl(a.device, VFIO_DEVICE_RESET) == 0);
  CHECK(try_group(1) == EBUSY);
  detach(a);
  CHECK(try_group(1) == 0);
  a = attach(1);
  detach(a);
  return 0;
}

int attach_iommufd(const std::vector<std::string>&) {
  for (int round = 0; round < 2; ++round) {
    const int iommufd = ::open("/dev/iommu", O_RDWR | O_CLOEXEC);
    CHECK(iommufd >= 0);
    const int device = ::open(device_path(1).c_str(), O_RDWR | O_CLOEXEC);
    CHECK(device >= 0);
    int vm = -1;
    int kvm_vfio = -1;
    make_vm(vm, kvm_vfio);
    CHECK(track(kvm_vfio, KVM_DEV_VFIO_GROUP_ADD, device) == 0);
    uapi::device_bind_iommufd bind{sizeof bind, 0, iommufd, 0};
    CHECK(::ioctl(device, uapi::request_bind_iommufd, &bind) == 0);
    CHECK(bind.out_devid != 0);
    uapi::iommu_ioas_alloc ioas{sizeof ioas, 0, 0};
    CHECK(::ioctl(iommufd, uapi::request_ioas_alloc, &ioas) == 0);
    uapi::device_attach_iommufd_pt attach{sizeof attach, 0, ioas.out_ioas_id};
    CHECK(::ioctl(device, uapi::request_attach_iommufd_pt, &attach) == 0);
    void* const memory =
        ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    uapi::iommu_ioas_map map{};
    map.size = sizeof map;
    map.flags = 7;  // fixed address, readable, writable
    map.ioas_id = ioas.out_ioas_id;
    map.user_va = reinterpret_cast<std::uintptr_t>(memory);
    map.length = 8192;
    map.iova = 0x100000;
    CHECK(::ioctl(iommufd, uapi::request_ioas_map, &map) == 0);
    CHECK(identity(device) == 0x00011234);
    // The group and its device file exclude each other.
    CHECK(try_group(1) == EBUSY);
    uapi::iommu_ioas_unmap unmap{sizeof unmap, ioas.out_ioas_id, 0x100000, 8192};
    CHECK(::ioctl(iommufd, uapi::request_ioas_unmap, &unmap) == 0);
    CHECK(unmap.length == 8192);
    uapi::device_detach_iommufd_pt detached{sizeof detached, 0};
    CHECK(::ioctl(device, uapi::request_detach_iommufd_pt, &detached) == 0);
    uapi::iommu_destroy destroy{sizeof destroy, ioas.out_ioas_id};
    CHECK(::ioctl(iommufd, uapi::request_destroy, &destroy) == 0);
    CHECK(track(kvm_vfio, KVM_DEV_VFIO_GROUP_DEL, device) == 0);
    CHECK(::close(device) == 0);
    CHECK(::close(kvm_vfio) == 0);
    CHECK(::close(vm) == 0);
    CHECK(::close(iommufd) == 0);
    CHECK(try_group(1) == 0);
  }
  return 0;
}

// The descriptor that IOMMU_FAULT_QUEUE_ALLOC makes is one of this process.
int fault_queues(const std::vector<std::string>&) {
  const int iommufd = ::open("/dev/iommu", O_RDWR | O_CLOEXEC);
  CHECK(iommufd >= 0);
  uapi::iommu_fault_alloc queue{sizeof queue, 0, 0, 0};
  CHECK(::ioctl(iommufd, uapi::request_fault_queue_alloc, &queue) == 0);
  const auto fd = static_cast<int>(queue.out_fault_fd);
  CHECK(fd > iommufd);
  CHECK(::fcntl(fd, F_GETFD) == FD_CLOEXEC);
  unsigned char bytes[80];
  CHECK(::read(fd, bytes, sizeof bytes) == 0);
  uapi::iommu_destroy destroy{sizeof destroy, queue.out_fault_id};
  FAILS(::ioctl(iommufd, uapi::request_destroy, &destroy), EBUSY);
  const int copy = ::dup(fd);
  CHECK(copy > fd);
  CHECK(::close(fd) == 0);
  FAILS(::ioctl(iommufd, uapi::request_destroy, &destroy), EBUSY);
  CHECK(::close(copy) == 0);
  CHECK(::ioctl(iommufd, uapi::request_destroy, &destroy) == 0);
  queue.flags = 1;
  FAILS(::ioctl(iommufd, uapi::request_fault_queue_alloc, &queue), EOPNOTSUPP);
  CHECK(::close(iommufd) == 0);
  return 0;
}

// IOMMU_IOAS_MAP_FILE takes files in memory, and refuses others for a page table.
int file_memory(const std::vector<std::string>&) {
  const int iommufd = ::open("/dev/iommu", O_RDWR | O_CLOEXEC);
  const int device = ::open(device_path(1).c_str(), O_RDWR | O_CLOEXEC);
  CHECK(device >= 0);
  uapi::device_bind_iommufd bind{sizeof bind, 0, iommufd, 0};
  CHECK(::ioctl(device, uapi::request_bind_iommufd, &bind) == 0);
  uapi::iommu_ioas_alloc ioas{sizeof ioas, 0, 0};
  CHECK(::ioctl(iommufd, uapi::request_ioas_alloc, &ioas) == 0);
  uapi::device_attach_iommufd_pt attach{sizeof attach, 0, ioas.out_ioas_id};
  CHECK(::ioctl(device, uapi::request_attach_iommufd_pt, &attach) == 0);
  const int memory = ::memfd_create("memory", MFD_CLOEXEC);
  CHECK(memory >= 0);
  CHECK(::ftruncate(memory, 3 * 4096) == 0);
  uapi::iommu_ioas_map_file map{};
  map.size = sizeof map;
  map.flags = 7;  // fixed address, readable, writable
  map.ioas_id = ioas.out_ioas_id;
  map.fd = memory;
  map.length = 2 * 4096;
  map.iova = 0x100000;
  CHECK(::ioctl(iommufd, uapi::request_ioas_map_file, &map) == 0);
  map.iova = 0x200000;
  map.start = 2 * 4096;  // up to one page behind the end
  FAILS(::ioctl(iommufd, uapi::request_ioas_map_file, &map), EINVAL);
  CHECK(::ftruncate(memory, 4 * 4096) == 0);
  CHECK(::ioctl(iommufd, uapi::request_ioas_map_file, &map) == 0);
  CHECK(::close(memory) == 0);
  map.iova = 0x300000;
  FAILS(::ioctl(iommufd, uapi::request_ioas_map_file, &map), EBADF);
  map.fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(map.fd == memory);
  FAILS(::ioctl(iommufd, uapi::request_ioas_map_file, &map), EINVAL);
  CHECK(::close(map.fd) == 0);
  for (const std::uint64_t iova : {0x100000UL, 0x200000UL}) {
    uapi::iommu_ioas_unmap unmap{sizeof unmap, ioas.out_ioas_id, iova, 8192};
    CHECK(::ioctl(iommufd, uapi::request_ioas_unmap, &unmap) == 0);
  }
  uapi::device_detach_iommufd_pt detached{sizeof detached, 0};
  CHECK(::ioctl(device, uapi::request_detach_iommufd_pt, &detached) == 0);
  CHECK(::close(device) == 0);
  CHECK(::close(iommufd) == 0);
  return 0;
}

// A simulated VM has irqfds and ioeventfds with eventfds of this process.
int vm_events(const std::vector<std::string>&) {
  attached a = attach(1);
  CHECK(::ioctl(a.vm, KVM_CREATE_IRQCHIP, 0) == 0);
  const int event = ::eventfd(0, EFD_CLOEXEC);
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<std::uint32_t>(event);
  irqfd.gsi = 5;
  CHECK(::ioctl(a.vm, KVM_IRQFD, &irqfd) == 0);
  FAILS(::ioctl(a.vm, KVM_IRQFD, &irqfd), EBUSY);
  kvm_ioeventfd ioevent{};
  ioevent.addr = 0x1000;
  ioevent.len = 4;
  ioevent.fd = event;
  CHECK(::ioctl(a.vm, KVM_IOEVENTFD, &ioevent) == 0);
  FAILS(::ioctl(a.vm, KVM_IOEVENTFD, &ioevent), EEXIST);
  // A call that names another eventfd changes nothing.
  const int other = ::eventfd(0, EFD_CLOEXEC);
  struct {
    std::uint32_t argsz, flags, index, start, count;
    std::int32_t fd;
  } irqs{
      24,   VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_INTX_IRQ_INDEX, 0, 1,
      other};
  CHECK(::ioctl(a.device, VFIO_DEVICE_SET_IRQS, &irqs) == 0);
  irqs.argsz = 20;
  irqs.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
  irqs.count = 0;
  CHECK(::ioctl(a.device, VFIO_DEVICE_SET_IRQS, &irqs) == 0);
  FAILS(::ioctl(a.vm, KVM_IRQFD, &irqfd), EBUSY);
  // Another descriptor of the eventfd is the same eventfd.
  const int copy = ::dup(event);
  irqfd.fd = static_cast<std::uint32_t>(copy);
  FAILS(::ioctl(a.vm, KVM_IRQFD, &irqfd), EBUSY);
  ioevent.fd = copy;
  ioevent.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
  CHECK(::ioctl(a.vm, KVM_IOEVENTFD, &ioevent) == 0);
  FAILS(::ioctl(a.vm, KVM_IOEVENTFD, &ioevent), ENOENT);
  irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
  CHECK(::ioctl(a.vm, KVM_IRQFD, &irqfd) == 0);
  irqfd.flags = 0;
  CHECK(::ioctl(a.vm, KVM_IRQFD, &irqfd) == 0);
  // The number of a closed eventfd is free for a file of the simulated host.
  CHECK(::close(copy) == 0);
  CHECK(::close(event) == 0);
  CHECK(::dup2(a.vm, event) == event);
  CHECK(::ioctl(event, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) == 1);
  CHECK(::close(event) == 0);
  irqfd.fd = static_cast<std::uint32_t>(event);
  FAILS(::ioctl(a.vm, KVM_IRQFD, &irqfd), EBADF);
  irqfd.fd = static_cast<std::uint32_t>(a.group);
  FAILS(::ioctl(a.vm, KVM_IRQFD, &irqfd), EINVAL);
  CHECK(::close(other) == 0);
  detach(a);
  return 0;
}

int no_iommufd(const std::vector<std::string>&) {
  FAILS(::open("/dev/iommu", O_RDWR), ENOENT);
  FAILS(::open(device_path(1).c_str(), O_RDWR), ENOENT);
  FAILS(::access("/dev/vfio/devices", F_OK), ENOENT);
  return 0;
}

int real_kvm(const std::vector<std::string>&) {
  const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) {
    (void)std::fprintf(stderr, "SKIPPED: /dev/kvm: %s\n", std::strerror(errno));
    return skipped;
  }
  CHECK(::close(kvm) == 0);
  attached a = attach(1);
  // Only a real VM has a vCPU.
  const int vcpu = ::ioctl(a.vm, KVM_CREATE_VCPU, 0);
  CHECK(vcpu >= 0);
  CHECK(::close(vcpu) == 0);
  kvm_create_device c{KVM_DEV_TYPE_VFIO, 0, 0};
  c.flags = KVM_CREATE_DEVICE_TEST;
  CHECK(::ioctl(a.vm, KVM_CREATE_DEVICE, &c) == 0);
  c.type = 4095;  // no device has this type
  FAILS(::ioctl(a.vm, KVM_CREATE_DEVICE, &c), ENODEV);
  kvm_device_attr has{0, kvm_vfio::uapi::dev_vfio_file, KVM_DEV_VFIO_GROUP_ADD, 0};
  CHECK(::ioctl(a.kvm_vfio, KVM_HAS_DEVICE_ATTR, &has) == 0);
  has.attr = 77;
  FAILS(::ioctl(a.kvm_vfio, KVM_HAS_DEVICE_ATTR, &has), ENXIO);
  detach(a);
  return 0;
}

int simulated_kvm(const std::vector<std::string>&) {
  const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  CHECK(kvm >= 0);
  CHECK(::ioctl(kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION);
  const int vm = ::ioctl(kvm, KVM_CREATE_VM, 0);
  CHECK(vm >= 0);
  CHECK(::ioctl(vm, KVM_CREATE_VCPU, 0) < 0);
  CHECK(::close(vm) == 0);
  CHECK(::close(kvm) == 0);
  attached a = attach(1);
  detach(a);
  return 0;
}

// Attaches and detaches N times, and prints the times of a cycle.
int cycles(const std::vector<std::string>& arguments) {
  const int count = number(arguments, 0, 1000);
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    const double began = now();
    attached a = attach(1);
    detach(a);
    times.push_back(now() - began);
    if (i == count / 10 || i == count - 1) {
      // The driver looks at the launcher now.
      (void)std::puts(i == count - 1 ? "done" : "warm");
      (void)std::fflush(stdout);
      char line[8];
      if (arguments.size() > 1) CHECK(std::fgets(line, sizeof line, stdin));
    }
  }
  std::sort(times.begin(), times.end());
  (void)std::printf("cycles %d median %.0f us p99 %.0f us\n", count, times[times.size() / 2],
                    times[times.size() * 99 / 100]);
  return 0;
}

// Calls that fail, which the checker reports.
int mistakes(const std::vector<std::string>&) {
  attached a = attach(1);
  FAILS(track(a.kvm_vfio, KVM_DEV_VFIO_GROUP_ADD, a.group), EEXIST);
  FAILS(track(a.kvm_vfio, KVM_DEV_VFIO_GROUP_ADD, 0), EINVAL);
  FAILS(track(a.kvm_vfio, KVM_DEV_VFIO_GROUP_ADD, 900), EBADF);
  FAILS(::ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
  detach(a);
  return 0;
}

// Closes a group that a VM tracks before FILE_DEL, which the checker reports.
int wrong_order(const std::vector<std::string>&) {
  attached a = attach(1);
  CHECK(::close(a.device) == 0);
  CHECK(::close(a.group) == 0);
  return 0;
}

// Attaches, and prints the name of the error that a step had.
int attach_error(const std::vector<std::string>& arguments) {
  const int rounds = number(arguments, 0, 1);
  for (int i = 0; i < rounds; ++i) {
    errno = 0;
    int failed = 0;
    const int container = ::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (container < 0) failed = errno;
    const int group = failed ? -1 : ::open(group_path(1).c_str(), O_RDWR | O_CLOEXEC);
    if (!failed && group < 0) failed = errno;
    if (!failed && ::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) != 0) failed = errno;
    if (!failed && ::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) != 0) failed = errno;
    if (group >= 0) (void)::close(group);
    if (container >= 0) (void)::close(container);
    const char* const name = ::strerrorname_np(failed);
    (void)std::puts(failed && name ? name : "ok");
  }
  return 0;
}

// Maps a range whose size is no multiple of the page size, and ends with status 1.
int small_map(const std::vector<std::string>&) {
  attached a = attach(1, false);
  vfio_iommu_type1_dma_map m{};
  m.argsz = sizeof m;
  m.flags = VFIO_DMA_MAP_FLAG_READ;
  m.vaddr = reinterpret_cast<std::uintptr_t>(&m) & ~std::uintptr_t{4095};
  m.iova = 1U << 20;
  m.size = 0x1064;
  FAILS(::ioctl(a.container, VFIO_IOMMU_MAP_DMA, &m), EINVAL);
  detach(a);
  return 1;
}

namespace {

// Makes a call. If the call fails with ENOTNAM, prints its kind, and makes the call once more.
template <class Call>
std::int64_t twice(const char* kind, Call call) {
  const auto once = [&] { return static_cast<std::int64_t>(call()); };
  const std::int64_t made = once();
  if (made != -1 || errno != ENOTNAM) return made;
  (void)std::puts(kind);
  return once();
}

}  // namespace

// Makes a call of each kind, and prints those that fail at first with ENOTNAM.
int each_kind(const std::vector<std::string>&) {
  const auto open = [](const std::string& path) {
    return static_cast<int>(twice("open", [&] { return ::open(path.c_str(), O_RDWR); }));
  };
  const int container = open("/dev/vfio/vfio");
  const int group = open(group_path(1));
  CHECK(twice("ioctl", [&] { return ::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container); }) == 0);
  CHECK(::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0);
  const int device = ::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, device_name(1).c_str());
  CHECK(device >= 0);
  const auto config = region(device, VFIO_PCI_CONFIG_REGION_INDEX);
  const auto at = static_cast<off_t>(config.offset) + 4;
  std::uint16_t command = 0;
  CHECK(twice("pread", [&] { return ::pread(device, &command, 2, at); }) == 2);
  command |= 2;
  CHECK(twice("pwrite", [&] { return ::pwrite(device, &command, 2, at); }) == 2);
  char byte = 0;
  // The position of a device begins in BAR 0.
  CHECK(twice("read", [&] { return ::read(device, &byte, 1); }) == 1);
  CHECK(twice("write", [&] { return ::write(device, &byte, 1); }) == 1);
  const std::int64_t bar = twice("mmap", [&] {
    return reinterpret_cast<std::intptr_t>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0));
  });
  CHECK(bar != -1);
  const auto memory = reinterpret_cast<volatile char*>(static_cast<std::intptr_t>(bar));
  CHECK(twice("munmap", [&] {
          // A call that fails leaves the memory there.
          memory[0] = 1;
          return ::munmap(const_cast<char*>(memory), 4096);
        }) == 0);
  const int copy = static_cast<int>(twice("dup", [&] { return ::dup(container); }));
  CHECK(copy >= 0 && ::ioctl(copy, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
  CHECK(::dup2(container, 40) == 40 && ::ioctl(40, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
  CHECK(::fcntl(container, F_DUPFD, 50) == 50);
  // A close that fails has closed the descriptor.
  if (::close(50) != 0) (void)std::puts(errno == ENOTNAM ? "close" : "not ENOTNAM");
  FAILS(::fcntl(50, F_GETFD), EBADF);
  for (const int fd : {40, copy, device, group, container}) CHECK(::close(fd) == 0);
  return 0;
}

}  // namespace client
