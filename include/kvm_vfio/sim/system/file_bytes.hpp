// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Copies bytes between a file and the memory of a process.

#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// Reads a file into the memory of a process (vfs_read). Linux reads no more than 0x7ffff000 bytes
/// at once. This function reads parts of 256 KiB, and allocates no more memory than one part.
/// \param f      the file
/// \param task   the memory of the process
/// \param to     the address of the buffer in the process
/// \param size   the number of bytes
/// \param offset the position in the file, in bytes (pread(2)). Null: the file has a position
///               (read(2)). If the buffer cannot be written, this position does not change.
/// \return the number of bytes that were read
/// \throw std::bad_alloc there is no memory; then nothing was read
/// \par Errors
/// - `errc::fault`: a byte of the buffer cannot be written
/// - each error of the file
answer read_file(file& f, trace::memory& task, std::uint64_t to, std::size_t size,
                 const std::uint64_t* offset);
/// Writes bytes from the memory of a process to a file (vfs_write). Linux writes no more than
/// 0x7ffff000 bytes at once. This function writes parts of 256 KiB, and allocates no more memory
/// than one part.
/// \param f      the file
/// \param task   the memory of the process
/// \param from   the address of the bytes in the process
/// \param size   the number of bytes
/// \param offset the position in the file, in bytes (pwrite(2)). Null: the file has a position
///               (write(2)).
/// \return the number of bytes that were written
/// \throw std::bad_alloc there is no memory; then nothing was written
/// \par Errors
/// - `errc::fault`: a byte cannot be read; then nothing was written
/// - each error of the file
answer write_file(file& f, trace::memory& task, std::uint64_t from, std::size_t size,
                  const std::uint64_t* offset);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/file_bytes.hpp>
#endif
