// SPDX-License-Identifier: BSL-1.0
// Around the device: KVM_CREATE_DEVICE, the device's descriptor, lifetimes.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "calls.hpp"
#include "world.hpp"

namespace tests {
namespace {

using std::string;
using w73 = world<linux_7_3>;

// The descriptor that KVM_CREATE_DEVICE left in its argument; 77 is what was there before.
template <class World>
std::uint32_t fd_left(World& w) {
  return w.task.memory.template peek<kvm_create_device>(World::outer).fd;
}
constexpr std::uint64_t sign_extended(std::uint32_t request) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(request)));
}

// A lock is given to the type of device only if all devices share it. It could not be moved into
// each of them.
template <class Lock>
using type_with = vfio_device_type<w73::machine, recording_symbols, Lock, recording_iommu>;
template <class Lock>
constexpr bool takes_lock =
    std::is_constructible_v<type_with<Lock>, recording_symbols&, Lock, recording_iommu&>;
static_assert(takes_lock<null_lock&> && !takes_lock<null_lock>);

// A VM moves its lock, which need not be one that can be copied.
struct movable_lock : null_lock {
  movable_lock() = default;
  movable_lock(movable_lock&&) = default;
};
TEST_CASE("A VM moves the lock that it is given") {
  using machine = kvm_vfio::vm<process, vm_id, movable_lock>;
  w73 w;
  const machine::types types;
  const machine made(types, vm_id{2}, w.task, movable_lock());
  CHECK(made.name() == string("kvm-vm"));
}

TEMPLATE_TEST_CASE("KVM_CREATE_DEVICE, fault by fault", "", linux_7_3, linux_6_12, linux_6_1) {
  struct row {
    const char* when;
    ordered_fault fails{};
    errc answer = errc::ok;
    bool stays;  // whether the device exists afterwards
    string expected;
  };
  const string read = "copy_from_user() = true; ";
  const string made = read + "allocate() = true; lock(1); allocate() = true; unlock(1); ";
  const string apart = TestType::updates_coherency_apart ? "lock(2); unlock(2); " : "";
  const string undone = "lock(1); " + apart + "free(); free(); unlock(1)";
  const row rows[] = {
      {.when = "all is well",
       .stays = true,
       .expected = made + "install() = 1; copy_to_user() = true"},
      {.when = "the argument cannot be read",
       .fails = {.at = fault::copy_from_user, .nth = 1, .error = errc::fault},
       .answer = errc::fault,
       .stays = false,
       .expected = "copy_from_user() = false"},
      {.when = "no memory for the device",
       .fails = {.at = fault::allocate, .nth = 1, .error = errc::nomem},
       .answer = errc::nomem,
       .stays = false,
       .expected = read + "allocate() = false"},
      {.when = "no memory for its state",
       .fails = {.at = fault::allocate, .nth = 2, .error = errc::nomem},
       .answer = errc::nomem,
       .stays = false,
       .expected = read + "allocate() = true; lock(1); allocate() = false; unlock(1); free()"},
      {.when = "no free descriptor",
       .fails = {.at = fault::install, .nth = 1, .error = errc::mfile},
       .answer = errc::mfile,
       .stays = false,
       .expected = made + "install() = EMFILE; " + undone},
      {.when = "no free file",
       .fails = {.at = fault::install, .nth = 1, .error = errc::nfile},
       .answer = errc::nfile,
       .stays = false,
       .expected = made + "install() = ENFILE; " + undone},
      {.when = "no memory for the file",
       .fails = {.at = fault::install, .nth = 1, .error = errc::nomem},
       .answer = errc::nomem,
       .stays = false,
       .expected = made + "install() = ENOMEM; " + undone},
      {.when = "the answer cannot be written: the device stays",
       .fails = {.at = fault::copy_to_user, .nth = 1, .error = errc::fault},
       .answer = errc::fault,
       .stays = true,
       .expected = made + "install() = 1; copy_to_user() = false"},
  };
  for (const row& r : rows) {
    INFO(TestType::name << ", KVM_CREATE_DEVICE, " << r.when);
    world<TestType> w;
    r.fails.order(w.plan);
    CHECK(w.create() == r.answer);
    CHECK(to_string(w.log.all()) == calls(r.expected));
    CHECK(w.plan.struck() == (r.fails ? 1 : 0));
    CHECK(w.kvm.users() == (r.stays ? 2 : 1));
    CHECK(w.task.descriptors() == (r.stays ? 2 : 1));
    CHECK(fd_left(w) == (r.answer == errc::ok ? 1 : 77));
    CHECK(w.create() == (r.stays ? errc::busy : errc::ok));
    // Where the answer could not be written, only the test knows the descriptor.
    w.device_fd = 1;
    CHECK(w.has(uapi::dev_vfio_file, uapi::dev_vfio_file_add) == errc::ok);
    CHECK(w.end().empty());
    CHECK(w.always.broken() == "");
  }
}

