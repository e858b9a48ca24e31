// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the steps of a group and the devices of the group share.

#include <kvm_vfio/client/device_state.hpp>
#include <kvm_vfio/client/dma_space.hpp>
#include <kvm_vfio/client/shared.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

namespace kvm_vfio::client::detail {

/// An open group, the container that it is in, and the VM that it is attached to. The destructor
/// undoes what was done, the last step first: FILE_DEL, UNSET_CONTAINER, close.
template <system System>
class group_state : public counted {
 public:
  explicit group_state(native::vfio::basic_group<System> file, int number = -1) noexcept
      : file_(static_cast<native::vfio::basic_group<System>&&>(file)), number_(number) {}
  ~group_state() {
    if (file_) (void)undo();  // no file: undone or released already
  }

  [[nodiscard]] const native::vfio::basic_group<System>& file() const noexcept { return file_; }
  [[nodiscard]] int number() const noexcept { return number_; }
  [[nodiscard]] const shared<dma_space_state<System>>& container() const noexcept {
    return container_;
  }
  [[nodiscard]] errc join(const shared<dma_space_state<System>>& container) noexcept {
    const errc e = container->join(file_);
    if (e == errc::ok) container_ = container;
    return e;
  }
  // The group is in the container already, and attached to the VM. `vm` may be empty.
  void adopt(shared<dma_space_state<System>> container,
             shared<vm_files_state<System>> vm) noexcept {
    container->adopt_group();
    container_ = static_cast<shared<dma_space_state<System>>&&>(container);
    vm_.adopt(static_cast<shared<vm_files_state<System>>&&>(vm), file_.fd());
  }
  [[nodiscard]] errc attach(const shared<vm_files_state<System>>& vm) noexcept {
    return vm_.attach(vm, file_.fd());
  }
  [[nodiscard]] result<native::vfio::basic_device<System>> open_device(
      const char* name) const noexcept {
    return vm_.open_device([this, name]() noexcept { return file_.get_device(name); });
  }
  // Memory for the state of one open device of the group.
  [[nodiscard]] place<device_state<System>>& memory_of_device() noexcept {
    return memory_of_device_;
  }
  [[nodiscard]] errc set_spapr_tce(int tablefd) noexcept { return vm_.set_table(tablefd); }
  // Undoes every step, even if one of them fails. Returns the first error.
  errc undo() noexcept {
    errc first = vm_.detach();
    if (container_)
      if (const errc e = container_->leave(file_); first == errc::ok) first = e;
    file_ = {};  // before the container, which is closed with its last group
    container_ = {};
    return first;
  }
  // The caller undoes the steps itself.
  [[nodiscard]] native::vfio::basic_group_ref<System> release() noexcept {
    vm_.forget();
    if (container_) container_->forget_group();
    container_ = {};
    return file_.release();
  }

 private:
  native::vfio::basic_group<System> file_;
  int number_;  // the N of /dev/vfio/N; -1: not known
  shared<dma_space_state<System>> container_;
  tracking<System> vm_;
  place<device_state<System>> memory_of_device_;
};

}  // namespace kvm_vfio::client::detail
