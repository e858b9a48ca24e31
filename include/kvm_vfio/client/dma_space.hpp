// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a container and an address space of an iommufd have in common: the DMA mappings that all
/// devices in it share.

#include <kvm_vfio/client/ask_coherency.hpp>
#include <kvm_vfio/client/coherency_forecast.hpp>
#include <kvm_vfio/client/shared.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/native/mutex.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <new>

namespace kvm_vfio::client {

using native::vfio::dma_mapping;

namespace detail {

/// One DMA mapping, as an element of the list of all mappings of a space.
struct mapped {
  dma_mapping what;
  mapped* next = nullptr;
  bool in_effect = false;  // the kernel has the mapping
};

/// The state that a container or an address space shares with its devices and its mappings.
template <system System>
class dma_space_state : public counted {
 public:
  /// A container.
  explicit dma_space_state(native::vfio::basic_container<System> file) noexcept
      : container_(static_cast<native::vfio::basic_container<System>&&>(file)) {}
  /// An address space, of which this object is the only owner.
  dma_space_state(native::vfio::basic_iommufd<System> file, native::vfio::ioas_id id) noexcept
      : iommufd_(static_cast<native::vfio::basic_iommufd<System>&&>(file)), ioas_(id) {}
  ~dma_space_state() {
    if (iommufd_) (void)iommufd_.destroy(ioas_);
  }

  [[nodiscard]] const native::vfio::basic_container<System>& container() const noexcept {
    return container_;
  }
  [[nodiscard]] const native::vfio::basic_iommufd<System>& iommufd() const noexcept {
    return iommufd_;
  }
  [[nodiscard]] native::vfio::ioas_id ioas() const noexcept { return ioas_; }
  [[nodiscard]] int groups() noexcept {
    const guard held(mutex_);
    return groups_;
  }
  [[nodiscard]] bool has_iommu() noexcept {
    const guard held(mutex_);
    return works();
  }

  // The container has this IOMMU driver already.
  void adopt_iommu(unsigned long type) noexcept {
    const guard held(mutex_);
    iommu_ = true;
    type_ = type;
  }
  // Whether the container has an IOMMU driver, also if only a group has it that was given away.
  // Such a container is asked.
  [[nodiscard]] bool still_has_iommu() noexcept {
    const guard held(mutex_);
    if (!works() && away_ > 0 && !released_ && container_.iommu_info(nullptr, 0)) iommu_ = true;
    return works();
  }
  // The group is in the container already.
  void adopt_group() noexcept {
    (void)still_has_iommu();
    const guard held(mutex_);
    ++groups_;
    if (away_ > 0) --away_;
  }
  // Predicts for a group in this container. No group joins or leaves meanwhile.
  [[nodiscard]] result<coherency_forecast> forecast() noexcept {
    const guard held(mutex_);
    if (released_) return errc::badf;
    return forecast_group<System>(container_, groups_ == 1 && away_ == 0);
  }

  [[nodiscard]] errc join(const native::vfio::basic_group<System>& group) noexcept {
    const guard held(mutex_);
    const errc e = group.set_container(container_);
    if (e == errc::ok) ++groups_;
    return e;
  }
  // When the last group leaves, the container loses its IOMMU driver and every mapping.
  errc leave(const native::vfio::basic_group<System>& group) noexcept {
    const guard held(mutex_);
    const errc e = group.unset_container();
    if (e == errc::busy) ++away_;
    one_less();  // also after an error: the kernel takes the group out when its file is released
    return e;
  }
  // The caller takes the group out of the container, or leaves it there.
  void forget_group() noexcept {
    const guard held(mutex_);
    ++away_;
    one_less();
  }
  // Also puts the mappings into effect that the container did not have yet.
  [[nodiscard]] errc set_iommu(unsigned long type) noexcept {
    const guard held(mutex_);
    if (released_ && !iommu_) return errc::badf;
    if (!iommu_) {
      const errc e = container_.set_iommu(type);
      if (e == errc::ok) {
        lose_driver();  // what the driver before this one had
        type_ = type;
      } else if (away_ == 0 || e != errc::inval) {
        return e;
      }
      iommu_ = true;  // inval: the group that is left keeps the driver and the mappings
    }
    if (type != type_) return errc::busy;
    if (released_) return errc::ok;
    for (mapped* m = first_; m; m = m->next)
      if (!m->in_effect) {
        const errc e = map_now(m->what);
        if (e != errc::ok) return e;
        m->in_effect = true;
      }
    return errc::ok;
  }

