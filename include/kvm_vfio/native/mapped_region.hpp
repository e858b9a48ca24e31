// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Owns a mapping of a part of a device's region.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/system.hpp>

#include <cstddef>

namespace kvm_vfio::native::vfio {

/// Owns memory of a device that is mapped in this process, and unmaps this memory in the
/// destructor. The mapping stays valid after the device's descriptor is closed. By default, and
/// after it was moved from, it owns none.
/// \tparam System the system in which the memory is mapped
template <system System>
class mapped_region {
 public:
  mapped_region() noexcept = default;
  /// Owns from now on what `on.mmap` mapped.
  /// \param data the first byte
  /// \param size the size in bytes
  mapped_region(void* data, std::size_t size, const System& on = System()) noexcept
      : data_(data), size_(size), system_(on) {}
  /// Takes over the mapping of `other`, which then owns none.
  mapped_region(mapped_region&& other) noexcept
      : data_(other.data_), size_(other.size_), system_(other.system_) {
    (void)other.release();
  }
  /// Removes the own mapping and takes over the one of `other`, which then owns none.
  mapped_region& operator=(mapped_region&& other) noexcept {
    if (this != &other) {
      (void)unmap();
      data_ = other.data_;
      size_ = other.size_;
      system_ = other.system_;
      (void)other.release();
    }
    return *this;
  }
  ~mapped_region() { (void)unmap(); }

  /// Returns the first byte of the mapping, or null if there is none.
  [[nodiscard]] void* data() const noexcept { return data_; }
  /// Returns the size of the mapping in bytes.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Returns true if this object owns a mapping.
  [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }
  /// Gives the mapping to the caller, who must unmap it.
  /// \return the first byte of the mapping, or null if there was none
  [[nodiscard]] void* release() noexcept {
    void* const data = data_;
    data_ = nullptr;
    size_ = 0;
    return data;
  }
  /// Removes the mapping. Does nothing and returns ok if there is none. Afterwards this object owns
  /// none, even after an error.
  /// \par Errors
  /// - each error of munmap(2)
  errc unmap() noexcept {
    if (data_ == nullptr) return errc::ok;
    const std::size_t size = size_;
    return system_.munmap(release(), size);
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
  [[no_unique_address]] System system_{};
};

}  // namespace kvm_vfio::native::vfio
