// SPDX-License-Identifier: BSL-1.0
// Errors: their numbers, their names, and the standard library's error codes.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/error_code.hpp>
#include <kvm_vfio/testing/catch2.hpp>

#include <cerrno>
#include <iostream>
#include <limits>
#include <string_view>
#include <system_error>

#include "support/catch.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;

TEST_CASE("Errors have the kernel's numbers and names") {
  struct row {
    errc error;
    int number;
    std::string_view called;
  };
  const row rows[] = {
      {errc::ok, 0, "OK"},
      {errc::perm, EPERM, "EPERM"},
      {errc::noent, ENOENT, "ENOENT"},
      {errc::io, EIO, "EIO"},
      {errc::nxio, ENXIO, "ENXIO"},
      {errc::badf, EBADF, "EBADF"},
      {errc::nomem, ENOMEM, "ENOMEM"},
      {errc::access, EACCES, "EACCES"},
      {errc::fault, EFAULT, "EFAULT"},
      {errc::busy, EBUSY, "EBUSY"},
      {errc::exists, EEXIST, "EEXIST"},
      {errc::nodev, ENODEV, "ENODEV"},
      {errc::inval, EINVAL, "EINVAL"},
      {errc::nfile, ENFILE, "ENFILE"},
      {errc::mfile, EMFILE, "EMFILE"},
      {errc::notty, ENOTTY, "ENOTTY"},
      {errc::nospc, ENOSPC, "ENOSPC"},
      {errc::spipe, ESPIPE, "ESPIPE"},
      {errc::srch, ESRCH, "ESRCH"},
      {errc::intr, EINTR, "EINTR"},
      {errc::toobig, E2BIG, "E2BIG"},
      {errc::again, EAGAIN, "EAGAIN"},
      {errc::notdir, ENOTDIR, "ENOTDIR"},
      {errc::isdir, EISDIR, "EISDIR"},
      {errc::rofs, EROFS, "EROFS"},
      {errc::range, ERANGE, "ERANGE"},
      {errc::nametoolong, ENAMETOOLONG, "ENAMETOOLONG"},
      {errc::nosys, ENOSYS, "ENOSYS"},
      {errc::loop, ELOOP, "ELOOP"},
      {errc::proto, EPROTO, "EPROTO"},
      {errc::overflow, EOVERFLOW, "EOVERFLOW"},
      {errc::badfd, EBADFD, "EBADFD"},
      {errc::msgsize, EMSGSIZE, "EMSGSIZE"},
      {errc::opnotsupp, EOPNOTSUPP, "EOPNOTSUPP"},
      {errc::addrinuse, EADDRINUSE, "EADDRINUSE"},
  };
  for (const row& r : rows) {
    INFO(r.called);
    CHECK(static_cast<int>(r.error) == r.number);
    CHECK(name(r.error) == r.called);
    CHECK(has_name(r.error));
    CHECK(to_errc(r.number) == r.error);
    CHECK(kernel_return(r.error) == -r.number);
  }
  CHECK(name(to_errc(EDOM)) == std::string_view("an error without a name"));
  CHECK_FALSE(has_name(to_errc(EDOM)));
  if constexpr (sizeof(long) > sizeof(int)) {
    // Such a number does not fit in an int, and its low half is 0.
    constexpr int largest = std::numeric_limits<int>::max();
    CHECK(static_cast<int>(to_errc(1L << (sizeof(long) * 4))) == largest);
    CHECK(static_cast<int>(to_errc(std::numeric_limits<long>::min())) == largest);
  }
}

TEST_CASE("An errc is the system's error code") {
  const std::error_code code = errc::busy;
  CHECK(code == std::errc::device_or_resource_busy);
  CHECK(code.category() == std::system_category());
  CHECK_FALSE(code.message().empty());
  CHECK_FALSE(static_cast<bool>(std::error_code(errc::ok)));
  CHECK(to_errc(code) == errc::busy);
  CHECK(to_errc(std::make_error_code(std::errc::bad_file_descriptor)) == errc::badf);
  CHECK(to_errc(std::error_code(1, std::iostream_category())) == errc::io);
  CHECK(to_errc(std::error_code(0, std::iostream_category())) == errc::ok);
}

}  // namespace
}  // namespace tests
