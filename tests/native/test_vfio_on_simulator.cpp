// SPDX-License-Identifier: BSL-1.0
// VFIO's files as a VMM uses them, on the simulated VFIO: this program's open(2), close(2) and
// ioctl(2) are its own, and lead to the simulator what the simulator's files are behind. What is
// shown here is what native/ adds: which bytes reach the kernel, what it makes of the answers, and
// what it closes. What the kernel refuses, tests/sim shows.
#include "../sim/fixture.hpp"
#include "support.hpp"

#include <kvm_vfio/native/ioas.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/native/vfio_symbols.hpp>
#include <kvm_vfio/trace/checker.hpp>

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

// The README's program for a VMM, of which the tests call `run_with`.
#define main readme_main
#include "readme_vmm.hpp"
#undef main

namespace vfio = kvm_vfio::native::vfio;
namespace trace = kvm_vfio::trace;
namespace uapi = kvm_vfio::uapi;

namespace {

// A simulated machine whose files have real descriptors in this process, of event files, so that
// numbers, limits and leaks are the real ones.
class simulated_files {
 public:
  explicit simulated_files(sim::process& task) noexcept : task_(task) {}

  // Whether a system call is for the simulator; if so it is made below: -1 and errno.
  [[nodiscard]] static bool is_ours(const char* path) noexcept {
    return std::strncmp(path, "/dev/vfio/", 10) == 0 || std::strcmp(path, "/dev/iommu") == 0 ||
           std::strcmp(path, "/dev/kvm") == 0;
  }
  [[nodiscard]] bool is_ours(int fd) const noexcept { return simulated_.count(fd) != 0; }

  int open(const char* path, int flags) {
    const sim::answer opened = task_.open(path, flags);
    return opened ? descriptor_of(static_cast<int>(*opened)) : failed(opened.error());
  }
  int close(int fd) {
    const int simulated = simulated_.at(fd);
    simulated_.erase(fd);
    const int answer = static_cast<int>(::syscall(SYS_close, fd));
    return task_.close(simulated) ? answer : failed(errc::badf);
  }
  int ioctl(int fd, unsigned request, std::uintptr_t argument) {
    const int simulated = simulated_.at(fd);
    switch (request) {
      // A descriptor in memory, another as the answer, or both: the simulator has its own numbers.
      case VFIO_GROUP_SET_CONTAINER: {
        int container = simulated_of(*reinterpret_cast<const int*>(argument));
        return answer_of(simulated, request, &container);
      }
      case uapi::request_bind_iommufd:
        return answer_of(simulated, request, argument, &uapi::device_bind_iommufd::iommufd);
      case uapi::request_ioas_map_file:
        return answer_of(simulated, request, argument, &uapi::iommu_ioas_map_file::fd);
      case kv::uapi::set_device_attr: {
        kvm_device_attr copy = *reinterpret_cast<const kvm_device_attr*>(argument);
        int file = simulated_of(*reinterpret_cast<const int*>(copy.addr));
        copy.addr = reinterpret_cast<std::uintptr_t>(&file);
        return answer_of(simulated, request, &copy);
      }
      case kv::uapi::create_device: {
        auto& create = *reinterpret_cast<kvm_create_device*>(argument);
        const int answer = answer_of(simulated, request, &create);
        if (answer == 0)
          create.fd = static_cast<unsigned>(descriptor_of(static_cast<int>(create.fd)));
        return answer;
      }
      case VFIO_GROUP_GET_DEVICE_FD:
      case KVM_CREATE_VM: {
        const int made = answer_of(simulated, request, reinterpret_cast<void*>(argument));
        return made < 0 ? made : descriptor_of(made);
      }
      default: return answer_of(simulated, request, reinterpret_cast<void*>(argument));
    }
  }
  // The simulator's file behind a descriptor.
  template <class File>
  [[nodiscard]] const File& file(int fd) {
    const auto* const found = dynamic_cast<const File*>(task_.file_of(simulated_.at(fd)));
    REQUIRE(found);
    return *found;
  }