TEST_CASE("A second device is refused, and the refusal leaves nothing behind") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  CHECK(w.create() == errc::busy);
  CHECK(to_string(w.log.all()) ==
        calls("copy_from_user() = true; allocate() = true; lock(1); unlock(1); free()"));
  CHECK(fd_left(w) == 77);
  CHECK(w.kvm.users() == 2);
  (void)w.end();
  CHECK(w.always.broken() == "");
}

TEST_CASE("KVM_CREATE_DEVICE_TEST creates nothing") {
  w73 w;
  const string asked = calls("copy_from_user() = true; copy_to_user() = true");
  CHECK(w.create(uapi::dev_type_vfio, uapi::create_device_test) == errc::ok);
  CHECK(to_string(w.log.all()) == asked);
  CHECK(fd_left(w) == 77);
  CHECK(w.kvm.users() == 1);
  SECTION("nor when the VM has a device already") {
    REQUIRE(w.create() == errc::ok);
    CHECK(w.create(uapi::dev_type_vfio, uapi::create_device_test) == errc::ok);
    CHECK(to_string(w.log.all()) == asked);
    CHECK(fd_left(w) == 77);
    CHECK(w.kvm.users() == 2);
  }
  SECTION("of an unknown type it says ENODEV") {
    CHECK(w.create(5, uapi::create_device_test) == errc::nodev);
    CHECK(w.create(1000, uapi::create_device_test) == errc::nodev);
  }
  SECTION("together with unknown flags it is still a test") {
    CHECK(w.create(uapi::dev_type_vfio, ~0u) == errc::ok);
    CHECK(w.kvm.users() == 1);
  }
  SECTION("it writes its argument back") {
    w.task.memory.protect(w.outer, access::read);
    CHECK(w.create(uapi::dev_type_vfio, uapi::create_device_test) == errc::fault);
  }
  (void)w.end();
  CHECK(w.always.broken() == "");
}

TEST_CASE("Other flags of KVM_CREATE_DEVICE are ignored") {
  for (const std::uint32_t flags : {2u, 0x80000000u, ~uapi::create_device_test}) {
    w73 w;
    CHECK(w.create(uapi::dev_type_vfio, flags) == errc::ok);
    CHECK(w.device_fd == 1);
  }
}

TEST_CASE("Unknown device types say ENODEV before anything is made") {
  for (const std::uint32_t type : {0u, 5u, static_cast<std::uint32_t>(KVM_DEV_TYPE_MAX), ~0u}) {
    w73 w;
    CHECK(w.create(type) == errc::nodev);
    CHECK(to_string(w.log.all()) == calls("copy_from_user() = true"));
    CHECK(fd_left(w) == 77);
    CHECK(w.kvm.users() == 1);
  }
}

TEST_CASE("The argument of KVM_CREATE_DEVICE must be readable and writable throughout") {
  w73 w;
  SECTION("past the end of the mapping") {
    CHECK(w.task.ioctl(w.vm_fd, uapi::create_device,
                       w.outer + w.page - sizeof(kvm_create_device) + 1) == errc::fault);
    CHECK(w.kvm.users() == 1);
  }
  SECTION("null") { CHECK(w.task.ioctl(w.vm_fd, uapi::create_device, 0) == errc::fault); }
  SECTION("at the end of the mapping") {
    const auto at = w.outer + w.page - sizeof(kvm_create_device);
    w.task.memory.poke(at, kvm_create_device{uapi::dev_type_vfio, 77, 0});
    CHECK(w.task.ioctl(w.vm_fd, uapi::create_device, at) == errc::ok);
    CHECK(w.task.memory.peek<kvm_create_device>(at).fd == 1);
  }
  SECTION("read-only: EFAULT, and the device stays") {
    w.task.memory.protect(w.outer, access::read);
    CHECK(w.create() == errc::fault);
    CHECK(w.create() == errc::busy);
    CHECK(w.task.name_of(1) == string("kvm-vfio"));
    CHECK(w.task.close(1) == errc::ok);
    w.task.memory.protect(w.outer, access::read_write);
    CHECK(w.create() == errc::ok);
  }
}

