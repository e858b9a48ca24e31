// SPDX-License-Identifier: BSL-1.0
// What a VMM does to give a group to its VM and to take it back, written in three ways: by hand as
// in C, with the classes of native/, and with the client layer. Each way makes its system calls on
// one system: on a simulated process, on a system that answers at once, so that almost only the
// instructions of the caller remain, or on the running kernel.
// Usage: cycle sim|at_once c|native_path|snprintf|native|client cycle|second ROUNDS
//   c            by hand; the path of a group is a constant, which no real VMM has
//   native_path  native/; the path of a group is a constant
//   snprintf     by hand; snprintf makes the path of a group from its number
//   native       native/; the class of a group makes the path from the number
//   client       the client layer; the class of a group makes the path from the number
//   cycle   opens a container and a group, does all steps up to the open device, and undoes them
//   second  attaches one more group to a VM that has a group already, and detaches the group
// Prints the number of system calls of the rounds. With ROUNDS 0 one round is made, and its system
// calls are printed as text (only for sim).
// Usage: cycle host ROUNDS
// Makes the rounds of every way by turns, nine times, on the running kernel, which must have the
// devices 0000:00:04.0 in the group 1 and another device in the group 2. Prints the least time of a
// round in nanoseconds. This is for the kernels of tests/conformance/kernels.
#include <kvm_vfio/client/container.hpp>
#include <kvm_vfio/client/device.hpp>
#include <kvm_vfio/client/group.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/trace/timeline.hpp>

#include <linux/kvm.h>
#include <linux/vfio.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

// Headers before Linux 6.6 have the older names.
#ifndef KVM_DEV_VFIO_FILE
#define KVM_DEV_VFIO_FILE KVM_DEV_VFIO_GROUP
#define KVM_DEV_VFIO_FILE_ADD KVM_DEV_VFIO_GROUP_ADD
#define KVM_DEV_VFIO_FILE_DEL KVM_DEV_VFIO_GROUP_DEL
#endif

namespace {

namespace kv = kvm_vfio;
namespace client = kv::client;
namespace native = kv::native;
namespace sim = kv::sim;
using kv::errc;
using kv::result;

constexpr const char* device_name = "0000:00:04.0";

// The only way that this program has. Empty: all ways. One way in a program is what a VMM has: the
// compiler inlines fewer functions if several ways use them.
#ifndef CYCLE_WAY
#define CYCLE_WAY ""
#endif
constexpr bool has(std::string_view way) {
  constexpr std::string_view only = CYCLE_WAY;
  return only.empty() || way == only;
}

// The number of a group. The compiler must not know the number, because a VMM gets the number from
// its user.
[[maybe_unused]] int opaque(int number) {
  asm volatile("" : "+r"(number));
  return number;
}

// A system whose calls all succeed at once. The calls are not inlined, and the compiler must assume
// that they read and write the memory of the caller, as system calls do.
class at_once {
 public:
  [[gnu::noinline]] result<int> open(const char* path, int flags) const noexcept {
    return made(path, flags);
  }
  [[gnu::noinline]] errc close(int fd) const noexcept {
    return made(nullptr, fd) ? errc::ok : errc::badf;
  }
  [[gnu::noinline]] result<int> dup(int fd) const noexcept { return made(nullptr, fd); }
  [[gnu::noinline]] result<int> ioctl(int fd, unsigned long request,
                                      std::uintptr_t argument) const noexcept {
    const result<int> descriptor = made(reinterpret_cast<const void*>(argument), fd);
    if (request == VFIO_GROUP_GET_DEVICE_FD || request == KVM_CREATE_VM) return descriptor;
    return request == KVM_GET_API_VERSION ? KVM_API_VERSION : 0;
  }
  result<std::size_t> read(int, void*, std::size_t size) const noexcept { return size; }
  result<std::size_t> write(int, const void*, std::size_t size) const noexcept { return size; }
  result<std::size_t> pread(int, void*, std::size_t size, std::uint64_t) const noexcept {
    return size;
  }
  result<std::size_t> pwrite(int, const void*, std::size_t size, std::uint64_t) const noexcept {
    return size;
  }
  result<void*> mmap(std::size_t, int, int, std::uint64_t) const noexcept { return errc::nodev; }
  errc munmap(void*, std::size_t) const noexcept { return errc::inval; }
  result<int> eventfd() const noexcept { return made(nullptr, 0); }

