// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a device and the guards on it share.

#include <kvm_vfio/client/ask_coherency.hpp>
#include <kvm_vfio/client/coherency_forecast.hpp>
#include <kvm_vfio/client/dma_space.hpp>
#include <kvm_vfio/client/shared.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <cstdint>
#include <new>

namespace kvm_vfio::client::detail {

template <system System>
class group_state;

/// An open device file, from a group or a file of its own. The destructor undoes what was done, the
/// last step first: the interrupts, the address space, FILE_DEL, close, and then the group.
template <system System>
class device_state : public counted {
 public:
  using group_ref = shared<group_state<System>>;

  explicit device_state(native::vfio::basic_device<System>&& file, group_ref group = {}) noexcept
      : group_(static_cast<group_ref&&>(group)),
        file_(static_cast<native::vfio::basic_device<System>&&>(file)) {}
  // Makes the state of a device that the group handed out. The group has memory for the state of
  // one device, and other states are allocated. Null: no memory.
  [[nodiscard]] static device_state* make(native::vfio::basic_device<System>&& file,
                                          const group_ref& group) noexcept {
    if (void* const memory = group->memory_of_device().take())
      return new (memory)
          device_state(static_cast<native::vfio::basic_device<System>&&>(file), group);
    return new (std::nothrow)
        device_state(static_cast<native::vfio::basic_device<System>&&>(file), group);
  }
  // What `delete` calls instead of the destructor. The group may have the memory of the state, so
  // the group is kept until the state is destroyed.
  static void operator delete(device_state* gone, std::destroying_delete_t) noexcept {
    const group_ref group = static_cast<group_ref&&>(gone->group_);
    if (!group || !group->memory_of_device().has(gone)) return ::delete gone;
    gone->~device_state();
    group->memory_of_device().give_back();
  }
  ~device_state() {
    if (file_) (void)undo();  // no file: undone or released already
  }

  [[nodiscard]] const native::vfio::basic_device<System>& file() const noexcept { return file_; }
  [[nodiscard]] const group_ref& group() const noexcept { return group_; }

  // The steps were done already. `space` and `vm` may be empty. Nobody knows which of the `irqs`
  // interrupt indexes are armed. So all of them are disarmed at the end.
  void adopt(shared<dma_space_state<System>> space, bool in_space,
             shared<vm_files_state<System>> vm, std::uint32_t irqs) noexcept {
    space_ = static_cast<shared<dma_space_state<System>>&&>(space);
    in_space_ = in_space;
    vm_.adopt(static_cast<shared<vm_files_state<System>>&&>(vm), file_.fd());
    armed_ = irqs < 32 ? (std::uint32_t{1} << irqs) - 1 : ~std::uint32_t{0};
  }
  [[nodiscard]] errc attach(const shared<vm_files_state<System>>& vm) noexcept {
    return vm_.attach(vm, file_.fd());
  }
  // \param token none, or the `vf_token` of the device
  template <class... Token>
  [[nodiscard]] result<std::uint32_t> bind(const shared<dma_space_state<System>>& space,
                                           const Token&... token) noexcept {
    const auto id = vm_.open_device([this, &space, &token...]() noexcept {
      return file_.bind_iommufd(space->iommufd().borrow(), token...);
    });
    // A binding ends with the file. So the iommufd stays open until then.
    if (id) space_ = space;
    return id;
  }
  // \pre the device is bound
  [[nodiscard]] result<coherency_forecast> forecast(std::uint32_t id) const noexcept {
    return forecast_device<System>(space_->iommufd(), id);
  }
  [[nodiscard]] errc attach_to_space() noexcept {
    const errc e = file_.attach_iommufd_pt(space_->ioas());
    in_space_ = e == errc::ok;
    return e;
  }
  // The interrupts of an index were armed, or disarmed.
  void armed(std::uint32_t index, bool now) noexcept {
    const std::uint32_t bit = index < 32 ? std::uint32_t{1} << index : 0;
    if (now) __atomic_fetch_or(&armed_, bit, __ATOMIC_RELAXED);
    else __atomic_fetch_and(&armed_, ~bit, __ATOMIC_RELAXED);
  }
  // Undoes every step, even if one of them fails. Returns the first error.
  errc undo() noexcept {
    errc first = errc::ok;
    const auto keep = [&first](errc e) noexcept {
      if (first == errc::ok) first = e;
    };
    for (std::uint32_t index = 0; armed_ && index < 32; ++index)
      if (armed_ >> index & 1) {
        const errc e = file_.disarm(index);
        // EINVAL, ENOTTY: they are not armed, or the device does not have them.
        if (e != errc::inval && e != errc::notty) keep(e);
      }
    armed_ = 0;
    if (in_space_) keep(file_.detach_iommufd_pt());
    in_space_ = false;
    keep(vm_.detach());
    file_ = {};
    space_ = {};
    if (group_ && group_.sole()) keep(group_->undo());  // the destructor would report no error
    return first;
  }
  // The caller undoes the steps itself.
  [[nodiscard]] native::vfio::basic_device_ref<System> release() noexcept {
    armed_ = 0;
    in_space_ = false;
    vm_.forget();
    return file_.release();
  }

 private:
  group_ref group_;
  shared<dma_space_state<System>> space_;
  tracking<System> vm_;
  native::vfio::basic_device<System> file_;
  std::uint32_t armed_ = 0;
  bool in_space_ = false;
};

}  // namespace kvm_vfio::client::detail
