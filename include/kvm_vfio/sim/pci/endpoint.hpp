// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A generic PCI function behind vfio-pci. It has regions, interrupts and a reset.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/pci/config.hpp>
#include <kvm_vfio/sim/pci/irqs.hpp>
#include <kvm_vfio/sim/pci/sparse_bytes.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace kvm_vfio::sim {

/// A part of a file that holds the memory of a device.
struct shared_memory {
  /// The descriptor of the file in this program.
  int file = -1;
  /// The offset of the first byte in the file.
  std::uint64_t offset = 0;
};

/// The state of a PCI function. The world's lock guards it.
class pci_endpoint {
 public:
  /// The region with the number n starts at the offset n << offset_shift of the device's file
  /// (VFIO_PCI_OFFSET_SHIFT).
  static constexpr unsigned offset_shift = 40;
  /// The size of the smallest BAR that can be mapped with mmap(2), in bytes.
  static constexpr std::uint64_t page = 4096;

  /// Makes a function in the state after a reset.
  /// \param spec     the description of the function
  /// \param release  the Linux release whose VFIO is simulated
  /// \param most_msi the most MSI vectors that the host gives to one function
  /// \param is_virtual whether it is a virtual function (SR-IOV)
  explicit pci_endpoint(const pci_spec& spec,
                        const linux_release& release = release_of<linux_7_3>(),
                        std::uint32_t most_msi = 32, bool is_virtual = false);

  /// The interrupts of the function.
  pci_irqs irqs;
  /// The configuration space of the function.
  [[nodiscard]] const pci_config& config() const noexcept { return config_; }
  /// How often VFIO_DEVICE_RESET or VFIO_DEVICE_PCI_HOT_RESET reset the function.
  [[nodiscard]] int resets() const noexcept { return resets_; }
  /// Resets the function with its bus. The kernel saves and restores the configuration space.
  void hot_reset() noexcept {
    ++resets_;
    config_.reset_function();
  }
  /// Linux resets the bus after the last close of a function on the bus. This reset is not counted.
  /// It clears the number of enabled MSI vectors, which the next process finds.
  void reset_after_close() noexcept {
    config_.reset_function();
    config_.reset();
  }
  /// The size of a region in bytes. 0: the function does not have the region.
  [[nodiscard]] std::uint64_t size(std::uint32_t index) const noexcept;
  /// Whether a region can be mapped with mmap(2). Memory BARs of at least one page can, and those
  /// that `allow_small` found.
  [[nodiscard]] bool mappable(std::uint32_t index) const noexcept;
  /// Whether a region is a BAR of I/O ports.
  [[nodiscard]] bool is_io(std::uint32_t index) const noexcept;
  /// Lets memory BARs of less than a page be mapped, each whose address is known (not 0), is a
  /// multiple of `page`, and has no other BAR in its page (vfio_pci_probe_mmaps).
  /// \param in_page how many memory BARs of less than a page start in a page, for each number of a
  ///                page (the address divided by `page`)
  void allow_small(const std::map<std::uint64_t, int>& in_page);
  /// The memory behind a BAR. \pre index < PCI_STD_NUM_BARS
  [[nodiscard]] sparse_bytes& bar(std::uint32_t index) noexcept { return bars_[index]; }

