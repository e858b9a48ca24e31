// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The memory of a real process, for the simulated host.

#include <kvm_vfio/trace/memory.hpp>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio_sim {

/// Copies from and to the memory of another process (process_vm_readv, process_vm_writev). A bad
/// address is an error, as it is for the kernel.
class remote_memory final : public kvm_vfio::trace::memory {
 public:
  /// \param process the number of the process
  explicit remote_memory(pid_t process) noexcept : process_(process) {}
  [[nodiscard]] bool read(std::uint64_t from, void* to, std::size_t size) noexcept override;
  [[nodiscard]] bool peek(std::uint64_t from, void* to, std::size_t size) noexcept override;
  [[nodiscard]] bool write(std::uint64_t to, const void* from, std::size_t size) noexcept override;
  /// Looks into /proc/PID/maps whether each page of a range is mapped, and can be written if
  /// `write` is set.
  [[nodiscard]] bool pinnable(std::uint64_t at, std::uint64_t size, bool write) noexcept override;

 private:
  pid_t process_;
};

}  // namespace kvm_vfio_sim
