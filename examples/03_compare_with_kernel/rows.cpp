// SPDX-License-Identifier: BSL-1.0
#include "rows.hpp"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace compare {

namespace {

constexpr std::size_t page = 4096;

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(2);
}

/// A descriptor of this process that exists while a row runs.
class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {
    if (fd < 0) give_up("a descriptor for the comparison");
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() { ::close(fd_); }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

int closed_descriptor() {
  const int fd = ::dup(STDERR_FILENO);
  ::close(fd);
  return fd;
}

// Returns the answer of a call that a forked child makes.
std::string in_child(const std::function<kv::errc()>& call) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) give_up("fork");
  if (child == 0) ::_exit(static_cast<int>(call()));
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) give_up("waitpid");
  return words(kv::to_errc(WEXITSTATUS(status)));
}

// Makes a call while the process cannot open one more descriptor.
kv::errc without_descriptors(const std::function<kv::errc()>& call) {
  rlimit before{};
  if (::getrlimit(RLIMIT_NOFILE, &before) != 0) give_up("getrlimit");
  rlimit none = before;
  none.rlim_cur = 0;
  if (::setrlimit(RLIMIT_NOFILE, &none) != 0) give_up("setrlimit");
  const kv::errc answer = call();
  if (::setrlimit(RLIMIT_NOFILE, &before) != 0) give_up("setrlimit");
  return answer;
}

const void* address(std::uintptr_t number) { return reinterpret_cast<const void*>(number); }

using rows = std::vector<row>;

void create_rows(rows& out) {
  const auto add = [&out](const char* call, const auto& run) {
    out.push_back({"create", call, run});
  };
  add("TEST flag, type kvm-vfio", [](stage& s) {
    int fd = 77;
    const kv::errc e = s.create(s.vm, KVM_DEV_TYPE_VFIO, KVM_CREATE_DEVICE_TEST, &fd);
    return words(e) + (fd == 77 ? ", fd unchanged" : ", fd written");
  });
  add("TEST flag, unknown type",
      [](stage& s) { return words(s.create(s.vm, 4711, KVM_CREATE_DEVICE_TEST)); });
  add("unknown type", [](stage& s) { return words(s.create(s.vm, 4711, 0)); });
  add("type 2^32 - 1", [](stage& s) { return words(s.create(s.vm, ~0U, 0)); });
  add("argument at address 0",
      [](stage& s) { return words(s.sys.ioctl(s.vm, KVM_CREATE_DEVICE, nullptr)); });
  add("argument across the end of memory",
      [](stage& s) { return words(s.sys.ioctl(s.vm, KVM_CREATE_DEVICE, s.end - 4)); });
  add("no free descriptor", [](stage& s) {
    return words(without_descriptors([&s] { return s.create(s.vm, KVM_DEV_TYPE_VFIO, 0); }));
  });
  add("from a forked child",
      [](stage& s) { return in_child([&s] { return s.create(s.vm, KVM_DEV_TYPE_VFIO, 0); }); });
  add("unknown ioctl of the VM from a forked child",
      [](stage& s) { return in_child([&s] { return s.sys.ioctl(s.vm, 0, nullptr); }); });
  add("unknown ioctl of the VM",
      [](stage& s) { return words(s.sys.ioctl(s.vm, _IO(KVMIO, 0xfe), nullptr)); });
  add("unknown flags",
      [](stage& s) { return words(s.create(s.vm, KVM_DEV_TYPE_VFIO, 0x80, &s.device)); });
  add("its descriptor's name", [](stage& s) { return s.sys.name_of(s.device); });
  add("its descriptor's flags", [](stage& s) {
    const int flags = ::fcntl(s.device, F_GETFL);
    std::string text = (flags & O_ACCMODE) == O_RDWR ? "O_RDWR" : "not O_RDWR";
    return text + (::fcntl(s.device, F_GETFD) & FD_CLOEXEC ? ", close on exec" : ", kept on exec");
  });
  add("a second kvm-vfio", [](stage& s) { return words(s.create(s.vm, KVM_DEV_TYPE_VFIO, 0)); });
  add("TEST flag when there is one",
      [](stage& s) { return words(s.create(s.vm, KVM_DEV_TYPE_VFIO, KVM_CREATE_DEVICE_TEST)); });
}