  static inline std::uint64_t calls = 0;

 private:
  static result<int> made(const void* read, int fd) noexcept {
    ++calls;
    int answer = 7;
    asm volatile("" : "+r"(answer) : "r"(read), "r"(fd) : "memory");
    return answer;
  }
};

// The steps by hand. An error would leave descriptors open: the hand-written code undoes nothing
// after an error, so that it has as few instructions as possible. The path of a group is a
// constant, or snprintf makes it from the number.
template <kv::system System, bool Constant>
class by_hand {
 public:
  explicit by_hand(const System& sys) : sys_(sys) {}
  bool start() {
    const auto kvm = sys_.open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (!kvm) return false;
    const auto vm = sys_.ioctl(*kvm, KVM_CREATE_VM, 0);
    (void)sys_.close(*kvm);
    kvm_create_device create{};
    create.type = KVM_DEV_TYPE_VFIO;
    if (!vm || !control(*vm, KVM_CREATE_DEVICE, &create)) return false;
    files_ = static_cast<int>(create.fd);
    return sys_.close(*vm) == errc::ok;
  }
  bool first() { return open_container() && plug(1, "/dev/vfio/1", true); }
  bool cycle() {
    if (!first() || !control(group_, VFIO_GROUP_GET_DEVICE_FD, device_name, &device_)) return false;
    return sys_.close(device_) == errc::ok && unplug() && sys_.close(container_) == errc::ok;
  }
  bool second() { return plug(2, "/dev/vfio/2", false) && unplug(); }

 private:
  bool control(int fd, unsigned long request, const void* argument, int* answer = nullptr) {
    const auto done = sys_.ioctl(fd, request, reinterpret_cast<std::uintptr_t>(argument));
    if (done && answer) *answer = *done;
    return static_cast<bool>(done);
  }
  bool change(std::uint64_t number, int fd) {
    const std::int32_t argument = fd;
    kvm_device_attr attr{};
    attr.group = KVM_DEV_VFIO_FILE;
    attr.attr = number;
    attr.addr = reinterpret_cast<std::uintptr_t>(&argument);
    return control(files_, KVM_SET_DEVICE_ATTR, &attr);
  }
  bool open_container() {
    const auto container = sys_.open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (!container) return false;
    container_ = *container;
    const auto version = sys_.ioctl(container_, VFIO_GET_API_VERSION, 0);
    return version && *version == VFIO_API_VERSION;
  }
  bool plug(int number, const char* path, bool needs_iommu) {
    char made[32];
    if constexpr (!Constant) {
      std::snprintf(made, sizeof made, "/dev/vfio/%d", opaque(number));
      path = made;
    }
    const auto group = sys_.open(path, O_RDWR | O_CLOEXEC);
    if (!group) return false;
    group_ = *group;
    return control(group_, VFIO_GROUP_SET_CONTAINER, &container_) &&
           (!needs_iommu || sys_.ioctl(container_, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) &&
           change(KVM_DEV_VFIO_FILE_ADD, group_);
  }
  bool unplug() {
    return change(KVM_DEV_VFIO_FILE_DEL, group_) &&
           sys_.ioctl(group_, VFIO_GROUP_UNSET_CONTAINER, 0) && sys_.close(group_) == errc::ok;
  }

  System sys_;
  int files_ = -1;
  int container_ = -1;
  int group_ = -1;
  int device_ = -1;
};

template <kv::system System>
result<native::basic_vm<System>> make_vm(const System& sys) {
  const auto kvm = native::basic_kvm_ref<System>::open("/dev/kvm", sys);
  if (!kvm) return kvm.error();
  return kvm->create_vm();
}

// The steps with the classes of native/. The path of a group is a constant, or the class of a group
// makes the path from the number.
template <kv::system System, bool Constant>
class with_native {
 public:
  explicit with_native(const System& sys) : sys_(sys) {}
  bool start() {
    const auto vm = make_vm(sys_);
    if (!vm) return false;
    auto files = vm->create_kvm_vfio_device();
    if (files) files_ = std::move(*files);
    return static_cast<bool>(files);
  }
  bool first() {
    auto container = container_ref::open("/dev/vfio/vfio", sys_);
    auto group = open_group(1, "/dev/vfio/1");
    if (!container || !group || group->set_container(container->borrow()) != errc::ok ||
        container->set_iommu() != errc::ok || kv::file_add(files_, group->fd()) != errc::ok)
      return false;
    first_ = std::move(*group);
    container_ = std::move(*container);
    return true;
  }
  bool cycle() {
    auto container = container_ref::open("/dev/vfio/vfio", sys_);
    if (!container) return false;
    auto group = open_group(1, "/dev/vfio/1");
    if (!group || group->set_container(container->borrow()) != errc::ok ||
        container->set_iommu() != errc::ok)
      return false;
    auto attached = files_.attach(group->fd());
    if (!attached) return false;
    auto device = group->get_device(device_name);
    if (!device) return false;
    *device = {};
    return attached->detach() == errc::ok && group->unset_container() == errc::ok;
  }
  bool second() {
    auto group = open_group(2, "/dev/vfio/2");
    if (!group || group->set_container(container_.borrow()) != errc::ok) return false;
    auto attached = files_.attach(group->fd());
    return attached && attached->detach() == errc::ok && group->unset_container() == errc::ok;
  }

