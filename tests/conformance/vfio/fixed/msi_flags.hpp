// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The flags of MSI in the configuration space: what SET_IRQS, writes, resets and closes leave
/// there.

#include "recorder.hpp"

#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Arms MSI of a device, writes the flags of MSI, and opens the device again.
template <class System>
class msi_flags {
 public:
  msi_flags(recorder<System>& on, const target& t, std::uint64_t capability)
      : on_(on), t_(t), flags_(config_space + capability + PCI_MSI_FLAGS) {}

  void use() {
    const opened_device o = on_.open_device(t_);
    if (o.device < 0) return;
    group_ = o.group;
    device_ = o.device;
    event_ = on_.eventfd();
    write(PCI_MSI_FLAGS_ENABLE);
    arm(1);
    write(PCI_MSI_FLAGS_ENABLE);
    disarm();
    write(PCI_MSI_FLAGS_ENABLE);
    const std::uint32_t all = t_.pci.msi_vectors;
    for (const std::uint32_t n : {3U, all, 1U, 2U}) {
      if (n > all) continue;
      arm(n);
      reopen("armed");
      arm(n);
      disarm();
      reopen("disarmed");
      write(0xff);
      reopen("written");
      write(0);
      reopen("cleared");
      arm(n);
      write(0x21);
      arm(n);  // each vector gets its eventfd again
      reset();
      reopen("written while armed");
      arm(n);
      disarm();
      reset();
      reopen("reset");
    }
    arm(all, true);
    write(0xff);
    reopen("not armed");
    arm(1);
    disarm();
  }

 private:
  void read(const std::string& what) {
    unsigned char data[2] = {};
    on_.say(what, on_.sys().pread(device_, data, sizeof data, flags_));
    on_.bytes(what, data, sizeof data);
  }
  void write(unsigned value) {
    const auto data = static_cast<unsigned char>(value);
    on_.say("write " + std::to_string(value), on_.sys().pwrite(device_, &data, 1, flags_));
    read("written");
  }
  void reset() {
    on_.ioctl("RESET", device_, VFIO_DEVICE_RESET);
    read("after RESET");
  }
  void reopen(const std::string& what) {
    on_.close("device", device_);
    device_ = on_.get_device(group_, t_.device);
    read("opened again after " + what);
  }
  // Arms the first vectors. \param wrong whether the last descriptor is not an eventfd
  void arm(std::uint32_t n, bool wrong = false) {
    const std::size_t size = 20 + std::size_t{4} * n;
    std::vector<unsigned char> argument = words(
        {static_cast<std::uint32_t>(size), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
         VFIO_PCI_MSI_IRQ_INDEX, 0, n},
        size);
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::int32_t fd = wrong && i + 1 == n ? group_ : event_;
      std::memcpy(&argument[20 + std::size_t{4} * i], &fd, sizeof fd);
    }
    on_.ioctl_of("arm " + std::to_string(n), device_, VFIO_DEVICE_SET_IRQS, argument);
    read("armed");
  }
  void disarm() {
    auto argument =
        words({20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSI_IRQ_INDEX});
    argument.resize(20);
    on_.ioctl_of("disarm", device_, VFIO_DEVICE_SET_IRQS, argument);
    read("disarmed");
  }

  recorder<System>& on_;
  const target& t_;
  std::uint64_t flags_;
  int group_ = -1;
  int device_ = -1;
  int event_ = -1;
};

template <class System>
void use_msi_flags(recorder<System>& on, const target& t) {
  for (const kvm_vfio::sim::capability_spec& c : t.pci.capabilities)
    if (c.id == PCI_CAP_ID_MSI && !is_extended(c)) msi_flags<System>(on, t, c.offset).use();
  on.close_all();
}

}  // namespace vfio_lockstep::fixed