void has_rows(rows& out) {
  struct asked {
    const char* call;
    std::uint32_t group;
    std::uint64_t attr;
    std::uint32_t flags;
  };
  for (const asked& a : {asked{"FILE, ADD", 1, 1, 0}, asked{"FILE, DEL", 1, 2, 0},
                         asked{"FILE, SET_SPAPR_TCE", 1, 3, 0}, asked{"FILE, 0", 1, 0, 0},
                         asked{"FILE, 4", 1, 4, 0}, asked{"FILE, 2^64 - 1", 1, ~0ULL, 0},
                         asked{"FILE, 2^32 + 1", 1, (1ULL << 32) + 1, 0}, asked{"group 0", 0, 1, 0},
                         asked{"group 2", 2, 1, 0}, asked{"FILE, ADD, flags set", 1, 1, ~0U}})
    out.push_back({"has attribute", a.call,
                   [a](stage& s) { return words(s.has(a.group, a.attr, a.flags)); }});
  out.push_back({"has attribute", "structure at address 0", [](stage& s) {
                   return words(s.sys.ioctl(s.device, KVM_HAS_DEVICE_ATTR, nullptr));
                 }});
}

void attribute_rows(rows& out) {
  const auto add = [&out](std::string call, auto run) {
    out.push_back({"set attribute", std::move(call), run});
  };
  add("structure at address 0",
      [](stage& s) { return words(s.sys.ioctl(s.device, KVM_SET_DEVICE_ATTR, nullptr)); });
  add("structure across the end of memory",
      [](stage& s) { return words(s.sys.ioctl(s.device, KVM_SET_DEVICE_ATTR, s.end - 8)); });
  add("group 0", [](stage& s) { return words(s.set(0, 1, nullptr)); });
  add("attribute 0 at address 0", [](stage& s) { return words(s.set(1, 0, nullptr)); });
  add("attribute 3 (sPAPR) at address 0", [](stage& s) { return words(s.set(1, 3, nullptr)); });
  for (const std::uint64_t attr : {kv::uapi::dev_vfio_file_add, kv::uapi::dev_vfio_file_del}) {
    const std::string name = attr == kv::uapi::dev_vfio_file_add ? "ADD: " : "DEL: ";
    add(name + "address 0", [attr](stage& s) { return words(s.set(1, attr, nullptr)); });
    add(name + "address 1", [attr](stage& s) { return words(s.set(1, attr, address(1))); });
    add(name + "the highest address",
        [attr](stage& s) { return words(s.set(1, attr, address(~std::uintptr_t{0}))); });
    add(name + "across the end of memory",
        [attr](stage& s) { return words(s.set(1, attr, s.end - 2)); });
    const auto of = [&add, &name, attr](const char* what, auto descriptor_of) {
      add(name + what, [attr, descriptor_of](stage& s) {
        const int fd = descriptor_of(s);
        return words(s.set(1, attr, &fd));
      });
    };
    of("descriptor -1", [](stage&) { return -1; });
    of("descriptor -2147483648", [](stage&) { return -2147483647 - 1; });
    of("descriptor 2147483647", [](stage&) { return 2147483647; });
    of("a closed descriptor", [](stage&) { return closed_descriptor(); });
    of("the VM", [](stage& s) { return s.vm; });
    of("the kvm-vfio itself", [](stage& s) { return s.device; });
    add(name + "an O_PATH descriptor", [attr](stage& s) {
      const descriptor file(::open("/dev/null", O_PATH | O_CLOEXEC));
      const int fd = file.get();
      return words(s.set(1, attr, &fd));
    });
    add(name + "/dev/null", [attr](stage& s) {
      const descriptor file(::open("/dev/null", O_RDWR | O_CLOEXEC));
      const int fd = file.get();
      return words(s.set(1, attr, &fd));
    });
    add(name + "an eventfd, flags set", [attr](stage& s) {
      const descriptor file(::eventfd(0, EFD_CLOEXEC));
      const int fd = file.get();
      return words(s.set(1, attr, &fd, ~0U));
    });
    add(name + "a descriptor in read-only memory",
        [attr](stage& s) { return words(s.set(1, attr, s.read_only)); });
  }
}