TEST_CASE("Limits of the mocks reach KVM_CREATE_DEVICE") {
  w73 w;
  SECTION("descriptors") {
    w.task.limit(1);
    CHECK(w.create() == errc::mfile);
    w.task.limit(2);
    CHECK(w.create() == errc::ok);
  }
  SECTION("files") {
    w.files.limit(1);
    CHECK(w.create() == errc::nfile);
    w.files.limit(2);
    CHECK(w.create() == errc::ok);
  }
  (void)w.end();
  CHECK(w.always.broken() == "");
}

TEST_CASE("A caller from another address space, or of a dead VM, gets EIO first") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  process child(w.files, w.log, &w.plan, 2);
  w.task.fork_into(child);
  process* from = &child;  // its memory is empty: whoever read it would say EFAULT
  SECTION("a forked child") {}
  SECTION("a dead VM") {
    w.kvm.kill();
    from = &w.task;
  }
  struct row {
    int fd;
    std::uint64_t request;
  };
  const row rows[] = {
      {w.vm_fd, uapi::create_device},
      {w.vm_fd, 0xdead},
      {w.device_fd, uapi::set_device_attr},
      {w.device_fd, uapi::get_device_attr},
      {w.device_fd, uapi::has_device_attr},
      {w.device_fd, 0xdead},
      {w.device_fd, 0},
  };
  for (const row& r : rows) {
    INFO("descriptor " << r.fd << ", request " << r.request);
    w.log.clear();
    CHECK(from->ioctl(r.fd, r.request, w.outer) == errc::io);
    CHECK(w.log.all().empty());
  }
  // A child can close: the device goes when the last descriptor does.
  CHECK(w.task.close(w.device_fd) == errc::ok);
  CHECK(w.kvm.users() == 2);
  CHECK(child.close(w.device_fd) == errc::ok);
  CHECK(w.kvm.users() == 1);
}

TEST_CASE("A task that shares the address space is answered") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  process sibling(w.files, w.log, &w.plan, 1);
  w.task.fork_into(sibling);
  sibling.memory.map(w.outer, w.page);
  sibling.memory.poke(w.outer, support::file_attribute(uapi::dev_vfio_file_add));
  CHECK(sibling.ioctl(w.device_fd, uapi::has_device_attr, w.outer) == errc::ok);
}

TEST_CASE("What the descriptors refuse") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  w.log.clear();
  SECTION("KVM_GET_DEVICE_ATTR: EPERM, whatever the argument") {
    CHECK(w.task.ioctl(w.device_fd, uapi::get_device_attr, 0) == errc::perm);
    CHECK(w.log.all().empty());
  }
  SECTION("an unknown ioctl: ENOTTY, of a VM on arm64 EINVAL, whatever the argument") {
#if defined(__aarch64__)
    constexpr errc unknown_to_vm = errc::inval;
#else
    constexpr errc unknown_to_vm = errc::notty;
#endif
    CHECK(w.task.ioctl(w.device_fd, 0xae01, 0) == errc::notty);
    CHECK(w.task.ioctl(w.device_fd, uapi::create_device, 0) == errc::notty);
    CHECK(w.task.ioctl(w.vm_fd, uapi::set_device_attr, 0) == unknown_to_vm);
    CHECK(w.log.all().empty());
  }
  SECTION("an attribute struct that cannot be read: EFAULT") {
    CHECK(w.task.ioctl(w.device_fd, uapi::set_device_attr, 0) == errc::fault);
    CHECK(w.task.ioctl(w.device_fd, uapi::has_device_attr, 0) == errc::fault);
    const auto straddling = w.outer + w.page - sizeof(kvm_device_attr) + 1;
    CHECK(w.task.ioctl(w.device_fd, uapi::set_device_attr, straddling) == errc::fault);
    CHECK(w.task.ioctl(w.device_fd, uapi::has_device_attr, straddling) == errc::fault);
  }
  SECTION("read, write, lseek and mmap") {
    for (const int fd : {w.device_fd, w.vm_fd}) {
      CHECK(w.task.read(fd) == errc::inval);
      CHECK(w.task.write(fd) == errc::inval);
      CHECK(w.task.mmap(fd) == errc::nodev);
    }
    CHECK(w.task.lseek(w.device_fd) == errc::spipe);
    CHECK(w.task.lseek(w.vm_fd) == errc::ok);
    CHECK(w.task.lseek(-1) == errc::badf);
    CHECK(w.task.mmap(w.task.open(file_id{-7})) == errc::notty);
  }
}

