// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The memory of a process, from which the arguments of its calls are copied.

#include <kvm_vfio/errc.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kvm_vfio::trace {

/// Copies between the simulator and the memory of a process (copy_from_user, copy_to_user). By
/// default the process is this program itself. Then the first page and the ranges given to `forbid`
/// count as not accessible, and any other bad address crashes the program. An interposer must
/// survive bad addresses, so it overrides `read` and `write`.
class memory {
 public:
  memory() noexcept;
  memory(const memory&) = delete;
  memory& operator=(const memory&) = delete;
  virtual ~memory();

  /// Reads from the process.
  /// \param from the address in the process
  /// \param to   where the bytes go
  /// \param size the number of bytes
  /// \return false if a byte cannot be read; then the content of `to` is unspecified
  [[nodiscard]] virtual bool read(std::uint64_t from, void* to, std::size_t size) noexcept;
  /// Reads from the process for an observer. Unlike `read`, which may crash the program, this
  /// function survives every address, so that observers change nothing. By default it asks the
  /// kernel to copy from the memory of this program (process_vm_readv(2) or a pipe). A class that
  /// overrides `read` overrides this function, too.
  /// \param from the address in the process
  /// \param to   where the bytes go
  /// \param size the number of bytes
  /// \return false if a byte cannot be read; then the content of `to` is unspecified
  [[nodiscard]] virtual bool peek(std::uint64_t from, void* to, std::size_t size) noexcept;
  /// Writes to the process.
  /// \param to   the address in the process
  /// \param from the bytes
  /// \param size the number of bytes
  /// \return false if a byte cannot be written; then nothing was written
  [[nodiscard]] virtual bool write(std::uint64_t to, const void* from, std::size_t size) noexcept;

  /// Makes a range of addresses inaccessible, so that a test can provoke EFAULT.
  /// \param at       the first byte
  /// \param size     the number of bytes
  /// \param readable whether the range can still be read; it cannot be written in either case
  void forbid(const void* at, std::size_t size, bool readable = false);

  /// Sets whether memory that a call maps for DMA must exist. By default any address will do, so
  /// that a test can map memory that it does not have. With `true`, each page must be mapped in
  /// this program with the access that the DMA needs, and must not be forbidden (`forbid`).
  void check_dma(bool yes) noexcept { check_dma_ = yes; }
  /// Returns whether the kernel could pin a range for DMA. By default as `check_dma` says; an
  /// interposer whose process is another program overrides this function.
  /// \param at    the address in the process
  /// \param size  the number of bytes
  /// \param write whether devices write there
  [[nodiscard]] virtual bool pinnable(std::uint64_t at, std::uint64_t size, bool write) noexcept;

 private:
  struct range {
    std::uint64_t first;
    std::size_t size;
    bool readable;
  };
  static constexpr std::uint64_t first_page = 4096;
  // The end of the addresses that a program can have. With 64 bits the upper half belongs to the
  // kernel. A 32-bit program has 4 GiB; the kernel refuses a number that is larger than this.
  static constexpr std::uint64_t user_end = std::uint64_t{1} << (sizeof(void*) < 8 ? 32 : 63);

  [[nodiscard]] static void* pointer(std::uint64_t address) noexcept;
  [[nodiscard]] bool allowed(std::uint64_t at, std::size_t size, bool write) const noexcept;

  std::vector<range> forbidden_;
  bool check_dma_ = false;
};

/// Reads a string that ends with a zero byte, as strndup_user does.
/// \param from    the memory of the process
/// \param address the address of the string in the process
/// \param text    the string; after an error, the characters before the error
/// \par Errors
/// - `errc::fault`: a character cannot be read
/// - `errc::inval`: there is no zero byte among the first 4096 bytes
[[nodiscard]] errc read_string(memory& from, std::uint64_t address, std::string& text);

/// Reads a string for an observer, with `memory::peek`. Otherwise as `read_string`.
[[nodiscard]] errc peek_string(memory& from, std::uint64_t address, std::string& text);

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/memory.hpp>
#endif
