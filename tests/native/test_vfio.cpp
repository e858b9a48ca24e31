// SPDX-License-Identifier: BSL-1.0
// VFIO's files: what can be said of them without VFIO hardware. Where the machine has VFIO, the
// cases that expect its absence say SKIPPED.
#include "support.hpp"

#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/native/vfio_file.hpp>
#include <kvm_vfio/native/vfio_symbols.hpp>

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/sysmacros.h>
#include <cstdint>
#include <filesystem>
#include <thread>

namespace vfio = kvm_vfio::native::vfio;

namespace {

constexpr int no_such_number = 2000000000;
constexpr auto notty = errc::notty;

TEST_CASE_METHOD(support::no_leaks, "Without VFIO there is no container") {
  if (native::vfio_is_loaded()) return support::skip("VFIO is loaded here", errc::ok);
  CHECK(vfio::container::open().error() == errc::noent);
}

TEST_CASE_METHOD(support::no_leaks, "Without iommufd there is none") {
  if (::access("/dev/iommu", F_OK) == 0) return support::skip("iommufd is here", errc::ok);
  CHECK(vfio::iommufd::open().error() == errc::noent);
}

TEST_CASE_METHOD(support::no_leaks, "Groups and devices that are not there are ENOENT") {
  CHECK(vfio::group::open(no_such_number).error() == errc::noent);
  CHECK(vfio::device::open(no_such_number).error() == errc::noent);
  CHECK(vfio::group::open(-1).error() == errc::inval);
  CHECK(vfio::device::open(-1).error() == errc::inval);
  CHECK(vfio::group::open("/dev/vfio/nowhere").error() == errc::noent);
  CHECK(vfio::group::open("/").error() == errc::isdir);
}

TEST_CASE_METHOD(support::no_leaks, "What is not a container is not opened as one") {
  const errc container =
      support::without_descriptors([] { return vfio::container::open("/dev/null").error(); });
  CHECK(container == errc::mfile);
  const errc group =
      support::without_descriptors([] { return vfio::group::open("/dev/null").error(); });
  CHECK(group == errc::mfile);
  if (support::skip_emulated()) return;
  CHECK(vfio::container::open("/dev/null").error() == notty);
}

// Each call reaches the file as an ioctl, and the file's answer comes back as it is.
TEST_CASE_METHOD(support::no_leaks, "Every call on a file of another kind is ENOTTY") {
  if (support::skip_emulated()) return;
  const native::unique_fd event(::eventfd(0, EFD_CLOEXEC));
  const vfio::container_ref container(event.get());
  const vfio::group_ref group(event.get());
  const vfio::device_ref device(event.get());
  const vfio::iommufd_ref iommufd(event.get());
  char page[1] = {};
  const vfio::dma_mapping mapping{.iova = 0, .memory = page, .size = 4096, .writable = true};

  CHECK(container.check_extension(VFIO_DMA_CC_IOMMU).error() == notty);
  CHECK(container.set_iommu() == notty);
  CHECK(container.map(mapping) == notty);
  CHECK(container.unmap(0, 4096).error() == notty);
  CHECK(group.viable().error() == notty);
  CHECK(group.set_container(container) == notty);
  CHECK(group.unset_container() == notty);
  CHECK(group.get_device("0000:00:00.0").error() == notty);
  CHECK(device.bind_iommufd(iommufd).error() == notty);
  CHECK(device.attach_iommufd_pt(vfio::ioas_id{1}) == notty);
  CHECK(device.detach_iommufd_pt() == notty);
  CHECK(iommufd.alloc_ioas().error() == notty);
  CHECK(iommufd.destroy(vfio::ioas_id{1}) == notty);
  CHECK(iommufd.map(vfio::ioas_id{1}, mapping) == notty);
  CHECK(iommufd.unmap(vfio::ioas_id{1}, 0, 4096).error() == notty);
}

TEST_CASE_METHOD(support::no_leaks, "Every call on an empty handle is EBADF") {
  if (support::skip_emulated()) return;
  CHECK(vfio::container().check_extension(VFIO_DMA_CC_IOMMU).error() == errc::badf);
  CHECK(vfio::container().set_iommu() == errc::badf);
  CHECK(vfio::group().viable().error() == errc::badf);
  CHECK(vfio::group().get_device("0000:00:00.0").error() == errc::badf);
  CHECK(vfio::device().bind_iommufd({}).error() == errc::badf);
  CHECK(vfio::iommufd().alloc_ioas().error() == errc::badf);
}

TEST_CASE_METHOD(support::no_leaks, "An owner closes once, wherever it moves") {
  vfio::group first{native::unique_fd(::eventfd(0, EFD_CLOEXEC))};
  const int number = first.fd();
  vfio::group second = std::move(first);
  CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): that is what is tested
  CHECK(second.fd() == number);
  second = vfio::group{native::unique_fd(::eventfd(0, EFD_CLOEXEC))};
  CHECK(::fcntl(number, F_GETFD) == -1);
  const vfio::group_ref given_away = second.release();
  CHECK_FALSE(second);
  CHECK(::close(given_away.fd()) == 0);
}