TEST_CASE("Requests are 32 bits wide: what stands above them does not count") {
  for (const bool extended : {true, false}) {
    const auto request = [extended](std::uint32_t r) {
      return extended ? sign_extended(r) : (std::uint64_t{0xabcdef01} << 32 | r);
    };
    w73 w;
    w.task.memory.poke(w.outer, kvm_create_device{uapi::dev_type_vfio, 77, 0});
    CHECK(w.task.ioctl(w.vm_fd, request(uapi::create_device), w.outer) == errc::ok);
    w.task.memory.poke(w.outer, support::file_attribute(uapi::dev_vfio_file_add));
    CHECK(w.task.ioctl(1, request(uapi::has_device_attr), w.outer) == errc::ok);
    CHECK(w.task.ioctl(1, request(uapi::set_device_attr), w.outer) == errc::fault);
    CHECK(w.task.ioctl(1, request(uapi::get_device_attr), w.outer) == errc::perm);
  }
}

TEMPLATE_TEST_CASE("The last close, fault by fault", "", linux_7_3, linux_6_12, linux_6_1) {
  struct row {
    const char* when;
    std::optional<fault> fails{};  // always
    errc error = errc::ok;         // what it answers
    string expected;
  };
  const bool counts = TestType::counts_assignments;
  const auto entry = [&](const string& told, int file) {
    return told + "fput(file " + std::to_string(file) + "); free(); " +
           (counts ? "end_assignment(vm 1); " : "");
  };
  const string told = "unregister_noncoherent(vm 1); ";
  const string done =
      (TestType::updates_coherency_apart ? "lock(2); " + told + "unlock(2); " : told) +
      "free(); free(); unlock(1)";
  const string failed = "symbol_get(vfio_file_set_kvm); symbol_put(vfio_file_set_kvm); ";
  const row rows[] = {
      {.when = "all is well",
       .expected = "lock(1); " + entry("[set_kvm(file 1, no vm)]; ", 1) +
                   entry("[set_kvm(file 2, no vm)]; ", 2) + entry("[set_kvm(file 3, no vm)]; ", 3) +
                   done},
      {.when = "set_kvm is missing",
       .fails = fault::symbol_set_kvm,
       .error = errc::noent,
       .expected = "lock(1); " + entry("", 1) + entry("", 2) + entry("", 3) + done},
      {.when = "set_kvm fails: nobody is left to be told",
       .fails = fault::set_kvm,
       .error = errc::nospc,
       .expected = "lock(1); " + entry(failed, 1) + entry(failed, 2) + entry(failed, 3) + done},
      {.when = "enforced_coherent is missing: there is no file to ask about",
       .fails = fault::symbol_enforced_coherent,
       .error = errc::noent,
       .expected = "lock(1); " + entry("[set_kvm(file 1, no vm)]; ", 1) +
                   entry("[set_kvm(file 2, no vm)]; ", 2) + entry("[set_kvm(file 3, no vm)]; ", 3) +
                   done},
  };
  for (const row& r : rows) {
    INFO(TestType::name << ", close, " << r.when);
    world<TestType> w;
    REQUIRE(w.create() == errc::ok);
    REQUIRE(w.add(w.file()) == errc::ok);
    REQUIRE(w.add(w.file({.coherent = false})) == errc::ok);
    REQUIRE(w.add(w.file()) == errc::ok);
    if (r.fails) w.plan.fail_always(*r.fails, r.error);
    CHECK(w.close(w.device_fd) == errc::ok);
    CHECK(to_string(w.log.all()) == calls(r.expected));
    w.device_fd = -1;
    CHECK(w.kvm.users() == 1);
    CHECK(w.end().empty());
    CHECK(w.always.broken() == "");
  }
}