void other_rows(rows& out) {
  const auto add = [&out](const char* call, const auto& run) {
    out.push_back({"other calls", call, run});
  };
  add("get attribute", [](stage& s) {
    kvm_device_attr attr{.flags = 0, .group = 1, .attr = 1, .addr = 0};
    return words(s.sys.ioctl(s.device, KVM_GET_DEVICE_ATTR, &attr));
  });
  add("get attribute, structure at address 0",
      [](stage& s) { return words(s.sys.ioctl(s.device, KVM_GET_DEVICE_ATTR, nullptr)); });
  add("ioctl 0", [](stage& s) { return words(s.sys.ioctl(s.device, 0, nullptr)); });
  add("KVM_CREATE_DEVICE on the device",
      [](stage& s) { return words(s.create(s.device, KVM_DEV_TYPE_VFIO, 0)); });
  add("a sign-extended request", [](stage& s) {
    kvm_device_attr attr{.flags = 0, .group = 1, .attr = 1, .addr = 0};
    return words(s.sys.ioctl(s.device, 0xffffffff00000000UL | KVM_HAS_DEVICE_ATTR, &attr));
  });
  add("set attribute from a forked child",
      [](stage& s) { return in_child([&s] { return s.add(-1); }); });
  add("unknown ioctl from a forked child",
      [](stage& s) { return in_child([&s] { return s.sys.ioctl(s.device, 0, nullptr); }); });
  add("read", [](stage& s) { return words(s.sys.read(s.device)); });
  add("write", [](stage& s) { return words(s.sys.write(s.device)); });
  add("lseek", [](stage& s) { return words(s.sys.lseek(s.device)); });
  add("mmap", [](stage& s) { return words(s.sys.mmap(s.device)); });
  add("lseek of the VM", [](stage& s) { return words(s.sys.lseek(s.vm)); });
  add("mmap of the VM", [](stage& s) { return words(s.sys.mmap(s.vm)); });
}

void lifetime_rows(rows& out) {
  const auto add = [&out](const char* call, const auto& run) {
    out.push_back({"lifetimes", call, run});
  };
  add("close, then a new kvm-vfio", [](stage& s) {
    if (const kv::errc e = s.sys.close(s.device); e != kv::errc::ok) return words(e);
    return words(s.create(s.vm, KVM_DEV_TYPE_VFIO, 0, &s.device));
  });
  add("the VM closed first: DEL of descriptor -1", [](stage& s) {
    if (const kv::errc e = s.sys.close(s.vm); e != kv::errc::ok) return words(e);
    s.vm = -1;
    return words(s.del(-1));
  });
  add("then the device is closed", [](stage& s) {
    const kv::errc e = s.sys.close(s.device);
    s.device = -1;
    return words(e);
  });
  add("a new VM; the answer cannot be written", [](stage& s) {
    s.new_vm();
    return words(s.sys.ioctl(s.vm, KVM_CREATE_DEVICE, s.read_only + page / 2));
  });
  add("the device exists nevertheless",
      [](stage& s) { return words(s.create(s.vm, KVM_DEV_TYPE_VFIO, 0)); });
  add("another VM has its own", [](stage& s) {
    s.new_vm();
    return words(s.create(s.vm, KVM_DEV_TYPE_VFIO, 0, &s.device));
  });
}

}  // namespace