TEST_CASE_METHOD(support::no_leaks, "No file of this machine's other subsystems is a VFIO file") {
  const native::unique_fd none(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const native::unique_fd event(::eventfd(0, EFD_CLOEXEC));
  const native::unique_fd directory(::open("/", O_RDONLY | O_CLOEXEC));
  const native::unique_fd regular(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  const support::pipe_ends pipe;
  const auto kvm = native::kvm::open();
  CHECK(native::vfio_kind_of(-1) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(99999) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(event.get()) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(directory.get()) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(regular.get()) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(pipe.in.get()) == native::vfio_file_kind::none);
  if (::access("/sys/dev/char", F_OK) != 0) return skipping::skip("/sys is not mounted");
  CHECK(native::vfio_kind_of(none.get()) == native::vfio_file_kind::none);
  if (kvm) CHECK(native::vfio_kind_of(kvm->fd()) == native::vfio_file_kind::none);
}

TEST_CASE_METHOD(support::no_leaks, "Without /sys and /proc a file may be VFIO's") {
  constexpr int no_chroot = 100;
  const native::unique_fd none(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const native::unique_fd event(::eventfd(0, EFD_CLOEXEC));
  const support::pipe_ends pipe;
  const int answer = support::in_child([&] {
    if (::chroot("/proc/self/fdinfo") != 0 || ::chdir("/") != 0) return no_chroot;
    return (native::vfio_kind_of(none.get()) == native::vfio_file_kind::unknown ? 0 : 1) |
           (native::vfio_kind_of(event.get()) == native::vfio_file_kind::unknown ? 0 : 2) |
           (native::vfio_kind_of(pipe.in.get()) == native::vfio_file_kind::none ? 0 : 4);
  });
  if (answer == no_chroot) return support::skip("chroot(2) is not allowed", errc::perm);
  CHECK(answer == 0);
}

// A directory that a child takes for the root: a /sys and a /proc as a test wants them.
class made_root {
 public:
  made_root() {
    char name[] = "/tmp/kvm_vfio_root.XXXXXX";
    REQUIRE(::mkdtemp(name));
    at_ = name;
  }
  made_root(const made_root&) = delete;
  made_root& operator=(const made_root&) = delete;
  ~made_root() { std::filesystem::remove_all(at_); }
  void directory(const std::string& path) { std::filesystem::create_directories(at_ / path); }
  void link(const std::filesystem::path& path, const std::string& target) {
    std::filesystem::create_directories((at_ / path).parent_path());
    std::filesystem::create_symlink(target, at_ / path);
  }
  // The class of a character device, as sysfs has it.
  void device_class(int fd, const std::string& target) {
    struct stat inode{};
    REQUIRE(::fstat(fd, &inode) == 0);
    link("sys/dev/char/" + std::to_string(major(inode.st_rdev)) + ":" +
             std::to_string(minor(inode.st_rdev)) + "/subsystem",
         target);
  }
  // For a child: false where neither root may, nor a user namespace is to be had.
  [[nodiscard]] bool enter() const {
    const auto changed = [this] { return ::chroot(at_.c_str()) == 0 && ::chdir("/") == 0; };
    return changed() || (::unshare(CLONE_NEWUSER) == 0 && changed());
  }

 private:
  std::filesystem::path at_;
};

TEST_CASE_METHOD(support::no_leaks, "VFIO's files are known by their class, or by their name") {
  using native::vfio_file_kind;
  constexpr int no_chroot = 100;
  made_root root;
  struct row {
    const char* what;
    native::unique_fd file;
    vfio_file_kind kind;
  };
  std::vector<row> rows;
  // Nodes of any devices, with a class of the test's.
  const auto node = [&](const char* path, const char* target, vfio_file_kind kind) {
    rows.push_back({target, native::unique_fd(::open(path, O_RDWR | O_CLOEXEC)), kind});
    REQUIRE(rows.back().file);
    if (*target) root.device_class(rows.back().file.get(), target);
  };
  node("/dev/null", "../../../../class/vfio", vfio_file_kind::group);
  node("/dev/zero", "../../../../class/vfio-dev", vfio_file_kind::device);
  node("/dev/full", "../../../../class/vfio/misc", vfio_file_kind::none);
  node("/dev/random", "../../../../class/vfio-devices", vfio_file_kind::none);
  node("/dev/urandom", "", vfio_file_kind::none);
  const auto anonymous = [&](const char* name, vfio_file_kind kind) {
    rows.push_back({name, native::unique_fd(::eventfd(0, EFD_CLOEXEC)), kind});
    if (*name) root.link("proc/thread-self/fd/" + std::to_string(rows.back().file.get()), name);
  };
  anonymous("anon_inode:[vfio-device]", vfio_file_kind::device);
  anonymous("anon_inode:[vfio-devices]", vfio_file_kind::none);
  anonymous("anon_inode:[eventfd]", vfio_file_kind::none);
  anonymous("", vfio_file_kind::unknown);

  const auto answer = [&](const auto& wrong) {
    return support::in_child([&] {
      if (!root.enter()) return no_chroot;
      for (std::size_t i = 0; i < rows.size(); ++i)
        if (wrong(native::file{rows[i].file.get()}, rows[i].kind)) return static_cast<int>(i) + 1;
      return 0;
    });
  };
  const auto check = [&](int wrong) {
    INFO((wrong > 0 && wrong < no_chroot ? rows[static_cast<std::size_t>(wrong) - 1].what : ""));
    CHECK(wrong == 0);
  };
  const int kinds = answer([](const native::file& f, vfio_file_kind kind) {
    return native::vfio_kind_of(f.fd) != kind;
  });
  if (kinds == no_chroot) return support::skip("chroot(2) is not allowed", errc::perm);
  check(kinds);
  // What the device model makes of them.
  const native::vfio_symbols<> symbols{native::kvm_vfio_device_ref()};
  check(answer([&](const native::file& f, vfio_file_kind kind) {
    return symbols.file_is_valid(f) != (kind != vfio_file_kind::none);
  }));
  check(answer([&](const native::file& f, vfio_file_kind kind) {
    return symbols.file_is_group(f) !=
           (kind == vfio_file_kind::group || kind == vfio_file_kind::unknown);
  }));
  // Of a device's file the container says nothing.
  const native::one_container all{vfio::container_ref(0)};
  check(answer([&](const native::file& f, vfio_file_kind kind) {
    const auto container = all(f);
    return container ? kind == vfio_file_kind::device || container->fd() != 0
                     : kind != vfio_file_kind::device || container.error() != errc::noent;
  }));
}

TEST_CASE_METHOD(support::no_leaks, "VFIO is loaded when a class of its is there") {
  constexpr int no_chroot = 100;
  for (const char* made : {"sys/class/vfio", "sys/class/vfio-dev", "sys/class/misc"}) {
    made_root root;
    root.directory(made);
    const int answer = support::in_child([&] {
      if (!root.enter()) return no_chroot;
      return native::vfio_is_loaded() ? 1 : 0;
    });
    if (answer == no_chroot) return support::skip("chroot(2) is not allowed", errc::perm);
    INFO(made);
    CHECK(answer == (std::strcmp(made, "sys/class/misc") == 0 ? 0 : 1));
  }
}

TEST_CASE_METHOD(support::no_leaks, "A file's kind is that of the calling thread's descriptor") {
  constexpr int not_possible = 101;
  const int own_table = support::in_child([] {
    int answer = not_possible;
    std::thread([&] {
      if (::unshare(CLONE_FILES) != 0) return;
      // Not open in the first thread's table.
      const native::unique_fd here(::eventfd(0, EFD_CLOEXEC));
      answer = native::vfio_kind_of(here.get()) == native::vfio_file_kind::none ? 0 : 1;
    }).join();
    return answer;
  });
  if (own_table == not_possible) return support::skip("no unshare(CLONE_FILES)", errc::perm);
  CHECK(own_table == 0);
}

TEST_CASE("Device numbers are the C library's") {
  for (const unsigned first : {0U, 1U, 10U, 255U, 256U, 4095U, 4096U, 0xabcdef01U, ~0U})
    for (const unsigned second : {0U, 1U, 196U, 255U, 256U, 1048575U, 1048576U, 0x12345678U, ~0U}) {
      const dev_t device = makedev(first, second);
      CHECK(native::detail::major_of(device) == major(device));
      CHECK(native::detail::major_of(device) == first);
      CHECK(native::detail::minor_of(device) == minor(device));
      CHECK(native::detail::minor_of(device) == second);
    }
}

TEST_CASE("Links are told apart by their last part, whole") {
  const native::detail::link_target self("/proc/self");
  CHECK(self);
  CHECK(self.ends_in(std::to_string(::getpid()).c_str()));
  CHECK_FALSE(native::detail::link_target("/"));
  native::path p;
  p << "/dev/vfio/" << 0U << ":" << 4294967295U;
  CHECK(std::string(p.get()) == "/dev/vfio/0:4294967295");
  p << std::string(100, 'x').c_str();
  CHECK(std::strlen(p.get()) == 63);
}

}  // namespace