  /// Answers an ioctl of the device (vfio_pci_core_ioctl).
  /// \par Errors
  /// - `errc::notty`: the request is unknown, or SET_IRQS has no such action for the interrupt
  /// - `errc::fault`: the struct cannot be read or written
  /// - `errc::inval`: argsz is too small; there is no such region or interrupt; DEVICE_RESET: the
  ///   function cannot be reset
  /// - further errors: those of `pci_irqs::set`
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument);
  /// Reads from the device's file (pread). A ROM and the MSI-X table read as ones.
  /// \param to     where the bytes go
  /// \param size   the number of bytes
  /// \param offset the offset in the device's file, in bytes
  /// \return the number of bytes that were read: not more than there are up to the end of the
  ///   region
  /// \par Errors
  /// - `errc::fault`: the range reaches over the end of the configuration space
  /// - `errc::inval`: there is no such region, or the offset is behind its end
  /// - `errc::io`: the command register disables memory access, and the region is memory
  answer read(void* to, std::size_t size, std::uint64_t offset) const;
  /// Returns how many bytes a `read` that fails with `errc::io` writes before the error: the part
  /// of the MSI-X table at the start of the range.
  [[nodiscard]] std::size_t read_before_error(std::size_t size, std::uint64_t offset) const;
  /// Writes to the device's file (pwrite). Writes to the MSI-X table have no effect.
  /// \param from   the bytes
  /// \param size   the number of bytes
  /// \param offset the offset in the device's file, in bytes
  /// \return the number of bytes that were written: not more than there are up to the end of the
  ///         region
  /// \par Errors
  /// - `errc::fault`: the range reaches over the end of the configuration space
  /// - `errc::inval`: there is no such region, the offset is behind its end, or the region is the
  /// ROM
  /// - `errc::io`: the command register disables memory access, and the region is memory
  answer write(const void* from, std::size_t size, std::uint64_t offset);
  /// Maps a part of a BAR (vfio_pci_core_mmap). The bytes at the address are the memory behind the
  /// BAR, as the device has it: `read` and `write` see each change, but there the MSI-X table is
  /// the memory of the device, and not ones. The address stays valid while memory access is
  /// disabled (a real access would raise SIGBUS), and both reading and writing are possible
  /// whatever the protection is. Every mapping of a part has the same address.
  /// \param size   the number of bytes, a multiple of `page`
  /// \param offset the offset in the device's file, in bytes, a multiple of `page`
  /// \par Errors
  /// - `errc::inval`: the region is no BAR that can be mapped, or the part ends behind the last
  ///   page of the BAR
  /// - `errc::nomem`: this program has no range of addresses for the whole BAR
  [[nodiscard]] result<void*> map(std::uint64_t size, std::uint64_t offset) noexcept;
  /// Finds the memory of a part of a BAR as a part of a file, which another process can map. The
  /// function has one such file without a name (memfd_create). Each BAR that was shared is in the
  /// file at the offset that the BAR has in the device's file. Otherwise as `map`.
  /// \return the file's descriptor in this program, and the offset of the part in the file. The
  ///         descriptor belongs to the function, and exists as long as the function.
  /// \par Errors
  /// - each error of `map`; `errc::nomem` also if `map` was called before, or if there is no
  ///   descriptor
  [[nodiscard]] result<shared_memory> share(std::uint64_t size, std::uint64_t offset) noexcept;
  /// The last close of the device: disconnects all interrupts and resets the configuration space.
  void close() noexcept;

 private:
  struct span {
    errc error = errc::ok;
    std::uint32_t index = 0;
    std::uint64_t at = 0;
    std::size_t size = 0;
  };

  answer get_info(process& task, std::uint64_t argument) const;
  answer get_region_info(process& task, std::uint64_t argument) const;
  answer get_irq_info(process& task, std::uint64_t argument) const;

  // The part of a BAR that can be mapped at an offset of the device's file. `size` is the size of
  // the whole BAR in full pages.
  struct mappable_part {
    std::uint32_t region = 0;
    std::uint64_t at = 0;
    std::uint64_t size = 0;
  };
  [[nodiscard]] result<mappable_part> find_mappable(std::uint64_t size,
                                                    std::uint64_t offset) const noexcept;

  [[nodiscard]] bool has_table(std::uint32_t index) const noexcept;
  [[nodiscard]] span find(std::uint64_t offset, std::size_t count) const noexcept;
  // The part of a range in a BAR that is in the MSI-X table. VFIO keeps the table for itself: a
  // process reads ones from it, and writes have no effect.
  [[nodiscard]] span table_in(const span& s) const noexcept;
  // Sets the enable bits in the configuration space as the armed interrupts say.
  void follow_irqs() noexcept;

  pci_spec spec_;
  linux_release release_;
  pci_config config_;
  // Owns the descriptor of the file that has the memory of all shared BARs.
  struct memory_file {
    memory_file() = default;
    memory_file(memory_file&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
    memory_file& operator=(memory_file&& other) noexcept {
      std::swap(fd, other.fd);
      return *this;
    }
    ~memory_file();
    int fd = -1;
  };

  memory_file memory_;
  sparse_bytes bars_[PCI_STD_NUM_BARS];
  int resets_ = 0;
  unsigned small_ = 0;  // one bit for each BAR of less than a page that can be mapped
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/pci/impl/endpoint.hpp>
#endif