TEST_CASE("The last close of a device that tracks nothing tells nobody") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  CHECK(w.close(w.device_fd) == errc::ok);
  CHECK(to_string(w.log.all()) == calls("lock(1); free(); free(); unlock(1)"));
}

TEST_CASE("A dup'ed device descriptor keeps the device") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  const int again = w.task.dup(w.device_fd).value();
  const int fd = w.file();
  CHECK(w.close(w.device_fd) == errc::ok);
  CHECK(w.log.all().empty());
  w.device_fd = again;
  CHECK(w.add(fd) == errc::ok);
  CHECK(w.end() == std::vector{1});
  CHECK(w.always.broken() == "");
}

TEST_CASE("The device outlives the VM's descriptor and keeps the VM alive") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  const int fd = w.file({.coherent = false});
  CHECK(w.close(w.vm_fd) == errc::ok);
  CHECK(w.kvm.users() == 1);
  CHECK(w.add(fd) == errc::ok);
  CHECK(w.noncoherent());
  CHECK(w.del(fd) == errc::ok);
  CHECK(w.add(fd) == errc::ok);
  CHECK(w.end() == std::vector{1});
  CHECK(w.kvm.users() == 0);
  CHECK(w.always.broken() == "");
}

TEST_CASE("After the close the VM can have a new device, which starts with nothing") {
  w73 w;
  const int fd = w.file({.coherent = false});
  for (int round = 0; round < 3; ++round) {
    REQUIRE(w.create() == errc::ok);
    CHECK_FALSE(w.noncoherent());
    CHECK(w.del(fd) == errc::noent);
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.close(w.device_fd) == errc::ok);
    CHECK(w.kvm.users() == 1);
  }
  w.device_fd = -1;
  CHECK(w.end().empty());
  CHECK(w.always.broken() == "");
}

TEST_CASE("Two VMs may track one file: the last set_kvm wins, either close clears it") {
  w73 w;
  w73::machine other(w.types, vm_id{2}, w.task, w.vm_lock, w73::memory(w.plan, &w.log));
  const int other_vm = w.task.open(other);
  const int fd = w.file({.coherent = false});
  const file_id file = w.task.file_of(fd);
  const int vms[] = {w.vm_fd, other_vm};
  int devices[2] = {};
  for (int i = 0; i < 2; ++i) {
    w.vm_fd = vms[i];
    REQUIRE(w.create() == errc::ok);
    devices[i] = w.device_fd;
    CHECK(w.task.ioctl(w.device_fd, uapi::get_device_attr, 0) == errc::perm);
    CHECK(w.add(fd) == errc::ok);
    CHECK(w.vfio.vm_of(file) == vm_id{i + 1});
  }
  CHECK(w.iommu.registered() == 2);  // each device registers for its own VM
  CHECK(w.files.references(file) == 3);
  CHECK(w.close(devices[0]) == errc::ok);
  CHECK(w.vfio.vm_of(file) == vm_id{});  // and the other device still tracks the file
  CHECK(w.devices.all.size() == 1);
  CHECK(w.devices.all[0].expected.files() == std::vector{file});
  CHECK(w.iommu.registered() == 1);
  CHECK(w.close(devices[1]) == errc::ok);
  CHECK(w.iommu.registered() == 0);
  CHECK(w.files.references(file) == 1);
  CHECK(w.task.close(other_vm) == errc::ok);
  CHECK(other.users() == 0);
}

TEST_CASE("Descriptors have the kernel's names") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  CHECK(w.task.name_of(w.device_fd) == std::string_view("kvm-vfio"));
  CHECK(w.task.name_of(w.vm_fd) == std::string_view("kvm-vm"));
}