 private:
  using container_ref = native::vfio::basic_container_ref<System>;
  using group_ref = native::vfio::basic_group_ref<System>;

  result<native::vfio::basic_group<System>> open_group(int number, const char* path) const {
    if constexpr (Constant) return group_ref::open(path, sys_);
    else return group_ref::open(opaque(number), sys_);
  }

  System sys_;
  native::basic_kvm_vfio_device<System> files_;
  native::vfio::basic_container<System> container_;
  native::vfio::basic_group<System> first_;
};

// The steps with the client layer.
template <kv::system System>
class with_client {
 public:
  explicit with_client(const System& sys) : sys_(sys) {}
  bool start() {
    const auto vm = make_vm(sys_);
    if (!vm) return false;
    auto files = client::vm_files<System>::create(*vm);
    if (files) files_ = std::move(*files);
    return static_cast<bool>(files);
  }
  bool first() {
    auto container = client::container<System>::open(sys_);
    if (!container) return false;
    container_ = std::move(*container);
    auto attached = attach(1, container_);
    if (attached) first_ = std::move(*attached);
    return static_cast<bool>(attached);
  }
  bool cycle() {
    auto container = client::container<System>::open(sys_);
    if (!container) return false;
    auto attached = attach(1, *container);
    if (!attached) return false;
    auto device = attached->open_device(device_name);
    if (!device) return false;
    *attached = {};  // the device keeps the group
    return device->close() == errc::ok;
  }
  bool second() {
    auto attached = attach(2, container_);
    return attached && attached->close() == errc::ok;
  }

 private:
  result<client::attached_group<System>> attach(int number,
                                                const client::container<System>& to) const {
    auto group = client::group_file<System>::open(opaque(number), sys_);
    if (!group) return group.error();
    auto in_container = std::move(*group).join(to);
    if (!in_container) return in_container.error();
    auto with_iommu = std::move(*in_container).set_iommu();
    if (!with_iommu) return with_iommu.error();
    return std::move(*with_iommu).attach(files_);
  }