stage::stage(system& s) : sys(s) {
  void* const mapped =
      ::mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) give_up("mmap");
  char* const memory = static_cast<char*>(mapped);
  end = memory + page;
  read_only = memory + 2 * page;
  const int standard_input = STDIN_FILENO;
  std::memcpy(read_only, &standard_input, sizeof standard_input);
  const kvm_create_device create{.type = KVM_DEV_TYPE_VFIO, .fd = 0, .flags = 0};
  std::memcpy(read_only + page / 2, &create, sizeof create);
  if (::mprotect(end, page, PROT_NONE) != 0 || ::mprotect(read_only, page, PROT_READ) != 0)
    give_up("mprotect");
  new_vm();
}

void stage::new_vm() {
  if (vm >= 0) (void)sys.close(vm);
  const kv::result<int> made = sys.create_vm();
  if (!made) {
    errno = static_cast<int>(made.error());
    give_up("KVM_CREATE_VM");
  }
  vm = *made;
}

stage::~stage() {
  if (device >= 0) (void)sys.close(device);
  if (vm >= 0) (void)sys.close(vm);
  ::munmap(end - page, 3 * page);
}

kv::errc stage::create(int vm_fd, std::uint32_t type, std::uint32_t flags, int* made) const {
  kvm_create_device argument{
      .type = type, .fd = made ? static_cast<std::uint32_t>(*made) : 0, .flags = flags};
  const kv::errc e = sys.ioctl(vm_fd, KVM_CREATE_DEVICE, &argument);
  if (made) *made = static_cast<int>(argument.fd);
  return e;
}

kv::errc stage::set(std::uint32_t group, std::uint64_t attr, const void* argument,
                    std::uint32_t flags) const {
  kvm_device_attr structure{.flags = flags,
                            .group = group,
                            .attr = attr,
                            .addr = reinterpret_cast<std::uintptr_t>(argument)};
  return sys.ioctl(device, KVM_SET_DEVICE_ATTR, &structure);
}

kv::errc stage::has(std::uint32_t group, std::uint64_t attr, std::uint32_t flags) const {
  kvm_device_attr structure{.flags = flags, .group = group, .attr = attr, .addr = 1};
  return sys.ioctl(device, KVM_HAS_DEVICE_ATTR, &structure);
}

std::string words(kv::errc e) {
  if (e == kv::errc::ok) return "0";
  return has_name(e) ? name(e) : std::strerror(static_cast<int>(e));
}

std::vector<row> common_rows() {
  rows out;
  create_rows(out);
  has_rows(out);
  attribute_rows(out);
  other_rows(out);
  lifetime_rows(out);
  return out;
}

std::vector<row> vfio_rows(const std::string& path) {
  // Both systems share one open file, because a group can be opened only once.
  const int opened = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (opened < 0) give_up(path.c_str());
  const auto file = std::make_shared<descriptor>(opened);
  const auto copy = std::make_shared<descriptor>(::fcntl(opened, F_DUPFD_CLOEXEC, 0));
  rows out;
  const auto add = [&out, &path](const char* call, const auto& run) {
    out.push_back({path, call, run});
  };
  add("a kvm-vfio for it", [](stage& s) {
    return words(s.device >= 0 ? kv::errc::ok : s.create(s.vm, KVM_DEV_TYPE_VFIO, 0, &s.device));
  });
  add("ADD", [file](stage& s) { return words(s.add(file->get())); });
  add("ADD again", [file](stage& s) { return words(s.add(file->get())); });
  add("ADD of a duplicate", [copy](stage& s) { return words(s.add(copy->get())); });
  add("DEL of the duplicate", [copy](stage& s) { return words(s.del(copy->get())); });
  add("DEL again", [file](stage& s) { return words(s.del(file->get())); });
  add("ADD once more", [file](stage& s) { return words(s.add(file->get())); });
  add("SET_SPAPR_TCE, no table", [file](stage& s) {
    const kvm_vfio_spapr_tce argument{.groupfd = file->get(), .tablefd = -1};
    return words(s.set(1, kv::uapi::dev_vfio_group_set_spapr_tce, &argument));
  });
  add("DEL", [file](stage& s) { return words(s.del(file->get())); });
  return out;
}

}  // namespace compare