TEST_CASE("The table of device types") {
  w73 w;
  device_type_table<w73::machine, 3> table;
  CHECK(table.find(2) == nullptr);
  CHECK(table.register_type(3, w.type) == errc::nospc);
  CHECK(table.register_type(~0u, w.type) == errc::nospc);
  CHECK(table.register_type(2, w.type) == errc::ok);
  CHECK(table.find(2) == &w.type);
  CHECK(table.register_type(2, w.type) == errc::exists);
  table.unregister_type(3);
  table.unregister_type(~0u);
  table.unregister_type(1);
  CHECK(table.find(2) == &w.type);
  table.unregister_type(2);
  CHECK(table.find(2) == nullptr);
  CHECK(table.find(3) == nullptr);
  CHECK(table.register_type(2, w.type) == errc::ok);
}
// In constant evaluation, an access past the end is an error.
static_assert([] {
  device_type_table<w73::machine, 1> table;
  table.unregister_type(1);
  return table.find(0) == nullptr && table.find(1) == nullptr;
}());

// The count of a VM's users, alone: one more, and the last one is told so.
constexpr bool counts_users() {
  kvm_vfio::detail::ref_count users;
  bool right = users.value() == 1;
  users.get();
  right = users.value() == 2 && right;
  right = !users.put() && users.value() == 1 && right;
  return users.put() && users.value() == 0 && right;
}
static_assert(counts_users());
TEST_CASE("The last user of a VM is told so") { CHECK(counts_users()); }

// A kind of device of a test's own, which notes how many users the VM has when it goes, and whether
// the VM still has it.
struct witness final : device_type<w73::machine> {
  struct state final : operations {
    [[nodiscard]] errc set_attr(process&, const kvm_device_attr&) noexcept override {
      return errc::ok;
    }
    [[nodiscard]] errc has_attr(const kvm_device_attr&) noexcept override { return errc::ok; }
  };
  [[nodiscard]] const char* name() const noexcept override { return "witness"; }
  [[nodiscard]] result<operations*> create(w73::machine& of) noexcept override {
    vm = &of;
    return static_cast<operations*>(&device);
  }
  void release(operations&) noexcept override {
    users_at_release = vm->users();
    listed_at_release = vm->has(*this);
  }
  state device;
  w73::machine* vm = nullptr;
  int users_at_release = -1;
  bool listed_at_release = true;
};

TEST_CASE("A device's reference on the VM goes after the device, and before one half made") {
  witness type;  // lives longer than the devices of `w`
  w73 w;
  REQUIRE(w.types.register_type(5, type) == errc::ok);
  REQUIRE(w.create(5) == errc::ok);
  CHECK(w.task.name_of(w.device_fd) == std::string_view("witness"));
  CHECK(w.close(w.vm_fd) == errc::ok);
  CHECK(w.close(w.device_fd) == errc::ok);
  CHECK(type.users_at_release == 1);
  CHECK_FALSE(type.listed_at_release);
  CHECK(w.kvm.users() == 0);

  w73 half;
  REQUIRE(half.types.register_type(5, type) == errc::ok);
  half.plan.fail(fault::install, 1, errc::mfile);
  CHECK(half.create(5) == errc::mfile);
  CHECK(type.users_at_release == 1);  // the VM's own descriptor
  CHECK(half.kvm.users() == 1);
}

TEST_CASE("A VM may have devices of several kinds") {
  witness type;  // lives longer than the devices of `w`
  w73 w;
  REQUIRE(w.types.register_type(5, type) == errc::ok);
  REQUIRE(w.create() == errc::ok);
  const int first = w.device_fd;
  REQUIRE(w.create(5) == errc::ok);
  CHECK(w.create() == errc::busy);
  CHECK(w.kvm.users() == 3);
  // The older of the two leaves the middle of the VM's list.
  CHECK(w.close(first) == errc::ok);
  CHECK(w.create() == errc::ok);
  CHECK(w.close(w.device_fd) == errc::ok);
  CHECK(w.kvm.users() == 2);
}

TEST_CASE("A type that is unregistered makes no new devices, and those that exist go on") {
  w73 w;
  REQUIRE(w.create() == errc::ok);
  w.types.unregister_type(uapi::dev_type_vfio);
  const int fd = w.file();
  CHECK(w.add(fd) == errc::ok);
  CHECK(w.create(uapi::dev_type_vfio, uapi::create_device_test) == errc::nodev);
  CHECK(w.create() == errc::nodev);
  CHECK(w.end() == std::vector{1});
  CHECK(w.always.broken() == "");
}

}  // namespace
}  // namespace tests
