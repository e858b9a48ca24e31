// SPDX-License-Identifier: BSL-1.0
// Attaches a device through its group and then through iommufd, as a VMM does. The program is an
// ordinary one, which is linked statically and dynamically. Its exit status is 0 if all went well.
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace {

namespace uapi = kvm_vfio::uapi;

#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) {                                                              \
      (void)std::fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, \
                         std::strerror(errno));                                      \
      std::exit(1);                                                                  \
    }                                                                                \
  } while (false)

constexpr std::size_t size = 0x4000;

vfio_region_info region(int device, std::uint32_t index) {
  vfio_region_info info{};
  info.argsz = sizeof info;
  info.index = index;
  CHECK(::ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0);
  return info;
}

// The interrupts of an action, with one descriptor or none.
void set_irqs(int device, std::uint32_t flags, int event) {
  alignas(vfio_irq_set) unsigned char bytes[sizeof(vfio_irq_set) + sizeof event] = {};
  vfio_irq_set head{};
  const bool has_event = (flags & VFIO_IRQ_SET_DATA_EVENTFD) != 0;
  head.argsz = static_cast<std::uint32_t>(sizeof head + (has_event ? sizeof event : 0));
  head.flags = flags;
  head.index = VFIO_PCI_MSI_IRQ_INDEX;
  head.count = (flags & VFIO_IRQ_SET_DATA_NONE) && event < 0 ? 0 : 1;
  std::memcpy(bytes, &head, sizeof head);
  if (has_event) std::memcpy(bytes + sizeof head, &event, sizeof event);
  CHECK(::ioctl(device, VFIO_DEVICE_SET_IRQS, bytes) == 0);
}

void interrupt(int device) {
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK(event >= 0);
  set_irqs(device, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD, event);
  std::uint64_t count = 0;
  CHECK(::read(event, &count, sizeof count) == -1);
  set_irqs(device, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE, 0);
  CHECK(::read(event, &count, sizeof count) == sizeof count);
  CHECK(count == 1);
  set_irqs(device, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE, -1);
  CHECK(::close(event) == 0);
}

void use_device(int device) {
  const vfio_region_info config = region(device, VFIO_PCI_CONFIG_REGION_INDEX);
  std::uint16_t vendor = 0;
  CHECK(::pread(device, &vendor, sizeof vendor, static_cast<off_t>(config.offset)) == 2);
  CHECK(vendor == 0x1234);
  const std::uint16_t memory_on = 2;
  CHECK(::pwrite(device, &memory_on, 2, static_cast<off_t>(config.offset + 4)) == 2);
  // The last BAR is at the largest offset.
  for (const std::uint32_t bar : {0U, 5U}) {
    const vfio_region_info info = region(device, bar);
    CHECK(info.size == size);
    const auto at = static_cast<off_t>(info.offset);
    CHECK(::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, device, at) == MAP_FAILED);
    CHECK(errno == EINVAL);
    CHECK(::mmap(nullptr, size, PROT_READ, MAP_SHARED, device, static_cast<off_t>(config.offset)) ==
          MAP_FAILED);
    void* const mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, device, at);
    CHECK(mapped != MAP_FAILED);
    auto* const words = static_cast<volatile std::uint32_t*>(mapped);
    std::uint32_t word = 0x1000 + bar;
    CHECK(::pwrite(device, &word, sizeof word, at + 8) == sizeof word);
    CHECK(words[2] == 0x1000 + bar);
    words[3] = 0x2000 + bar;
    CHECK(::pread(device, &word, sizeof word, at + 12) == sizeof word);
    CHECK(word == 0x2000 + bar);
    CHECK(::munmap(mapped, size) == 0);
  }
  interrupt(device);
  CHECK(::ioctl(device, VFIO_DEVICE_RESET, 0) == 0);
}

