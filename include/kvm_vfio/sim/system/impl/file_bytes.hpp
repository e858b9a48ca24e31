// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of file_bytes.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/file_bytes.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace kvm_vfio::sim {

namespace detail {

/// Memory for the bytes of one call. Few bytes need no allocation.
class bytes_of_call {
 public:
  /// \param size the number of bytes of the call
  /// \throw std::bad_alloc there is no memory
  explicit bytes_of_call(std::size_t size) : size_(std::min(size, most)) {
    if (size_ > sizeof small_) large_.reset(new unsigned char[size_]);
  }
  /// The bytes.
  [[nodiscard]] unsigned char* data() noexcept { return large_ ? large_.get() : small_; }
  /// The number of bytes. Linux reads and writes no more than 0x7ffff000 at once.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t most = 0x7ffff000;

  std::size_t size_;
  unsigned char small_[256];
  std::unique_ptr<unsigned char[]> large_;
};

// Whether a file that can be read and written refuses a buffer before it looks at the call, because
// the addresses belong to the kernel (access_ok).
inline bool is_of_kernel(file& f, std::uint64_t buffer, std::size_t size) noexcept {
  const bool moves_bytes = f.kind() == file_kind::device || f.as_event();
  const std::uint64_t end = buffer + size;
  return moves_bytes && (end < buffer || end >> 63 != 0);
}

}  // namespace detail

KVM_VFIO_INLINE answer read_file(file& f, trace::memory& task, std::uint64_t to, std::size_t size,
                                 const std::uint64_t* offset) {
  if (detail::is_of_kernel(f, to, size)) return errc::fault;
  detail::bytes_of_call bytes(size);
  const answer got =
      offset ? f.pread(bytes.data(), bytes.size(), *offset) : f.read(bytes.data(), bytes.size());
  if (!got) {
    const std::size_t before =
        got.error() == errc::io ? f.read_before_error(bytes.size(), offset) : 0;
    return task.write(to, bytes.data(), before) ? got : answer(errc::fault);
  }
  const auto done = static_cast<std::size_t>(*got);
  if (task.write(to, bytes.data(), done)) return got;
  if (!offset) f.move_back(done);
  return errc::fault;
}

KVM_VFIO_INLINE answer write_file(file& f, trace::memory& task, std::uint64_t from,
                                  std::size_t size, const std::uint64_t* offset) {
  if (detail::is_of_kernel(f, from, size)) return errc::fault;
  detail::bytes_of_call bytes(size);
  const auto to_file = [&](std::size_t n) {
    return offset ? f.pwrite(bytes.data(), n, *offset) : f.write(bytes.data(), n);
  };
  if (task.read(from, bytes.data(), bytes.size())) return to_file(bytes.size());
  // A file looks at the size first. An eventfd takes 8 bytes, and a device takes any number.
  const bool enough = !f.as_event() || bytes.size() >= sizeof(std::uint64_t);
  const answer none = enough && f.as_event() ? answer(0) : to_file(0);
  return none ? answer(errc::fault) : none;
}

}  // namespace kvm_vfio::sim
