// SPDX-License-Identifier: BSL-1.0
// What the calls on an open VFIO device, its DMA and its interrupts pass to the system, and what
// they make of the answers.
#include "scripted_system.hpp"
#include "support.hpp"

#include <kvm_vfio/native/dma_guard.hpp>
#include <kvm_vfio/native/event.hpp>
#include <kvm_vfio/native/ioas.hpp>
#include <kvm_vfio/native/vfio.hpp>

#include <random>

namespace vfio = kvm_vfio::native::vfio;
using support::bytes;
using support::made_call;
using support::scripted;

namespace {

using words = std::vector<std::uint32_t>;

constexpr int fd = 20;
constexpr std::uint32_t msix = VFIO_PCI_MSIX_IRQ_INDEX;
constexpr std::uint32_t trigger_eventfd = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
constexpr std::uint32_t trigger_none = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;

// A device, and a script of what the kernel answers.
struct on_script {
  support::script script;
  scripted sys{script};
  vfio::basic_device_ref<scripted> device{fd, sys};
  vfio::basic_container_ref<scripted> container{fd, sys};
  vfio::basic_iommufd_ref<scripted> iommufd{fd, sys};
  native::basic_vm_ref<scripted> vm{fd, sys};

  // Answers an ioctl with bytes from `at` on, and says that the answer has `argsz` bytes.
  void answer(std::uint64_t request, const bytes& all) {
    script.ioctls[request] = [all](unsigned char* to) {
      std::uint32_t space = 0;
      std::memcpy(&space, to, sizeof space);
      std::memcpy(to, all.data(), std::min<std::size_t>(space, all.size()));
      return kv::result<int>(0);
    };
  }
};

template <class Number>
void put(bytes& in, std::size_t at, Number number) {
  if (in.size() < at + sizeof number) in.resize(at + sizeof number);
  std::memcpy(in.data() + at, &number, sizeof number);
}

// A capability at `at`: its number, the offset of the next one, and a count with pairs.
void put_capability(bytes& in, std::size_t at, std::uint16_t id, std::uint32_t next,
                    std::uint32_t count, const std::vector<std::uint64_t>& numbers,
                    std::uint16_t version = 1) {
  put(in, at, id);
  put(in, at + 2, version);
  put(in, at + 4, next);
  put(in, at + 8, count);
  put(in, at + 12, std::uint32_t{0});
  for (std::size_t i = 0; i < numbers.size(); ++i) put(in, at + 16 + 8 * i, numbers[i]);
}

// The answer of GET_REGION_INFO whose chain of capabilities starts at `first`.
bytes region_answer(std::uint32_t flags, std::uint32_t first) {
  bytes all;
  put(all, 0, std::uint32_t{4096});
  put(all, 4, flags);
  put(all, 8, std::uint32_t{2});
  put(all, 12, first);
  put(all, 16, std::uint64_t{0x10000});
  put(all, 24, std::uint64_t{0x20000000000});
  return all;
}

// The answer of IOMMU_GET_INFO.
bytes iommu_answer(std::uint32_t first, std::uint32_t flags = 3) {
  bytes all;
  put(all, 0, std::uint32_t{4096});
  put(all, 4, flags);
  put(all, 8, std::uint64_t{0x40201000});
  put(all, 16, first);
  put(all, 20, std::uint32_t{0});
  return all;
}

constexpr std::uint32_t region_flags =
    VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;

TEST_CASE_METHOD(on_script, "A device says what it is") {
  bytes all;
  put(all, 0, std::uint32_t{sizeof(vfio_device_info)});
  put(all, 4, std::uint32_t{VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET});
  put(all, 8, std::uint32_t{9});
  put(all, 12, std::uint32_t{5});
  answer(VFIO_DEVICE_GET_INFO, all);
  const auto info = device.info();
  REQUIRE(info);
  CHECK(info->is_pci());
  CHECK(info->can_reset());
  CHECK_FALSE(info->is_platform());
  CHECK(info->regions == 9);
  CHECK(info->irqs == 5);
  const made_call call = script.one();
  CHECK(call.fd == fd);
  CHECK(call.number == VFIO_DEVICE_GET_INFO);
  CHECK(call.data.size() == sizeof(vfio_device_info));

  put(all, 4, std::uint32_t{VFIO_DEVICE_FLAGS_PLATFORM});
  answer(VFIO_DEVICE_GET_INFO, all);
  CHECK(device.info().value().is_platform());
  script.fail(VFIO_DEVICE_GET_INFO, errc::inval);
  CHECK(device.info().error() == errc::inval);
}

TEST_CASE_METHOD(on_script, "An interrupt index says what it can do") {
  bytes all;
  put(all, 0, std::uint32_t{16});
  put(all, 4, std::uint32_t{VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE});
  put(all, 8, msix);
  put(all, 12, std::uint32_t{33});
  answer(VFIO_DEVICE_GET_IRQ_INFO, all);
  const auto info = device.irq(msix);
  REQUIRE(info);
  CHECK(info->count == 33);
  CHECK(info->eventfd());
  CHECK(info->noresize());
  CHECK_FALSE(info->maskable());
  CHECK_FALSE(info->automasked());
  CHECK(script.one().words() == words{16, 0, msix, 0});

  put(all, 4, std::uint32_t{VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED});
  answer(VFIO_DEVICE_GET_IRQ_INFO, all);
  CHECK(device.irq(0).value().maskable());
  CHECK(device.irq(0).value().automasked());
  script.fail(VFIO_DEVICE_GET_IRQ_INFO, errc::inval);
  CHECK(device.irq(9).error() == errc::inval);
}

TEST_CASE_METHOD(on_script, "A region without capabilities is mappable as a whole") {
  answer(VFIO_DEVICE_GET_REGION_INFO,
         region_answer(VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE, 0));
  const auto region = device.region(2);
  REQUIRE(region);
  CHECK(region->index == 2);
  CHECK(region->size == 0x10000);
  CHECK(region->offset == 0x20000000000);
  CHECK(region->readable());
  CHECK(region->writable());
  CHECK_FALSE(region->mappable());
  CHECK_FALSE(region->sparse);
  const made_call call = script.one();
  CHECK(call.number == VFIO_DEVICE_GET_REGION_INFO);
  words expected(1024);
  expected[0] = 4096;
  expected[2] = 2;
  CHECK(call.words() == expected);

  script.fail(VFIO_DEVICE_GET_REGION_INFO, errc::inval);
  CHECK(device.region(99).error() == errc::inval);
}

TEST_CASE_METHOD(on_script, "The areas of a sparse region are those of the kernel's list") {
  bytes all = region_answer(region_flags, 32);
  put_capability(all, 32, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 48, 0, {});
  put_capability(all, 48, VFIO_REGION_INFO_CAP_SPARSE_MMAP, 0, 2, {0, 0x2000, 0x3000, 0xd000});
  answer(VFIO_DEVICE_GET_REGION_INFO, all);
  vfio::region_area areas[3] = {{}, {}, {7, 7}};
  auto region = device.region(2, areas, 3);
  REQUIRE(region);
  CHECK(region->mappable());
  CHECK(region->sparse);
  CHECK(region->areas == 2);
  CHECK(areas[0].offset == 0);
  CHECK(areas[0].size == 0x2000);
  CHECK(areas[1].offset == 0x3000);
  CHECK(areas[1].size == 0xd000);
  CHECK(areas[2].size == 7);

  // An array that is too small holds the first areas, and the number is that of all areas.
  areas[1] = {7, 7};
  region = device.region(2, areas, 1);
  REQUIRE(region);
  CHECK(region->areas == 2);
  CHECK(areas[1].size == 7);
  CHECK(device.region(2).value().areas == 2);

  // A list without areas: nothing can be mapped.
  put_capability(all, 48, VFIO_REGION_INFO_CAP_SPARSE_MMAP, 0, 0, {});
  answer(VFIO_DEVICE_GET_REGION_INFO, all);
  region = device.region(2);
  REQUIRE(region);
  CHECK(region->sparse);
  CHECK(region->areas == 0);

  // Another version of the capability is not understood.
  put_capability(all, 48, VFIO_REGION_INFO_CAP_SPARSE_MMAP, 0, 2, {}, 2);
  answer(VFIO_DEVICE_GET_REGION_INFO, all);
  CHECK_FALSE(device.region(2).value().sparse);
}

TEST_CASE_METHOD(on_script, "A chain of capabilities that lies is refused") {
  const auto error_of = [this](const bytes& all) {
    answer(VFIO_DEVICE_GET_REGION_INFO, all);
    vfio::region_area areas[300];
    return device.region(2, areas, 300).error();
  };
  bytes all = region_answer(region_flags, 32);
  put_capability(all, 32, VFIO_REGION_INFO_CAP_SPARSE_MMAP, 0, 254, {});
  CHECK(error_of(region_answer(region_flags, 0)) == errc::ok);
  for (const std::uint32_t outside : {4089U, 4092U, 4096U, 5000U, 0xfffffff8U, 0xffffffffU})
    CHECK(error_of(region_answer(region_flags, outside)) == errc::proto);
  // A header at the end of the answer has no room for the count.
  bytes end = region_answer(region_flags, 4088);
  put(end, 4088, std::uint16_t{VFIO_REGION_INFO_CAP_SPARSE_MMAP});
  put(end, 4090, std::uint16_t{1});
  put(end, 4092, std::uint32_t{0});
  CHECK(error_of(end) == errc::proto);
  // Loops: of one capability, and of two.
  bytes loop = region_answer(region_flags, 32);
  put_capability(loop, 32, VFIO_REGION_INFO_CAP_TYPE, 32, 0, {});
  CHECK(error_of(loop) == errc::proto);
  put_capability(loop, 32, VFIO_REGION_INFO_CAP_TYPE, 64, 0, {});
  put_capability(loop, 64, VFIO_REGION_INFO_CAP_TYPE, 32, 0, {});
  CHECK(error_of(loop) == errc::proto);
  // More areas than the answer has.
  for (const std::uint32_t count : {253U, 254U, 1000U, 0x10000000U, 0xffffffffU}) {
    put(all, 40, count);
    CHECK(error_of(all) == (count <= 253 ? errc::ok : errc::proto));
  }
  // An answer that says that it is longer than the space, or shorter than its header.
  put(all, 40, std::uint32_t{1});
  put(all, 0, std::uint32_t{4097});
  CHECK(error_of(all) == errc::msgsize);
  put(all, 0, std::uint32_t{0xffffffff});
  CHECK(error_of(all) == errc::msgsize);
  for (const std::uint32_t size : {0U, 8U, 32U, 39U, 47U, 63U}) {
    put(all, 0, size);
    CHECK(error_of(all) == errc::proto);
  }
  put(all, 0, std::uint32_t{64});
  CHECK(error_of(all) == errc::ok);
}

TEST_CASE_METHOD(on_script, "No answer makes the library read outside of it") {
  std::mt19937 engine(1);
  const auto below = [&engine](std::uint32_t end) {
    return static_cast<std::uint32_t>(engine() % end);
  };
  for (int round = 0; round < 20000; ++round) {
    bytes all = region_answer(region_flags, below(4200));
    all.resize(4096);
    for (std::size_t at = 32; at + 16 <= all.size(); at += 8 * (1 + below(8))) {
      put(all, at, static_cast<std::uint16_t>(below(4)));
      put(all, at + 2, std::uint16_t{1});
      put(all, at + 4, below(4200));
      put(all, at + 8, below(300));
    }
    put(all, 0, below(4200));
    answer(VFIO_DEVICE_GET_REGION_INFO, all);
    put(all, 16, std::uint32_t{32});
    answer(VFIO_IOMMU_GET_INFO, all);
    vfio::region_area areas[8];
    vfio::iova_range ranges[8];
    (void)device.region(0, areas, 8);
    (void)container.iommu_info(ranges, 8);
    script.calls.clear();
  }
}

TEST_CASE_METHOD(on_script, "Bytes of a region are read and written at the region's position") {
  const vfio::region_info region{.size = 0x100, .offset = 0x70000000000};
  char some[16] = {};
  script.moved = sizeof some;
  CHECK(device.read(region, 0x40, some, sizeof some) == errc::ok);
  made_call call = script.one();
  CHECK(call.name == "pread");
  CHECK(call.fd == fd);
  CHECK(call.number == 0x70000000040);
  CHECK(call.size == 16);
  CHECK(device.write(region, 0xf0, "0123456789abcdef", 16) == errc::ok);
  call = script.one();
  CHECK(call.name == "pwrite");
  CHECK(call.number == 0x700000000f0);
  CHECK(std::string(call.data.begin(), call.data.end()) == "0123456789abcdef");

  for (const std::uint64_t outside :
       {std::uint64_t{0xf1}, std::uint64_t{0x101}, ~std::uint64_t{0}}) {
    CHECK(device.read(region, outside, some, sizeof some) == errc::inval);
    CHECK(device.write(region, outside, some, sizeof some) == errc::inval);
  }
  CHECK(device.read(region, 1, some, ~std::size_t{0}) == errc::inval);
  CHECK(device.read(vfio::region_info{}, 0, some, 1) == errc::inval);
  CHECK(device.read(region, 0x100, some, 0) == errc::ok);
  CHECK(device.write(region, 0x100, some, 0) == errc::ok);
  CHECK(script.take().empty());

  script.moved = std::size_t{15};
  CHECK(device.read(region, 0, some, sizeof some) == errc::io);
  CHECK(device.write(region, 0, some, sizeof some) == errc::io);
  script.moved = errc::fault;
  CHECK(device.read(region, 0, some, sizeof some) == errc::fault);
  CHECK(device.write(region, 0, some, sizeof some) == errc::fault);
}

TEST_CASE_METHOD(on_script, "Registers are little-endian") {
  const vfio::region_info region{.size = 0x1000, .offset = 0x70000000000};
  script.to_read = {0x86, 0x80, 0xfe, 0xca};
  script.moved = std::size_t{1};
  CHECK(device.read_le<std::uint8_t>(region, 0).value() == 0x86);
  script.moved = std::size_t{2};
  CHECK(device.read_le<std::uint16_t>(region, 0).value() == 0x8086);
  script.moved = std::size_t{4};
  CHECK(device.read_le<std::uint32_t>(region, 0).value() == 0xcafe8086);
  CHECK(device.read_le<std::uint32_t>(region, 0xffd).error() == errc::inval);
  script.moved = std::size_t{3};
  CHECK(device.read_le<std::uint32_t>(region, 0).error() == errc::io);
  script.calls.clear();

  script.moved = std::size_t{1};
  CHECK(device.write_le<std::uint8_t>(region, 4, 0x12) == errc::ok);
  CHECK(script.one().data == bytes{0x12});
  script.moved = std::size_t{2};
  CHECK(device.write_le<std::uint16_t>(region, 4, 0x8086) == errc::ok);
  CHECK(script.one().data == bytes{0x86, 0x80});
  script.moved = std::size_t{4};
  CHECK(device.write_le<std::uint32_t>(region, 4, 0xcafe8086) == errc::ok);
  CHECK(script.one().data == bytes{0x86, 0x80, 0xfe, 0xca});
  CHECK(device.write_le<std::uint32_t>(region, 0xffd, 0) == errc::inval);
}

TEST_CASE_METHOD(on_script, "A mapping of a region is removed when its owner goes") {
  const vfio::region_info region{.size = 0x10000, .offset = 0x20000000000};
  char memory[1] = {};
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  script.mapped = static_cast<void*>(memory);
  {
    auto mapped = device.map(region, 0x3000, 0x2000, vfio::protection::read);
    REQUIRE(mapped);
    CHECK(mapped->data() == memory);
    CHECK(mapped->size() == 0x2000);
    const made_call call = script.one();
    CHECK(call.name == "mmap " + std::to_string(PROT_READ));
    CHECK(call.fd == fd);
    CHECK(call.number == 0x20000003000);
    CHECK(call.size == 0x2000);
    vfio::mapped_region<scripted> other(std::move(*mapped));
    CHECK_FALSE(*mapped);
    CHECK(other);
    vfio::mapped_region<scripted> third;
    third = std::move(other);
    vfio::mapped_region<scripted>& same = third;
    third = std::move(same);
    CHECK(third);
    CHECK(script.take().empty());
  }
  made_call call = script.one();
  CHECK(call.name == "munmap");
  CHECK(call.number == address);
  CHECK(call.size == 0x2000);

  {
    auto kept = device.map(region, 0, 0x10000);
    REQUIRE(kept);
    CHECK(script.one().name == "mmap " + std::to_string(PROT_READ | PROT_WRITE));
    CHECK(kept->release() == memory);
    CHECK(kept->unmap() == errc::ok);
  }
  CHECK(script.take().empty());
  {
    auto removed = device.map(region, 0, 0x10000);
    REQUIRE(removed);
    script.unmapped = errc::inval;
    script.calls.clear();
    CHECK(removed->unmap() == errc::inval);
    CHECK(script.one().name == "munmap");
  }
  CHECK(device.map(region, 0, 0).error() == errc::inval);
  CHECK(device.map(region, 0x8000, 0x8001).error() == errc::inval);
  CHECK(device.map(region, ~std::uint64_t{0}, 1).error() == errc::inval);
  CHECK(script.take().empty());
  script.mapped = errc::inval;
  CHECK(device.map(region, 0, 0x1000).error() == errc::inval);
  CHECK(script.one().size == 0x1000);
}

TEST_CASE_METHOD(on_script, "Vectors are armed from eventfds, and the guard disarms the index") {
  const int eventfds[] = {31, -1, 33};
  {
    auto armed = device.arm(msix, 4, eventfds, 3);
    REQUIRE(armed);
    const made_call call = script.one();
    CHECK(call.fd == fd);
    CHECK(call.number == VFIO_DEVICE_SET_IRQS);
    CHECK(call.words() == words{32, trigger_eventfd, msix, 4, 3, 31, 0xffffffff, 33});
    CHECK(armed->index() == msix);
    vfio::armed_irqs<scripted> other(std::move(*armed));
    CHECK_FALSE(*armed);
    vfio::armed_irqs<scripted> third;
    third = std::move(other);
    vfio::armed_irqs<scripted>& same = third;
    third = std::move(same);
    CHECK(third);
    CHECK(script.take().empty());
  }
  CHECK(script.one().words() == words{20, trigger_none, msix, 0, 0});
  {
    auto armed = device.arm(msix, 0, eventfds, 1);
    REQUIRE(armed);
    script.calls.clear();
    script.fail(VFIO_DEVICE_SET_IRQS, errc::inval);
    CHECK(armed->disarm() == errc::inval);
    CHECK(armed->disarm() == errc::ok);
    CHECK(script.take().size() == 1);
    script.ioctls.clear();
    armed = device.arm(msix, 0, eventfds, 1);
    armed->release();
    script.calls.clear();
  }
  CHECK(script.take().empty());
  // What could not be armed is not disarmed: the kernel has done that.
  script.fail(VFIO_DEVICE_SET_IRQS, errc::nospc);
  CHECK(device.arm(msix, 0, eventfds, 3).error() == errc::nospc);
  CHECK(script.take().size() == 1);
  // If the host has fewer vectors, VFIO arms none, and answers with their number.
  script.ioctls[VFIO_DEVICE_SET_IRQS] = [](unsigned char*) { return kv::result<int>(1); };
  CHECK(device.arm(msix, 0, eventfds, 3).error() == errc::nospc);
  CHECK(script.take().size() == 1);
}

TEST_CASE_METHOD(on_script, "All vectors of MSI-X are armed by one call, and more are refused") {
  const std::vector<int> many(2049, 5);
  CHECK(device.set_eventfds(msix, 0, many.data(), 2048) == errc::ok);
  const words call = script.one().words();
  CHECK(call.size() == 5 + 2048);
  CHECK(call[0] == 20 + 4 * 2048);
  CHECK(call[4] == 2048);
  CHECK(call[2052] == 5);
  CHECK(device.set_eventfds(msix, 0, many.data(), 2049) == errc::inval);
  CHECK(device.set_eventfds(msix, 0, many.data(), 0) == errc::inval);
  CHECK(device.disarm(msix, 0, 2049) == errc::inval);
  // A count of 0 would disarm the index.
  CHECK(device.disarm(msix, 0, 0) == errc::inval);
  CHECK(device.mask(0, 0, 0) == errc::inval);
  CHECK(device.unmask(0, 0, 0) == errc::inval);
  CHECK(device.trigger(0, 0, 0) == errc::inval);
  CHECK(script.take().empty());
}

TEST_CASE_METHOD(on_script, "Vectors are disarmed, masked, unmasked and triggered") {
  CHECK(device.disarm(msix) == errc::ok);
  CHECK(script.one().words() == words{20, trigger_none, msix, 0, 0});
  CHECK(device.disarm(msix, 3, 2) == errc::ok);
  CHECK(script.one().words() == words{28, trigger_eventfd, msix, 3, 2, 0xffffffff, 0xffffffff});
  CHECK(device.mask(0) == errc::ok);
  CHECK(script.one().words() ==
        words{20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 0, 1});
  CHECK(device.unmask(1, 2, 3) == errc::ok);
  CHECK(script.one().words() ==
        words{20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 1, 2, 3});
  CHECK(device.unmask_on(44, 0) == errc::ok);
  CHECK(script.one().words() ==
        words{24, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 0, 0, 1, 44});
  CHECK(device.trigger(msix, 7, 2) == errc::ok);
  CHECK(script.one().words() == words{20, trigger_none, msix, 7, 2});

  script.fail(VFIO_DEVICE_SET_IRQS, errc::notty);
  CHECK(device.disarm(msix) == errc::notty);
  CHECK(device.disarm(msix, 0, 1) == errc::notty);
  CHECK(device.mask(0) == errc::notty);
  CHECK(device.unmask(0) == errc::notty);
  CHECK(device.unmask_on(44, 0) == errc::notty);
  CHECK(device.trigger(0) == errc::notty);
}

TEST_CASE_METHOD(on_script, "An irqfd of a VM is deassigned when its guard goes") {
  const auto irqfd = [](std::uint32_t eventfd, std::uint32_t gsi, std::uint32_t flags,
                        std::uint32_t handled) {
    return words{eventfd, gsi, flags, handled, 0, 0, 0, 0};
  };
  {
    auto line = vm.irqfd(31, 24);
    REQUIRE(line);
    const made_call call = script.one();
    CHECK(call.fd == fd);
    CHECK(call.number == KVM_IRQFD);
    CHECK(call.words() == irqfd(31, 24, 0, 0));
    CHECK(line->gsi() == 24);
    native::vm_irqfd<scripted> other(std::move(*line));
    CHECK_FALSE(*line);
    native::vm_irqfd<scripted> third;
    third = std::move(other);
    native::vm_irqfd<scripted>& same = third;
    third = std::move(same);
    CHECK(third);
    CHECK(script.take().empty());
  }
  CHECK(script.one().words() == irqfd(31, 24, KVM_IRQFD_FLAG_DEASSIGN, 0));
  {
    auto line = vm.irqfd(31, 24);
    line->release();
    script.calls.clear();
  }
  CHECK(script.take().empty());
  script.fail(KVM_IRQFD, errc::busy);
  CHECK(vm.irqfd(31, 24).error() == errc::busy);
  CHECK(vm.deassign_irqfd(31, 24) == errc::busy);
  CHECK(script.take().size() == 2);
}

TEST_CASE_METHOD(on_script, "A resampling irqfd needs a KVM that has them") {
  CHECK(vm.resampling_irqfd(31, 10, 32).error() == errc::opnotsupp);
  made_call call = script.one();
  CHECK(call.number == KVM_CHECK_EXTENSION);
  CHECK(call.size == KVM_CAP_IRQFD_RESAMPLE);
  script.fail(KVM_CHECK_EXTENSION, errc::io);
  CHECK(vm.resampling_irqfd(31, 10, 32).error() == errc::io);
  CHECK(script.take().size() == 1);

  script.ioctls[KVM_CHECK_EXTENSION] = [](unsigned char*) { return kv::result<int>(1); };
  {
    auto line = vm.resampling_irqfd(31, 10, 32);
    REQUIRE(line);
    const auto calls = script.take();
    REQUIRE(calls.size() == 2);
    CHECK(calls[1].words() == words{31, 10, KVM_IRQFD_FLAG_RESAMPLE, 32, 0, 0, 0, 0});
  }
  CHECK(script.one().words() == words{31, 10, KVM_IRQFD_FLAG_DEASSIGN, 0, 0, 0, 0, 0});
  script.fail(KVM_IRQFD, errc::inval);
  CHECK(vm.resampling_irqfd(31, 10, 32).error() == errc::inval);
  CHECK(script.take().size() == 2);
}

TEST_CASE_METHOD(on_script, "An eventfd is made, signalled, taken and closed") {
  {
    auto event = native::basic_event<scripted>::make(sys);
    REQUIRE(event);
    CHECK(event->fd() == 70);
    CHECK(script.one().name == "eventfd");
    script.moved = std::size_t{8};
    CHECK(event->signal() == errc::ok);
    made_call call = script.one();
    CHECK(call.name == "write");
    CHECK(call.fd == 70);
    std::uint64_t one = 0;
    REQUIRE(call.data.size() == sizeof one);
    std::memcpy(&one, call.data.data(), sizeof one);
    CHECK(one == 1);
    script.to_read.clear();
    put(script.to_read, 0, std::uint64_t{3});
    CHECK(event->take().value() == 3);
    script.moved = errc::again;
    CHECK(event->take().error() == errc::again);
    CHECK(event->signal() == errc::again);
    script.moved = std::size_t{4};
    CHECK(event->take().error() == errc::io);
    CHECK(event->signal() == errc::io);
    script.calls.clear();
  }
  CHECK(script.one().name == "close");
  {
    native::basic_event<scripted> adopted(native::basic_unique_fd<scripted>(71, sys));
    CHECK(adopted.fd() == 71);
    CHECK(adopted.release().fd() == 71);
  }
  CHECK(script.take().empty());
  script.event = errc::mfile;
  CHECK(native::basic_event<scripted>::make(sys).error() == errc::mfile);
}

TEST_CASE_METHOD(support::no_leaks, "An eventfd of the running kernel") {
  auto event = native::event::make();
  REQUIRE(event);
  CHECK(event->take().error() == errc::again);
  CHECK(event->signal() == errc::ok);
  CHECK(event->signal() == errc::ok);
  CHECK(event->take().value() == 2);
  CHECK(event->take().error() == errc::again);
}

TEST_CASE_METHOD(on_script, "Type 1 says which IOVAs, pages and mappings it can have") {
  bytes all = iommu_answer(24);
  put_capability(all, 24, 2, 48, 0, {});
  put_capability(all, 48, 3, 64, 65535, {});
  put_capability(all, 64, 1, 0, 2, {0, 0xfedfffff, 0xfef00000, 0xffffffffffff});
  answer(VFIO_IOMMU_GET_INFO, all);
  vfio::iova_range ranges[3] = {};
  auto info = container.iommu_info(ranges, 3);
  REQUIRE(info);
  CHECK(info->page_sizes == 0x40201000);
  CHECK(info->ranges_known);
  CHECK(info->ranges == 2);
  CHECK(ranges[0].first == 0);
  CHECK(ranges[0].last == 0xfedfffff);
  CHECK(ranges[1].first == 0xfef00000);
  CHECK(ranges[1].last == 0xffffffffffff);
  CHECK(info->available_known);
  CHECK(info->available == 65535);
  const made_call call = script.one();
  CHECK(call.number == VFIO_IOMMU_GET_INFO);
  words expected(1024);
  expected[0] = 4096;
  CHECK(call.words() == expected);

  ranges[1] = {7, 7};
  info = container.iommu_info(ranges, 1);
  REQUIRE(info);
  CHECK(info->ranges == 2);
  CHECK(ranges[1].first == 7);

  answer(VFIO_IOMMU_GET_INFO, iommu_answer(0, 0));
  info = container.iommu_info();
  REQUIRE(info);
  CHECK(info->page_sizes == 0);
  CHECK_FALSE(info->ranges_known);
  CHECK_FALSE(info->available_known);
  script.fail(VFIO_IOMMU_GET_INFO, errc::inval);
  CHECK(container.iommu_info().error() == errc::inval);
}

TEST_CASE_METHOD(on_script, "Type 1's chain of capabilities is checked, too") {
  const auto error_of = [this](const bytes& all) {
    answer(VFIO_IOMMU_GET_INFO, all);
    vfio::iova_range ranges[2];
    return container.iommu_info(ranges, 2).error();
  };
  CHECK(error_of(iommu_answer(4092)) == errc::proto);
  CHECK(error_of(iommu_answer(0xfffffff0)) == errc::proto);
  bytes all = iommu_answer(24);
  put_capability(all, 24, 1, 24, 1, {0, 1});
  CHECK(error_of(all) == errc::proto);  // the loop is behind the ranges
  put_capability(all, 24, 1, 0, 300, {});
  CHECK(error_of(all) == errc::proto);
  put_capability(all, 24, 1, 4088, 1, {});
  all.resize(4096);
  put(all, 4088, std::uint16_t{3});
  put(all, 4090, std::uint16_t{1});
  CHECK(error_of(all) == errc::proto);  // the number of mappings lies outside
  put(all, 0, std::uint32_t{5000});
  CHECK(error_of(all) == errc::msgsize);
}

TEST_CASE_METHOD(on_script, "An IOAS says which IOVAs it can map") {
  const vfio::basic_ioas_ref<scripted> ioas(iommufd, vfio::ioas_id{4});
  const auto there_are = [](std::uint32_t count, errc answer) {
    return [count, answer](unsigned char* to) {
      kv::uapi::iommu_ioas_iova_ranges ask{};
      std::memcpy(&ask, to, sizeof ask);
      const std::uint32_t space = ask.num_iovas;
      for (std::uint32_t i = 0; i < count && i < space; ++i) {
        const std::uint64_t range[] = {i * 0x1000ULL, i * 0x1000ULL + 0xfff};
        std::memcpy(reinterpret_cast<unsigned char*>(ask.allowed_iovas) + i * sizeof range, range,
                    sizeof range);
      }
      ask.num_iovas = count;
      ask.out_iova_alignment = 0x1000;
      std::memcpy(to, &ask, sizeof ask);
      return answer == errc::ok ? kv::result<int>(0) : kv::result<int>(answer);
    };
  };
  vfio::iova_range ranges[2] = {};
  script.ioctls[kv::uapi::request_ioas_iova_ranges] = there_are(2, errc::ok);
  auto info = ioas.iova_ranges(ranges, 2);
  REQUIRE(info);
  CHECK(info->ranges == 2);
  CHECK(info->alignment == 0x1000);
  CHECK(ranges[1].first == 0x1000);
  CHECK(ranges[1].last == 0x1fff);
  const made_call call = script.one();
  CHECK(call.fd == fd);
  const words passed = call.words();
  REQUIRE(passed.size() == 8);
  CHECK(words(passed.begin(), passed.begin() + 4) == words{32, 4, 2, 0});

  script.ioctls[kv::uapi::request_ioas_iova_ranges] = there_are(3, errc::msgsize);
  info = ioas.iova_ranges(ranges, 2);
  REQUIRE(info);
  CHECK(info->ranges == 3);
  info = ioas.iova_ranges(nullptr, 0);
  REQUIRE(info);
  CHECK(info->ranges == 3);
  script.ioctls[kv::uapi::request_ioas_iova_ranges] = there_are(2, errc::msgsize);
  CHECK(ioas.iova_ranges(ranges, 2).error() == errc::msgsize);
  script.fail(kv::uapi::request_ioas_iova_ranges, errc::noent);
  CHECK(ioas.iova_ranges(ranges, 2).error() == errc::noent);
}

TEST_CASE_METHOD(on_script, "A guard removes a mapping of a container and of an IOAS") {
  char memory[1] = {};
  const vfio::dma_mapping m{.iova = 0x100000, .memory = memory, .size = 0x4000, .writable = true};
  {
    auto mapped = vfio::map_dma(container, m);
    REQUIRE(mapped);
    CHECK(script.one().number == VFIO_IOMMU_MAP_DMA);
    CHECK(mapped->iova() == 0x100000);
    CHECK(mapped->size() == 0x4000);
    vfio::dma_guard<vfio::basic_container_ref<scripted>> other(std::move(*mapped));
    CHECK_FALSE(*mapped);
    vfio::dma_guard<vfio::basic_container_ref<scripted>> third;
    third = std::move(other);
    auto& same = third;
    third = std::move(same);
    CHECK(third);
    CHECK(script.take().empty());
  }
  made_call call = script.one();
  CHECK(call.number == VFIO_IOMMU_UNMAP_DMA);
  CHECK(call.words() == words{24, 0, 0x100000, 0, 0x4000, 0});

  const vfio::basic_ioas_ref<scripted> ioas(iommufd, vfio::ioas_id{4});
  {
    auto mapped = vfio::map_dma(ioas, m);
    REQUIRE(mapped);
    CHECK(script.one().words()[2] == 4);
    script.fail(kv::uapi::request_ioas_unmap, errc::noent);
    CHECK(mapped->unmap() == errc::noent);
    CHECK(mapped->unmap() == errc::ok);
    CHECK(script.one().words() == words{24, 4, 0x100000, 0, 0x4000, 0});
    mapped = vfio::map_dma(ioas, m);
    mapped->release();
    script.calls.clear();
  }
  CHECK(script.take().empty());
  script.fail(VFIO_IOMMU_MAP_DMA, errc::exists);
  CHECK(vfio::map_dma(container, m).error() == errc::exists);
  CHECK(script.take().size() == 1);
  // The guard of an owner's mapping has a view.
  script.ioctls.clear();
  {
    const vfio::basic_container<scripted> owner(native::basic_unique_fd<scripted>(21, sys));
    CHECK(vfio::map_dma(owner, m));
    CHECK(script.take().back().number == VFIO_IOMMU_UNMAP_DMA);
  }
  CHECK(script.one().name == "close");
}

TEST_CASE_METHOD(on_script, "A device is reset alone") {
  CHECK(device.reset() == errc::ok);
  CHECK(script.one().number == VFIO_DEVICE_RESET);
  // An owner has the function, too.
  {
    const vfio::basic_device<scripted> owner(native::basic_unique_fd<scripted>(21, sys));
    CHECK(owner.reset() == errc::ok);
    CHECK(script.one().fd == 21);
  }
  script.fail(VFIO_DEVICE_RESET, errc::inval);
  CHECK(device.reset() == errc::inval);
}

TEST_CASE_METHOD(on_script, "A hot reset names the devices that it concerns") {
  bytes all;
  put(all, 0, std::uint32_t{28});
  put(all, 4, std::uint32_t{3});
  put(all, 8, std::uint32_t{2});
  for (std::uint32_t i = 0; i < 2; ++i) {
    put(all, 12 + 8 * i, 26 + i);
    put(all, 16 + 8 * i, std::uint16_t{1});
    put(all, 18 + 8 * i, std::uint8_t{6});
    put(all, 19 + 8 * i, static_cast<std::uint8_t>(0x68 + i));
  }
  answer(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, all);
  vfio::dependent_device devices[4] = {};
  auto info = device.hot_reset_devices(devices, 4);
  REQUIRE(info);
  CHECK(info->count == 2);
  CHECK(info->ids_are_of_iommufd);
  CHECK(info->owned);
  CHECK(devices[1].id == 27);
  CHECK(devices[1].segment == 1);
  CHECK(devices[1].bus == 6);
  CHECK(devices[1].devfn == 0x69);
  made_call call = script.one();
  CHECK(call.number == VFIO_DEVICE_GET_PCI_HOT_RESET_INFO);
  words expected(11);
  expected[0] = 12 + 4 * 8;
  CHECK(call.words() == expected);

  // A kernel that counts more devices than it was given space for.
  put(all, 8, std::uint32_t{5});
  answer(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, all);
  CHECK(device.hot_reset_devices(devices, 4).error() == errc::proto);
  put(all, 8, std::uint32_t{0xffffffff});
  answer(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, all);
  CHECK(device.hot_reset_devices(devices, 4).error() == errc::proto);
  std::vector<vfio::dependent_device> many(1000);
  script.calls.clear();
  CHECK(device.hot_reset_devices(many.data(), many.size()).error() == errc::proto);
  CHECK(script.one().words()[0] == 12 + 512 * 8);
  script.fail(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, errc::nospc);
  CHECK(device.hot_reset_devices(nullptr, 0).error() == errc::nospc);
}

TEST_CASE_METHOD(on_script, "A hot reset passes the groups") {
  const int groups[] = {40, 41};
  CHECK(device.hot_reset(groups, 2) == errc::ok);
  const made_call call = script.one();
  CHECK(call.number == VFIO_DEVICE_PCI_HOT_RESET);
  CHECK(call.words() == words{20, 0, 2, 40, 41});
  CHECK(device.hot_reset(nullptr, 0) == errc::ok);
  CHECK(script.one().words() == words{12, 0, 0});
  CHECK(device.hot_reset(groups, 513) == errc::inval);
  CHECK(script.take().empty());
  script.fail(VFIO_DEVICE_PCI_HOT_RESET, errc::inval);
  CHECK(device.hot_reset(groups, 2) == errc::inval);
}

}  // namespace