void through_group(void* memory) {
  const int container = ::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
  CHECK(container >= 0);
  CHECK(::ioctl(container, VFIO_GET_API_VERSION, 0) == VFIO_API_VERSION);
  int group = ::open("/dev/vfio/1", O_RDWR | O_CLOEXEC);
  CHECK(group >= 0);
  CHECK(::open("/dev/vfio/1", O_RDWR) == -1 && errno == EBUSY);
  CHECK(::open("/dev/vfio/4242", O_RDWR) == -1 && errno == ENOENT);
  CHECK(::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0);
  CHECK(::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0);
  const int device = ::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
  CHECK(device >= 0);
  vfio_iommu_type1_dma_map map{};
  map.argsz = sizeof map;
  map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  map.vaddr = reinterpret_cast<std::uintptr_t>(memory);
  map.iova = 0x100000;
  map.size = size;
  CHECK(::ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0);
  use_device(device);
  // The file ends with its last descriptor and its last mapping.
  const int copy = ::fcntl(device, F_DUPFD_CLOEXEC, 20);
  CHECK(copy == 20);
  CHECK(::dup2(group, 21) == 21);
  CHECK(::close(device) == 0);
  CHECK(::close(group) == 0);
  group = 21;
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, copy, 0);
  CHECK(mapped != MAP_FAILED);
  CHECK(::close(copy) == 0);
  CHECK(::ioctl(group, VFIO_GROUP_UNSET_CONTAINER, 0) == -1 && errno == EBUSY);
  CHECK(::munmap(mapped, size) == 0);
  vfio_iommu_type1_dma_unmap unmap{};
  unmap.argsz = sizeof unmap;
  unmap.iova = map.iova;
  unmap.size = size;
  CHECK(::ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0);
  CHECK(::ioctl(group, VFIO_GROUP_UNSET_CONTAINER, 0) == 0);
  CHECK(::close(group) == 0);
  CHECK(::close(container) == 0);
}

void through_iommufd(void* memory) {
  const int iommufd = ::open("/dev/iommu", O_RDWR | O_CLOEXEC);
  CHECK(iommufd >= 0);
  const int device = ::open("/dev/vfio/devices/vfio0", O_RDWR | O_CLOEXEC);
  CHECK(device >= 0);
  uapi::device_bind_iommufd bind{sizeof bind, 0, iommufd, 0};
  CHECK(::ioctl(device, uapi::request_bind_iommufd, &bind) == 0);
  uapi::iommu_ioas_alloc space{};
  space.size = sizeof space;
  CHECK(::ioctl(iommufd, uapi::request_ioas_alloc, &space) == 0);
  uapi::device_attach_iommufd_pt attach{sizeof attach, 0, space.out_ioas_id};
  CHECK(::ioctl(device, uapi::request_attach_iommufd_pt, &attach) == 0);
  uapi::iommu_ioas_map map{};
  map.size = sizeof map;
  map.flags = uapi::map_fixed_iova | uapi::map_readable | uapi::map_writeable;
  map.ioas_id = space.out_ioas_id;
  map.user_va = reinterpret_cast<std::uintptr_t>(memory);
  map.length = size;
  map.iova = 0x100000;
  CHECK(::ioctl(iommufd, uapi::request_ioas_map, &map) == 0);
  use_device(device);
  uapi::device_detach_iommufd_pt detach{};
  detach.argsz = sizeof detach;
  CHECK(::ioctl(device, uapi::request_detach_iommufd_pt, &detach) == 0);
  CHECK(::close(device) == 0);
  CHECK(::close(iommufd) == 0);
}

void look_around() {
  std::string vendor;
  std::ifstream("/sys/bus/pci/devices/0000:01:00.0/vendor") >> vendor;
  CHECK(vendor == "0x1234");
  struct stat node{};
  CHECK(::stat("/dev/vfio/1", &node) == 0);
  CHECK(S_ISCHR(node.st_mode));
  CHECK(::access("/dev/vfio/4242", F_OK) == -1 && errno == ENOENT);
  char link[256];
  const ssize_t n = ::readlink("/sys/bus/pci/devices/0000:01:00.0/iommu_group", link, sizeof link);
  CHECK(n > 2 && std::string(link, static_cast<std::size_t>(n)).ends_with("iommu_groups/1"));
}

}  // namespace

int main() {
  void* const memory =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  look_around();
  through_group(memory);
  through_iommufd(memory);
}