 private:
  static int failed(errc why) noexcept {
    errno = static_cast<int>(why);
    return -1;
  }
  int answer_of(int simulated, unsigned request, void* argument) {
    const sim::answer a =
        task_.ioctl(simulated, request, reinterpret_cast<std::uintptr_t>(argument));
    return a ? static_cast<int>(*a) : failed(a.error());
  }
  // The same for a struct with a descriptor in memory. The caller keeps its own number in there.
  template <class Struct>
  int answer_of(int simulated, unsigned request, std::uintptr_t argument,
                std::int32_t Struct::* descriptor) {
    auto& given = *reinterpret_cast<Struct*>(argument);
    Struct copy = given;
    copy.*descriptor = simulated_of(given.*descriptor);
    const int answer = answer_of(simulated, request, &copy);
    copy.*descriptor = given.*descriptor;
    given = copy;
    return answer;
  }
  // A number that is not open for any other.
  [[nodiscard]] int simulated_of(int fd) const noexcept {
    constexpr int not_open = 1000000;
    const auto found = simulated_.find(fd);
    return found != simulated_.end() ? found->second : fd < 0 ? fd : not_open;
  }
  int descriptor_of(int simulated) {
    const int fd = ::eventfd(0, EFD_CLOEXEC);
    if (fd < 0) {
      const errc why = native::sys::last_error();
      (void)task_.close(simulated);
      return failed(why);
    }
    simulated_[fd] = simulated;
    return fd;
  }

  sim::process& task_;
  std::map<int, int> simulated_;
};

simulated_files* current = nullptr;  // a test's, as long as it runs

}  // namespace

extern "C" {
int open(const char* path, int flags, ...) noexcept(noexcept(::open(path, flags))) {
  if (current && simulated_files::is_ours(path)) return current->open(path, flags);
  std::va_list more;
  va_start(more, flags);
  const unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, unsigned) : 0;
  va_end(more);
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
int close(int fd) noexcept(noexcept(::close(fd))) {
  if (current && current->is_ours(fd)) return current->close(fd);
  return static_cast<int>(::syscall(SYS_close, fd));
}
int ioctl(int fd, native::sys::detail::request request,
          ...) noexcept(noexcept(::ioctl(fd, request))) {
  std::va_list more;
  va_start(more, request);
  const auto argument = va_arg(more, std::uintptr_t);
  va_end(more);
  if (current && current->is_ours(fd))
    return current->ioctl(fd, static_cast<unsigned>(request), argument);
  return static_cast<int>(::syscall(SYS_ioctl, fd, request, argument));
}
}

namespace {

constexpr const char* first_device = "0000:00:04.0";
constexpr std::uint64_t page = 4096;

// Group 1 behind an IOMMU with snoop control, 2 behind one without, 3 with a device of another
// driver's.
sim::topology three_groups() {
  sim::topology t = two_groups();
  t.iommus.push_back({.name = "plain", .snoop_control = false});
  t.groups[1].iommu = "plain";
  t.groups.push_back({.number = 3,
                      .devices = {{.name = "0000:00:06.0"},
                                  {.name = "0000:00:06.1", .bound = sim::driver::other}}});
  return t;
}

// A test's machine. At the end nothing is open: no descriptor here, and no file there.
struct on_simulator : support::no_leaks {
  on_simulator() { current = &files; }
  on_simulator(const on_simulator&) = delete;
  on_simulator& operator=(const on_simulator&) = delete;
  ~on_simulator() {
    CHECK(machine.task.descriptors() == 0);
    CHECK(machine.world.containers() == 0);
    CHECK(machine.world.iommufds() == 0);
    current = nullptr;
  }

