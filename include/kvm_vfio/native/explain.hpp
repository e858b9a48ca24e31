// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Texts that explain the error of a call. Each text also says what to do about the error. The
/// functions allocate nothing.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/explanations.hpp>  // IWYU pragma: export

#include <cstddef>

namespace kvm_vfio::native {

namespace detail {

// Explains an error that has no text for its particular operation. The switch has no default, so
// that the compiler warns of a new error without a sentence.
constexpr const char* explain(errc why) noexcept {
  switch (why) {
    case errc::ok: return "success";
    case errc::badf: return "the descriptor is not open, or it was opened with O_PATH";
    case errc::fault: return "an address in the call cannot be read or written";
    case errc::io: return "the device does not respond, or the VM is dead";
    case errc::nodev: return "no such device, or its driver is not loaded";
    case errc::nxio: return "no such attribute, or no device behind the file";
    case errc::busy: return "this process or another one already uses it";
    case errc::nospc: return "a limit on the number of entries is reached";
    case errc::perm:
      return "not permitted: the process lacks a capability, or a cgroup or a security module "
             "forbids the call";
    case errc::access: return "no permission";
    case errc::nomem: return "there is not enough memory, or RLIMIT_MEMLOCK is reached";
    case errc::mfile: return "this process has no free descriptor: raise RLIMIT_NOFILE";
    case errc::nfile: return "the system has reached its limit of open files: raise fs.file-max";
    case errc::intr: return "a signal interrupted the call: call again";
    case errc::notdir: return "a part of the path is not a directory";
    case errc::isdir: return "the path is a directory: give the path of a device's file";
    case errc::nametoolong: return "the path is too long";
    case errc::loop: return "too many symbolic links in the path";
    case errc::rofs: return "the file system is read-only";
    case errc::nosys: return "this kernel has no such system call";
    case errc::opnotsupp:
      return "this kernel does not know one of the fields or flags that are set";
    case errc::toobig:
      return "the structure is longer than this kernel knows, and the part that it does not know "
             "is not zero";
    case errc::range: return "the range is outside the addresses that the IOMMU can translate";
    case errc::msgsize: return "the answer does not fit into the space that the caller gave";
    case errc::notty:
      return "the descriptor is another kind of file, or this kernel is too old to know the ioctl";
    case errc::noent: return "no object or file has this number or this path";
    case errc::srch: return "the device needs a VM: call FILE_ADD for its file first";
    case errc::again: return "the kernel cannot do this now: try again";
    case errc::exists: return "it exists already";
    case errc::inval:
      return "an argument is wrong, or the file is not in the state that the call needs";
    case errc::spipe: return "the file has no position: it cannot be read or written at an offset";
    case errc::proto: return "the kernel has another version of the interface than this library";
    case errc::overflow:
      return "the address plus the size is larger than the last possible address";
    case errc::badfd: return "a descriptor in the call is another kind of file than the call needs";
    case errc::addrinuse: return "a mapping lies at an address that the device cannot use";
  }
  return "this library has no explanation; the kernel's log may have one";
}

}  // namespace detail

/// Returns a text that explains the error of this call and says what to do. Never returns null.
[[nodiscard]] constexpr const char* explain(operation what, errc why) noexcept {
  for (const detail::explanation& e : detail::explanations)
    if (e.what == what && e.why == why) return e.text;
  return detail::explain(why);
}

/// Writes a message like "FILE_ADD of descriptor 7: EINVAL: the descriptor is not a VFIO file, …"
/// to a buffer. A message that is too long is cut. A null character ends it, unless `size` is 0.
/// \param buffer where the message is written; may be null if `size` is 0
/// \param size   the size of the buffer in bytes
/// \param what   the operation that failed
/// \param why    the error of the operation
/// \param fd     the descriptor to name in the message; a negative one is left out
/// \return the length of the whole message in bytes, without the null character, as snprintf
constexpr std::size_t explain(char* buffer, std::size_t size, operation what, errc why,
                              int fd = -1) noexcept {
  std::size_t length = 0;
  const auto put = [&](const char* text) {
    for (; *text; ++text, ++length)
      if (length + 1 < size) buffer[length] = *text;
  };
  const auto number = [&](int value) {
    char digits[12] = {};
    char* first = digits + sizeof digits - 1;
    auto rest = static_cast<unsigned>(value);
    do *--first = static_cast<char>('0' + rest % 10);
    while (rest /= 10);
    put(first);
  };
  put(name(what));
  if (fd >= 0) {
    put(" of descriptor ");
    number(fd);
  }
  put(": ");
  if (has_name(why)) {
    put(name(why));
  } else {
    put("error ");
    number(static_cast<int>(why));
  }
  put(": ");
  put(explain(what, why));
  if (size) buffer[length < size ? length : size - 1] = '\0';
  return length;
}

}  // namespace kvm_vfio::native