  System sys_;
  client::vm_files<System> files_;
  client::container<System> container_;
  client::attached_group<System> first_;
};

sim::topology two_groups() {
  sim::topology t;
  t.groups.push_back({.number = 1, .devices = {{.name = device_name}}});
  t.groups.push_back({.number = 2, .devices = {{.name = "0000:00:05.0"}}});
  return t;
}

}  // namespace

// Its own function, not inlined: what callgrind counts.
extern "C" [[gnu::noinline]] int measured(bool (*round)(void*), void* of, int rounds) {
  int done = 0;
  for (int i = 0; i < rounds; ++i) done += round(of);
  return done;
}

namespace {

// Makes the rounds. Returns how many succeeded, or -1 if the preparation failed. Calls `ready`
// between the preparation and the first round, and `finished` after the last.
template <class Way, kv::system System, class Ready, class Finished>
int run(const System& sys, const std::string& what, int rounds, Ready ready, Finished finished) {
  Way way(sys);
  if (!way.start() || (what == "second" && !way.first())) return -1;
  const auto cycle = [](void* of) { return static_cast<Way*>(of)->cycle(); };
  const auto second = [](void* of) { return static_cast<Way*>(of)->second(); };
  ready();
  const int done =
      what == "second" ? measured(second, &way, rounds) : measured(cycle, &way, rounds);
  finished();
  return done;
}
template <kv::system System, class Ready, class Finished>
int run(const System& sys, const std::string& way, const std::string& what, int rounds, Ready ready,
        Finished finished) {
  if constexpr (has("c"))
    if (way == "c") return run<by_hand<System, true>>(sys, what, rounds, ready, finished);
  if constexpr (has("native_path"))
    if (way == "native_path")
      return run<with_native<System, true>>(sys, what, rounds, ready, finished);
  if constexpr (has("snprintf"))
    if (way == "snprintf") return run<by_hand<System, false>>(sys, what, rounds, ready, finished);
  if constexpr (has("native"))
    if (way == "native") return run<with_native<System, false>>(sys, what, rounds, ready, finished);
  if constexpr (has("client"))
    if (way == "client") return run<with_client<System>>(sys, what, rounds, ready, finished);
  return -1;
}

int on_simulator(const std::string& way, const std::string& what, int rounds) {
  sim::kernel<> kernel(two_groups());
  sim::memory memory;
  sim::process task(kernel, memory);
  kv::trace::timeline calls;
  std::uint64_t before = 0;
  return run(
      sim::process_ref(task), way, what, rounds == 0 ? 1 : rounds,
      [&] {
        before = task.calls();
        if (rounds == 0) task.observe(calls);
      },
      [&] {
        if (rounds == 0) std::fputs(calls.text().c_str(), stdout);
        else std::printf("%llu\n", static_cast<unsigned long long>(task.calls() - before));
      });
}
int at_once_only(const std::string& way, const std::string& what, int rounds) {
  return run(
      at_once{}, way, what, rounds, [] { at_once::calls = 0; },
      [] { std::printf("%llu\n", static_cast<unsigned long long>(at_once::calls)); });
}

// The least time of a round on the running kernel, for every way.
int on_host(int rounds) {
  using clock = std::chrono::steady_clock;
  const std::array ways{"c", "snprintf", "native", "client"};
  for (const char* what : {"cycle", "second"}) {
    std::array<double, ways.size()> least{};
    for (int turn = 0; turn < 9; ++turn)
      for (std::size_t i = 0; i < ways.size(); ++i) {
        clock::time_point start;
        std::chrono::duration<double, std::nano> time{};
        const int done = run(
            native::host{}, ways[i], what, rounds, [&] { start = clock::now(); },
            [&] { time = clock::now() - start; });
        if (done != rounds) return 1;
        // Some ways leave the descriptors of their preparation to the end of the process.
        ::close_range(3, ~0U, 0);
        if (turn == 0 || time.count() < least[i]) least[i] = time.count();
      }
    for (std::size_t i = 0; i < ways.size(); ++i)
      std::printf("HOST %s %s %.0f\n", what, ways[i], least[i] / rounds);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && argv[1] == std::string("host")) return on_host(std::atoi(argv[2]));
  if (argc != 5) return 2;
  const std::string system = argv[1];
  const std::string what = argv[3];
  const int rounds = std::atoi(argv[4]);
  if ((system != "sim" && system != "at_once") || (what != "cycle" && what != "second")) return 2;
  const int done =
      system == "sim" ? on_simulator(argv[2], what, rounds) : at_once_only(argv[2], what, rounds);
  return done == (rounds == 0 ? 1 : rounds) ? 0 : 1;
}