  // `adopted`: the kernel has the mapping already.
  [[nodiscard]] result<mapped*> map(const dma_mapping& what, bool adopted = false) noexcept {
    const guard held(mutex_);
    if (adopted && !works()) return errc::inval;
    auto* const made = new (std::nothrow) mapped{what, nullptr, adopted};
    if (!made) return errc::nomem;
    if (works() && !adopted) {
      if (const errc e = map_now(what); e != errc::ok) {
        delete made;
        return e;
      }
      made->in_effect = true;
    }
    mapped** last = &first_;
    while (*last) last = &(*last)->next;
    *last = made;
    return made;
  }
  // The first mapping that the driver does not have: `set_iommu` stops at the one that fails.
  [[nodiscard]] result<dma_mapping> refused() noexcept {
    const guard held(mutex_);
    for (const mapped* m = first_; m && works(); m = m->next)
      if (!m->in_effect) return m->what;
    return errc::noent;
  }
  [[nodiscard]] errc unmap(mapped* which) noexcept {
    const guard held(mutex_);
    if (which->in_effect && !released_) {
      const auto bytes = iommufd_ ? iommufd_.unmap(ioas_, which->what.iova, which->what.size)
                                  : container_.unmap(which->what.iova, which->what.size);
      if (!bytes && (iommu_ || away_ == 0)) return bytes.error();
    }
    forget(which);
    return errc::ok;
  }
  void drop(mapped* which) noexcept {
    const guard held(mutex_);
    forget(which);
  }
  // \pre no other object refers to this state
  [[nodiscard]] errc close() noexcept {
    if (iommufd_)
      if (const errc e = iommufd_.destroy(ioas_); e != errc::ok) return e;
    iommufd_ = {};
    container_ = {};
    return errc::ok;
  }
  // The caller owns the descriptor: no mapping is removed any more, and no IOAS destroyed.
  void release() noexcept {
    const guard held(mutex_);
    released_ = true;
    (void)iommufd_.release();
    (void)container_.release();
  }

 private:
  void one_less() noexcept {
    if (--groups_ > 0) return;
    iommu_ = false;
    if (away_ == 0) lose_driver();
  }
  void lose_driver() noexcept {
    away_ = 0;
    for (mapped* m = first_; m; m = m->next) m->in_effect = false;
  }
  [[nodiscard]] bool works() const noexcept { return iommufd_ || iommu_; }
  [[nodiscard]] errc map_now(const dma_mapping& m) noexcept {
    return iommufd_ ? iommufd_.map(ioas_, m) : container_.map(m);
  }
  void forget(mapped* which) noexcept {
    mapped** link = &first_;
    while (*link != which) link = &(*link)->next;
    *link = which->next;
    delete which;
  }

  native::mutex mutex_;  // guards everything below, and the order of the calls
  native::vfio::basic_container<System> container_;
  native::vfio::basic_iommufd<System> iommufd_;
  native::vfio::ioas_id ioas_{};
  int groups_ = 0;
  unsigned long type_ = 0;  // the IOMMU driver, if `iommu_`
  bool iommu_ = false;
  bool released_ = false;
  // The number of groups that may still be in the container: a group could not leave, because a
  // descriptor of one of its devices is open elsewhere, or a group was released to the caller. So
  // the container may still have its driver and its mappings.
  int away_ = 0;
  mapped* first_ = nullptr;
};

}  // namespace detail

/// A DMA mapping that is removed in the destructor. Keeps its container or address space open until
/// then, or until `unmap` or `release`. Move-only.
template <system System = native::host>
class mapping {
 public:
  mapping() = default;
  /// Takes over the mapping of `other`, which then has none.
  mapping(mapping&& other) noexcept
      : space_(static_cast<space_ref&&>(other.space_)), entry_(other.entry_) {
    other.entry_ = nullptr;
  }
  /// Removes the own mapping and takes over the one of `other`.
  mapping& operator=(mapping&& other) noexcept {
    if (this != &other) {
      reset();
      space_ = static_cast<space_ref&&>(other.space_);
      entry_ = other.entry_;
      other.entry_ = nullptr;
    }
    return *this;
  }
  ~mapping() { reset(); }

