// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A scope guard for memory that is mapped for the DMA of devices.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>

#include <concepts>
#include <cstdint>

namespace kvm_vfio::native::vfio {

/// A view of something that maps memory for DMA: a container (`basic_container_ref`) or an IOAS
/// (`basic_ioas_ref`).
template <class View>
concept dma_view =
    std::semiregular<View> && requires(const View& view, const dma_mapping& m, std::uint64_t n) {
      { view.map(m) } noexcept -> std::same_as<errc>;
      { view.unmap(n, n) } noexcept -> std::same_as<result<std::uint64_t>>;
    };

/// Removes a mapping for DMA in the destructor. It can be moved. The container's or the iommufd's
/// descriptor must stay open until then, and the memory must stay mapped in this process.
template <dma_view View>
class dma_guard {
 public:
  /// Has no mapping.
  dma_guard() noexcept = default;
  /// Removes the mapping of `size` bytes at `iova` from now on, whoever made it.
  dma_guard(const View& of, std::uint64_t iova, std::uint64_t size) noexcept
      : view_(of), iova_(iova), size_(size) {}
  /// Takes over the mapping of `other`, which then has none.
  dma_guard(dma_guard&& other) noexcept
      : view_(other.view_), iova_(other.iova_), size_(other.size_) {
    other.release();
  }
  /// Removes the own mapping and takes over the one of `other`, which then has none.
  dma_guard& operator=(dma_guard&& other) noexcept {
    if (this != &other) {
      (void)unmap();
      view_ = other.view_;
      iova_ = other.iova_;
      size_ = other.size_;
      other.release();
    }
    return *this;
  }
  ~dma_guard() { (void)unmap(); }

  /// Removes the mapping. Does nothing and returns ok if there is none. Afterwards this object has
  /// no mapping, even after an error.
  /// \par Errors
  /// - each error of `View::unmap`
  errc unmap() noexcept {
    if (size_ == 0) return errc::ok;
    const std::uint64_t size = size_;
    release();
    return view_.unmap(iova_, size).error();
  }
  /// Forgets the mapping, which stays.
  void release() noexcept { size_ = 0; }
  /// Returns true if this object has a mapping.
  [[nodiscard]] explicit operator bool() const noexcept { return size_ != 0; }
  /// Returns the first IOVA of the mapping.
  [[nodiscard]] std::uint64_t iova() const noexcept { return iova_; }
  /// Returns the size of the mapping in bytes, or 0 if there is none.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  View view_{};
  std::uint64_t iova_ = 0;
  std::uint64_t size_ = 0;
};

/// Maps memory at the IOVA that `m` names, and returns an object that removes the mapping in its
/// destructor.
/// \param in a view of a container, or of an IOAS
/// \par Errors
/// - each error of `View::map`
template <dma_view View>
[[nodiscard]] result<dma_guard<View>> map_dma(const View& in, const dma_mapping& m) noexcept {
  if (const errc e = in.map(m); e != errc::ok) return e;
  return dma_guard<View>(in, m.iova, m.size);
}
/// Maps memory in a container, and returns an object that removes the mapping in its destructor.
/// \param in the owner of the container's descriptor
/// \par Errors
/// - each error of `basic_container_ref::map`
template <dma_view Ref>
[[nodiscard]] result<dma_guard<Ref>> map_dma(const owned<Ref>& in, const dma_mapping& m) noexcept {
  return vfio::map_dma(in.borrow(), m);
}
/// Deleted for temporaries: the container would be closed before the mapping is removed.
template <dma_view Ref>
result<dma_guard<Ref>> map_dma(const owned<Ref>&& in, const dma_mapping& m) = delete;

}  // namespace kvm_vfio::native::vfio