  [[nodiscard]] sim::group_state group_state(int number) {
    for (const sim::group_state& g : machine.kernel.look().groups)
      if (g.number == number) return g;
    FAIL("no group " << number);
    return {};
  }
  [[nodiscard]] sim::device_state device_state(int group, std::size_t index = 0) {
    return group_state(group).devices.at(index);
  }
  // What a container maps, and what an iommufd has by its number.
  [[nodiscard]] std::vector<sim::dma_mapping> mappings(const vfio::container_ref& of) {
    const auto& file = files.file<sim::container_file>(of.fd());
    REQUIRE(file.get_container().driver());
    return listed(file.get_container().driver()->mappings());
  }
  [[nodiscard]] const sim::iommufd_object& object(const vfio::iommufd_ref& of, std::uint32_t id) {
    return files.file<sim::iommufd_file>(of.fd()).objects().at(id);
  }
  [[nodiscard]] std::size_t objects(const vfio::iommufd_ref& of) {
    return files.file<sim::iommufd_file>(of.fd()).objects().size();
  }
  static std::vector<sim::dma_mapping> listed(const sim::dma_map& maps) {
    std::vector<sim::dma_mapping> all;
    for (const auto& [iova, m] : maps.all()) all.push_back(m);
    return all;
  }

  machine_under_test<> machine{three_groups(), {.dma_entry_limit = 3}};  // mappings
  simulated_files files{machine.task};
  // Memory to map: addresses count here, not contents.
  alignas(page) char memory[4 * page] = {};
};

bool is(const sim::dma_mapping& m, const vfio::dma_mapping& asked, std::uint32_t flags) {
  return m.iova == asked.iova && m.size == asked.size &&
         m.address == reinterpret_cast<std::uintptr_t>(asked.memory) && m.flags == flags;
}

TEST_CASE_METHOD(on_simulator, "A container tells what VFIO has") {
  const auto container = vfio::container::open();
  REQUIRE(container);
  const auto has = container->check_extension(VFIO_TYPE1v2_IOMMU);
  const auto lacks = container->check_extension(VFIO_SPAPR_TCE_IOMMU);
  REQUIRE(has);
  REQUIRE(lacks);
  CHECK(*has);
  CHECK_FALSE(*lacks);
  CHECK(machine.world.containers() == 1);
}

TEST_CASE_METHOD(on_simulator, "What is no container is not opened as one") {
  CHECK(vfio::container::open("/dev/vfio/1").error() == errc::notty);
  CHECK(vfio::container::open("/dev/vfio/nowhere").error() == errc::noent);
  const auto reopened = vfio::group::open(1);  // closed after the version was asked
  CHECK(reopened);
}

TEST_CASE_METHOD(on_simulator, "A group is open once, by its number or its path") {
  auto group = vfio::group::open(2);
  REQUIRE(group);
  CHECK(group_state(2).open);
  CHECK_FALSE(group_state(1).open);
  CHECK(vfio::group::open("/dev/vfio/2").error() == errc::busy);
  CHECK(vfio::group::open(9).error() == errc::noent);
  *group = vfio::group();
  CHECK_FALSE(group_state(2).open);
  CHECK(vfio::group::open("/dev/vfio/2"));
}

TEST_CASE_METHOD(on_simulator, "A group is viable when VFIO has all of its devices") {
  const auto good = vfio::group::open(1);
  const auto bad = vfio::group::open(3);
  REQUIRE(good);
  REQUIRE(bad);
  const auto yes = good->viable();
  const auto no = bad->viable();
  REQUIRE(yes);
  REQUIRE(no);
  CHECK(*yes);
  CHECK_FALSE(*no);
}

TEST_CASE_METHOD(on_simulator, "A group enters a container, which gets an IOMMU, and leaves it") {
  const auto container = vfio::container::open();
  const auto another = vfio::container::open();
  const auto group = vfio::group::open(1);
  REQUIRE(container);
  REQUIRE(another);
  REQUIRE(group);
  REQUIRE(group->set_container(*another) == errc::ok);
  CHECK(files.file<sim::container_file>(another->fd()).get_container().groups().size() == 1);
  CHECK(files.file<sim::container_file>(container->fd()).get_container().groups().empty());
  CHECK(group->unset_container() == errc::ok);
  CHECK(group_state(1).container == -1);

  REQUIRE(group->set_container(*container) == errc::ok);
  CHECK(container->set_iommu(VFIO_SPAPR_TCE_IOMMU) == errc::nodev);
  CHECK(container->set_iommu() == errc::ok);
  const sim::snapshot seen = machine.kernel.look();
  REQUIRE(seen.containers.size() == 2);  // the other one is empty
  const auto with_group = std::find_if(seen.containers.begin(), seen.containers.end(),
                                       [](const auto& c) { return !c.groups.empty(); });
  REQUIRE(with_group != seen.containers.end());
  CHECK(with_group->iommu == "type1v2");
  CHECK(with_group->groups == std::vector<int>{1});
}

TEST_CASE_METHOD(on_simulator, "The IOMMU is of the version that was asked for") {
  const auto container = vfio::container::open();
  const auto group = vfio::group::open(1);
  REQUIRE(container);
  REQUIRE(group);
  REQUIRE(group->set_container(*container) == errc::ok);
  REQUIRE(container->set_iommu(VFIO_TYPE1_IOMMU) == errc::ok);
  CHECK(machine.kernel.look().containers.at(0).iommu == "type1");
}

TEST_CASE_METHOD(on_simulator,
                 "A mapping has the address, the size and the rights that were asked") {
  const auto container = vfio::container::open();
  const auto group = vfio::group::open(1);
  REQUIRE(container);
  REQUIRE(group);
  const vfio::dma_mapping both{.iova = 0x40000000, .memory = memory, .size = 2 * page};
  const vfio::dma_mapping read_only{
      .iova = 0x50000000, .memory = memory + 2 * page, .size = page, .writable = false};
  REQUIRE(group->set_container(*container) == errc::ok);
  REQUIRE(container->set_iommu() == errc::ok);
  REQUIRE(container->map(both) == errc::ok);
  REQUIRE(container->map(read_only) == errc::ok);
  const auto mapped = mappings(*container);
  REQUIRE(mapped.size() == 2);
  CHECK(is(mapped[0], both, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
  CHECK(is(mapped[1], read_only, VFIO_DMA_MAP_FLAG_READ));

  CHECK(container->map(both) == errc::exists);
  const auto gone = container->unmap(both.iova, both.size);
  REQUIRE(gone);
  CHECK(*gone == both.size);
  const auto nothing = container->unmap(both.iova, both.size);
  REQUIRE(nothing);
  CHECK(*nothing == 0);
  const auto left = mappings(*container);
  REQUIRE(left.size() == 1);
  CHECK(is(left[0], read_only, VFIO_DMA_MAP_FLAG_READ));
}

TEST_CASE_METHOD(on_simulator, "A group hands out a device, which is closed with its owner") {
  auto container = vfio::container::open();
  const auto group = vfio::group::open(2);
  REQUIRE(container);
  REQUIRE(group);
  REQUIRE(group->set_container(*container) == errc::ok);
  REQUIRE(container->set_iommu() == errc::ok);
  CHECK(group->get_device(first_device).error() == errc::nodev);
  const std::size_t before = machine.task.descriptors();
  {
    const auto device = group->get_device("0000:00:05.1");
    REQUIRE(device);
    CHECK(files.file<sim::device_file>(device->fd()).device().name() == "0000:00:05.1");
    CHECK(device_state(2, 0).open_count == 0);
    CHECK(device_state(2, 1).open_count == 1);
    CHECK(machine.task.descriptors() == before + 1);
  }
  CHECK(device_state(2, 1).open_count == 0);
  CHECK(machine.task.descriptors() == before);
}

TEST_CASE_METHOD(on_simulator, "An iommufd's address spaces map, unmap and go by their numbers") {
  const auto iommufd = vfio::iommufd::open();
  REQUIRE(iommufd);
  const auto first = iommufd->alloc_ioas();
  const auto second = iommufd->alloc_ioas();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(*first != *second);
  CHECK(objects(*iommufd) == 2);
  const auto space = [&](vfio::ioas_id id) -> const sim::iommufd_object& {
    return object(*iommufd, static_cast<std::uint32_t>(id));
  };
  CHECK(space(*first).kind == sim::iommufd_object::type::ioas);

  const vfio::dma_mapping both{.iova = 0x40000000, .memory = memory, .size = 2 * page};
  const vfio::dma_mapping read_only{
      .iova = 0x50000000, .memory = memory + 2 * page, .size = page, .writable = false};
  REQUIRE(iommufd->map(*second, both) == errc::ok);
  REQUIRE(iommufd->map(*second, read_only) == errc::ok);
  CHECK(space(*first).space.mappings().size() == 0);
  const auto mapped = listed(space(*second).space.mappings());
  REQUIRE(mapped.size() == 2);
  using kvm_vfio::uapi::map_fixed_iova;
  using kvm_vfio::uapi::map_readable;
  using kvm_vfio::uapi::map_writeable;
  CHECK(is(mapped[0], both, map_fixed_iova | map_readable | map_writeable));
  CHECK(is(mapped[1], read_only, map_fixed_iova | map_readable));

  CHECK(iommufd->map(vfio::ioas_id{77}, both) == errc::noent);
  CHECK(iommufd->unmap(*first, both.iova, both.size).error() == errc::noent);
  const auto gone = iommufd->unmap(*second, both.iova, both.size);
  REQUIRE(gone);
  CHECK(*gone == both.size);
  CHECK(space(*second).space.mappings().size() == 1);

  // Memory of a file. The simulated process sees no file of the host, only its own descriptors.
  const vfio::dma_file_mapping of_file{
      .iova = 0x60000000, .file = iommufd->fd(), .start = page, .size = page, .writable = false};
  REQUIRE(iommufd->map_file(*second, of_file) == errc::ok);
  CHECK(vfio::ioas_ref(*iommufd, *second).map_file(of_file) == errc::exists);
  {
    const auto with_file = listed(space(*second).space.mappings());
    CHECK(with_file.back().iova == of_file.iova);
    CHECK(with_file.back().size == of_file.size);
    CHECK(with_file.back().address == of_file.start);
    CHECK(with_file.back().flags == (map_fixed_iova | map_readable));
    CHECK(with_file.back().file);
  }  // a copy of the mapping holds the file, too
  REQUIRE(iommufd->unmap(*second, of_file.iova, of_file.size));
  vfio::dma_file_mapping wrong = of_file;
  wrong.file = -1;
  CHECK(iommufd->map_file(*second, wrong) == errc::badf);

  CHECK(iommufd->destroy(*first) == errc::ok);
  CHECK(objects(*iommufd) == 1);
}

TEST_CASE_METHOD(on_simulator, "A device is bound to an iommufd and attached until it is closed") {
  const auto iommufd = vfio::iommufd::open();
  REQUIRE(iommufd);
  const auto unused = iommufd->alloc_ioas();
  const auto ioas = iommufd->alloc_ioas();
  REQUIRE(unused);
  REQUIRE(ioas);
  {
    const auto device = vfio::device::open(0);
    REQUIRE(device);
    CHECK(files.file<sim::device_file>(device->fd()).device().name() == first_device);
    const auto id = device->bind_iommufd(*iommufd);
    REQUIRE(id);
    CHECK(object(*iommufd, *id).kind == sim::iommufd_object::type::device);
    REQUIRE(object(*iommufd, *id).device);
    CHECK(object(*iommufd, *id).device->name == first_device);
    CHECK(device_state(1).iommufd == 0);
    CHECK(device_state(1).open_count == 1);

    CHECK(device->attach_iommufd_pt(vfio::ioas_id{77}) == errc::noent);
    REQUIRE(device->attach_iommufd_pt(*ioas) == errc::ok);
    const sim::iommufd_object* const table = object(*iommufd, *id).attached_to;
    REQUIRE(table);
    CHECK(table->address_space == &object(*iommufd, static_cast<std::uint32_t>(*ioas)));

    CHECK(device->detach_iommufd_pt() == errc::ok);
    CHECK_FALSE(object(*iommufd, *id).attached_to);
    REQUIRE(device->attach_iommufd_pt(*ioas) == errc::ok);
  }
  CHECK(device_state(1).open_count == 0);
  CHECK(device_state(1).iommufd == -1);
  CHECK(vfio::device::open("/dev/vfio/devices/vfio0"));
  CHECK(vfio::device::open(99).error() == errc::noent);
}

// The provider for the device model, over the kernel's device: the simulator's.
TEST_CASE_METHOD(on_simulator, "The symbols' coherency is that of the file's container") {
  const auto container = vfio::container::open();
  const auto snooping = vfio::group::open(1);
  const auto plain = vfio::group::open(2);
  REQUIRE(container);
  REQUIRE(snooping);
  REQUIRE(plain);
  native::vfio_symbols<> symbols{native::kvm_vfio_device_ref(), {*container}};
  native::vfio_symbols<> nowhere{native::kvm_vfio_device_ref()};
  const native::file file{snooping->fd()};
  CHECK_FALSE(symbols.file_enforced_coherent(file));  // no IOMMU yet
  REQUIRE(snooping->set_container(*container) == errc::ok);
  REQUIRE(container->set_iommu() == errc::ok);
  CHECK(symbols.file_enforced_coherent(file));
  CHECK_FALSE(nowhere.file_enforced_coherent(file));
  REQUIRE(plain->set_container(*container) == errc::ok);
  CHECK_FALSE(symbols.file_enforced_coherent(file));
  REQUIRE(plain->unset_container() == errc::ok);
  CHECK(symbols.file_enforced_coherent(file));
}

TEST_CASE_METHOD(on_simulator, "The symbols tell the kernel's device which files have the VM") {
  const auto kvm = native::kvm::open();
  REQUIRE(kvm);
  const auto vm = kvm->create_vm();
  REQUIRE(vm);
  const auto device = vm->create_kvm_vfio_device();
  REQUIRE(device);
  const auto group = vfio::group::open(1);
  REQUIRE(group);
  native::vfio_symbols<> symbols{device->borrow()};
  const native::file file{group->fd()};
  REQUIRE(symbols.file_set_kvm(file, *vm) == errc::ok);
  const sim::snapshot seen = machine.kernel.look();
  REQUIRE(seen.vms.size() == 1);
  REQUIRE(seen.vms[0].tracked.size() == 1);
  CHECK(seen.vms[0].tracked[0].name == "/dev/vfio/1");
  CHECK(group_state(1).vm == seen.vms[0].name);
  CHECK(symbols.file_set_kvm(file, *vm) == errc::exists);
  CHECK(symbols.file_set_kvm(file, {}) == errc::ok);
  CHECK(machine.kernel.look().vms[0].tracked.empty());
  CHECK(group_state(1).vm.empty());
  CHECK(symbols.file_set_kvm(file, {}) == errc::ok);  // somebody else took it out
  CHECK(symbols.file_set_kvm({}, *vm) == errc::badf);
}

TEST_CASE_METHOD(on_simulator, "The README's VMM keeps the order that is safe on every kernel") {
  trace::checker checker;
  machine.task.observe(checker);
  const auto kvm = native::kvm::open();
  REQUIRE(kvm);
  const auto vm = kvm->create_vm();
  REQUIRE(vm);
  CHECK(run_with(*vm, 1, first_device) == errc::ok);
  CHECK(machine.kernel.look().vms.at(0).tracked.empty());
  CHECK(run_with(*vm, 3, "0000:00:06.0") == errc::perm);  // not viable
  CHECK(run_with(*vm, 4, first_device) == errc::noent);
  CHECK(machine.kernel.look().containers.empty());
  CHECK(checker.text().empty());
}

}  // namespace