  /// Removes the mapping. If this object has none, does nothing and returns ok. After an error this
  /// object still has the mapping. If the descriptor of the container or of the address space was
  /// released, only forgets the mapping.
  /// \par Errors
  /// - each error of VFIO_IOMMU_UNMAP_DMA or IOMMU_IOAS_UNMAP
  [[nodiscard]] errc unmap() noexcept {
    if (!entry_) return errc::ok;
    if (const errc e = space_->unmap(entry_); e != errc::ok) return e;
    forget();
    return errc::ok;
  }
  /// Forgets the mapping without removing it from the kernel. The kernel removes the mapping when
  /// the last group leaves the container, or the address space is destroyed. A container that gets
  /// an IOMMU driver again does not map the memory again.
  void release() noexcept {
    if (entry_) space_->drop(entry_);
    forget();
  }
  /// Returns what is mapped. \pre this object has a mapping
  [[nodiscard]] const dma_mapping& what() const noexcept { return entry_->what; }
  /// Returns true if this object has a mapping.
  [[nodiscard]] explicit operator bool() const noexcept { return entry_ != nullptr; }

 private:
  using space_ref = detail::shared<detail::dma_space_state<System>>;
  template <system>
  friend class dma_space;
  mapping(space_ref space, detail::mapped* entry) noexcept
      : space_(static_cast<space_ref&&>(space)), entry_(entry) {}
  void reset() noexcept {
    if (unmap() != errc::ok) release();
  }
  void forget() noexcept {
    entry_ = nullptr;
    space_ = {};
  }

  space_ref space_;
  detail::mapped* entry_ = nullptr;
};

/// A container or an address space, as what the memory of the VM is mapped in. The two classes
/// `container` and `address_space` are derived from this one, so that a VMM maps its memory in one
/// way for both. Any thread may map and unmap; the object has a lock and holds it during the
/// ioctls.
template <system System = native::host>
class dma_space {
 public:
  /// Maps memory for the DMA of every device in this space, now and later. If the space is a
  /// container without an IOMMU driver, the mapping is kept, and comes into effect each time the
  /// container gets a driver (`group_in_container::set_iommu`). Allocates one small object.
  /// \param what the memory and its IOVA
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - `errc::nomem`: no memory, or more locked memory than RLIMIT_MEMLOCK allows
  /// - each other error of VFIO_IOMMU_MAP_DMA or IOMMU_IOAS_MAP
  [[nodiscard]] result<mapping<System>> map(const dma_mapping& what) const noexcept {
    if (!state_) return errc::badf;
    const auto entry = state_->map(what);
    if (!entry) return entry.error();
    return mapping<System>(state_, *entry);
  }
  /// Takes over a mapping that the kernel has already, for example one that was made before
  /// execve(2). Makes no call. Allocates one small object.
  /// \param what the range; only the address and the size must be those of the mapping. If the
  ///             container gets an IOMMU driver again, the memory that `what` names is mapped.
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - `errc::inval`: the container has no IOMMU driver, so it has no mapping
  /// - `errc::nomem`: no memory
  [[nodiscard]] result<mapping<System>> adopt_mapping(const dma_mapping& what) const noexcept {
    if (!state_) return errc::badf;
    const auto entry = state_->map(what, true);
    if (!entry) return entry.error();
    return mapping<System>(state_, *entry);
  }
  /// Closes the container, or destroys the IOAS and closes the iommufd. The destructor does the
  /// same as soon as no device and no mapping needs the space any more, and reports no error. If
  /// this object is empty, returns ok.
  /// \par Errors
  /// - `errc::busy`: a group, a device or a mapping needs this space. An iommufd also counts the
  ///   devices of other programs. A container does not: a group that another program put into the
  ///   container stays in it.
  /// - each other error of IOMMU_DESTROY. After an error nothing was changed.
  [[nodiscard]] errc close() noexcept {
    if (!state_) return errc::ok;
    if (!state_.sole()) return errc::busy;
    if (const errc e = state_->close(); e != errc::ok) return e;
    state_ = {};
    return errc::ok;
  }
  /// Returns true if this object is not empty.
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(state_); }

 protected:
  /// The state that devices and mappings share with this object.
  using state = detail::dma_space_state<System>;
  /// A reference on that state.
  using state_ref = detail::shared<state>;

  dma_space() = default;
  /// Makes a space of a new state, or an empty one.
  explicit dma_space(state_ref made) noexcept : state_(static_cast<state_ref&&>(made)) {}
  /// Takes over what `other` has. `other` is empty afterwards.
  dma_space(dma_space&& other) noexcept = default;
  /// Gives up what this object has and takes over what `other` has. `other` is empty afterwards.
  dma_space& operator=(dma_space&& other) noexcept = default;
  ~dma_space() = default;

  /// The shared state. Empty: none.
  state_ref state_;
};

}  // namespace kvm_vfio::client
