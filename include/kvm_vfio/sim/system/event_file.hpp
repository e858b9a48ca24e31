// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The eventfds of the simulated system.

#include <kvm_vfio/sim/system/file.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// An eventfd, which counts events. An interposer derives a class from it that signals a real
/// eventfd.
class event_file : public file {
 public:
  /// \param exact whether a write must have exactly eight bytes; false: eight or more
  explicit event_file(bool exact = true) noexcept : file(file_kind::event), exact_(exact) {}
  [[nodiscard]] const char* name() const noexcept override { return "[eventfd]"; }
  [[nodiscard]] event_file* as_event() noexcept override;
  /// Adds one to the counter, up to 2^64 - 1 (eventfd_signal). Any thread may call this function.
  virtual void signal() noexcept;
  /// Adds a consumer (the kernel's struct virqfd). While an eventfd has a consumer, each write and
  /// each signal counts in `consumed` instead of the counter, and sets the counter to 0. An irqfd
  /// comes first: while there is one, no consumer gets anything.
  void add_consumer() noexcept { __atomic_add_fetch(&consumers_, 1, __ATOMIC_ACQ_REL); }
  /// Removes a consumer, and sets the counter to 0 (virqfd_shutdown).
  void remove_consumer() noexcept {
    __atomic_sub_fetch(&consumers_, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&count_, 0, __ATOMIC_RELEASE);
  }
  /// Whether the eventfd has a consumer.
  [[nodiscard]] bool has_consumer() const noexcept {
    return __atomic_load_n(&consumers_, __ATOMIC_ACQUIRE) != 0;
  }
  /// How many writes and signals consumers have got.
  [[nodiscard]] std::uint32_t consumed() const noexcept {
    return __atomic_load_n(&consumed_, __ATOMIC_ACQUIRE);
  }
  /// The counter, which stays as it is.
  [[nodiscard]] std::uint64_t count() const noexcept {
    return __atomic_load_n(&count_, __ATOMIC_ACQUIRE);
  }
  /// Reads the counter as eight bytes and sets it to 0. The offset has no meaning.
  /// \return 8
  /// \par Errors
  /// - `errc::again`: the counter is 0
  /// - `errc::inval`: the buffer has less than eight bytes
  answer pread(void* to, std::size_t size, std::uint64_t) override;
  /// Reads the counter as eight bytes and sets it to 0 (eventfd_read with EFD_NONBLOCK).
  /// \return 8
  /// \par Errors
  /// - `errc::again`: the counter is 0
  /// - `errc::inval`: the buffer has less than eight bytes
  answer read(void* to, std::size_t size) override;
  /// Adds the number that stands in the first eight bytes to the counter (eventfd_write with
  /// EFD_NONBLOCK).
  /// \return 8
  /// \par Errors
  /// - `errc::again`: the counter would become larger than 2^64 - 2
  /// - `errc::inval`: the eventfd does not take so many bytes, or the number is 2^64 - 1
  answer write(const void* from, std::size_t size) override;
  /// Whether the eventfd takes a write of so many bytes.
  [[nodiscard]] bool takes(std::size_t size) const noexcept {
    return exact_ ? size == sizeof count_ : size >= sizeof count_;
  }

  /// Counts one more irqfd of this eventfd. Atomic.
  /// \param only whether the eventfd may have no other irqfd
  /// \return false: the eventfd has an irqfd, and `only` is true; nothing was counted
  bool add_irqfd(bool only) noexcept;
  /// Counts one irqfd less, and sets the counter to 0 (irqfd_shutdown). Atomic.
  void remove_irqfd() noexcept {
    __atomic_sub_fetch(&irqfds_, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&count_, 0, __ATOMIC_RELEASE);
  }

 private:
  // Gives what was just counted to the consumers, if there are any.
  void consume() noexcept;

  std::uint64_t count_ = 0;
  int irqfds_ = 0;
  std::uint32_t consumers_ = 0;
  std::uint32_t consumed_ = 0;
  bool exact_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/event_file.hpp>
#endif
