// SPDX-License-Identifier: BSL-1.0
// VFIO's files: what can be said of them without VFIO hardware. Where the machine has VFIO, the
// cases that expect its absence say SKIPPED.
#include "support.hpp"

#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/native/vfio_file.hpp>

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/sysmacros.h>
#include <cstdint>
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
  CHECK(vfio::group::open("/").error() == static_cast<errc>(EISDIR));
}

TEST_CASE_METHOD(support::no_leaks, "What is not a container is not opened as one") {
  CHECK(vfio::container::open("/dev/null").error() == notty);
  const errc container =
      support::without_descriptors([] { return vfio::container::open("/dev/null").error(); });
  CHECK(container == errc::mfile);
  const errc group =
      support::without_descriptors([] { return vfio::group::open("/dev/null").error(); });
  CHECK(group == errc::mfile);
}

// Each call reaches the file as an ioctl, and the file's answer comes back as it is.
TEST_CASE_METHOD(support::no_leaks, "Every call on a file of another kind is ENOTTY") {
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
  CHECK(native::vfio_kind_of(none.get()) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(event.get()) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(directory.get()) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(regular.get()) == native::vfio_file_kind::none);
  CHECK(native::vfio_kind_of(pipe.in.get()) == native::vfio_file_kind::none);
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
