// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of file_bytes.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/file_bytes.hpp>
#include <kvm_vfio/sim/system/user_addresses.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace kvm_vfio::sim {

namespace detail {

/// Memory for a part of the bytes of one call. Few bytes need no allocation.
class bytes_of_call {
 public:
  /// \param size the number of bytes of the call
  /// \throw std::bad_alloc there is no memory
  explicit bytes_of_call(std::size_t size)
      : size_(std::min(size, most)), part_(std::min(size_, largest_part)) {
    if (part_ > sizeof small_) large_.reset(new unsigned char[part_]);
  }
  /// The bytes of a part.
  [[nodiscard]] unsigned char* data() noexcept { return large_ ? large_.get() : small_; }
  /// The number of bytes of the call. Linux reads and writes no more than 0x7ffff000 at once.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// The number of bytes of the part that begins behind `done` bytes.
  [[nodiscard]] std::size_t part(std::size_t done) const noexcept {
    return std::min(part_, size_ - done);
  }

 private:
  static constexpr std::size_t most = 0x7ffff000;
  // The configuration space of a device fits into a part, so only a BAR has several.
  static constexpr std::size_t largest_part = std::size_t{1} << 18;

  std::size_t size_;
  std::size_t part_;
  unsigned char small_[256];
  std::unique_ptr<unsigned char[]> large_;
};

/// Whether an answer to a further part says that the parts before it reached the end of the region.
inline bool is_behind_end(const answer& a, std::size_t done) noexcept {
  return done != 0 && !a && a.error() == errc::inval;
}

// Whether a file that can be read and written refuses a buffer before it looks at the call, because
// the addresses belong to the kernel (access_ok).
inline bool is_of_kernel(file& f, std::uint64_t buffer, std::size_t size) noexcept {
  const bool moves_bytes = f.kind() == file_kind::device || f.as_event();
  const std::uint64_t end = buffer + size;
  return moves_bytes && (end < buffer || end > end_of_user);
}

}  // namespace detail

KVM_VFIO_INLINE answer read_file(file& f, trace::memory& task, std::uint64_t to, std::size_t size,
                                 const std::uint64_t* offset) {
  if (detail::is_of_kernel(f, to, size)) return errc::fault;
  detail::bytes_of_call bytes(size);
  std::size_t done = 0;
  // A call that fails leaves the position of the file where it was.
  const auto fail = [&](errc error, std::size_t moved) {
    if (!offset && moved != 0) f.move_back(moved);
    return answer(error);
  };
  do {
    const std::size_t part = bytes.part(done);
    const std::uint64_t at = offset ? *offset + done : 0;
    const answer got = offset ? f.pread(bytes.data(), part, at) : f.read(bytes.data(), part);
    if (detail::is_behind_end(got, done)) break;
    if (!got) {
      const std::size_t before =
          got.error() == errc::io ? f.read_before_error(part, offset ? &at : nullptr) : 0;
      const bool good = task.write(to + done, bytes.data(), before);
      return fail(good ? got.error() : errc::fault, done);
    }
    const auto n = static_cast<std::size_t>(*got);
    if (!task.write(to + done, bytes.data(), n)) return fail(errc::fault, done + n);
    done += n;
    if (n < part) break;
  } while (done < bytes.size());
  return static_cast<std::int64_t>(done);
}

KVM_VFIO_INLINE answer write_file(file& f, trace::memory& task, std::uint64_t from,
                                  std::size_t size, const std::uint64_t* offset) {
  if (detail::is_of_kernel(f, from, size)) return errc::fault;
  detail::bytes_of_call bytes(size);
  const auto to_file = [&](std::size_t n, std::size_t done) {
    return offset ? f.pwrite(bytes.data(), n, *offset + done) : f.write(bytes.data(), n);
  };
  const auto is_readable = [&] {
    for (std::size_t done = 0; done < bytes.size(); done += bytes.part(done))
      if (!task.read(from + done, bytes.data(), bytes.part(done))) return false;
    return true;
  };
  if (!is_readable()) {
    // A file looks at the size first. A device takes any number of bytes.
    const bool taken = f.as_event() && f.as_event()->takes(bytes.size());
    const answer none = taken ? answer(0) : to_file(0, 0);
    return none ? answer(errc::fault) : none;
  }
  std::size_t done = 0;
  do {
    const std::size_t part = bytes.part(done);
    // The bytes of a single part are here already.
    if (bytes.size() != part && !task.read(from + done, bytes.data(), part)) return errc::fault;
    const answer put = to_file(part, done);
    if (detail::is_behind_end(put, done)) break;
    if (!put) return put;
    done += static_cast<std::size_t>(*put);
    if (static_cast<std::size_t>(*put) < part) break;
  } while (done < bytes.size());
  return static_cast<std::int64_t>(done);
}

}  // namespace kvm_vfio::sim
