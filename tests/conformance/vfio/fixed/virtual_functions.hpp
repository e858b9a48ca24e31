// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Virtual functions (SR-IOV) and the token that they share with their physical function.

#include "containers.hpp"
#include "recorder.hpp"

#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace vfio_lockstep::fixed {

/// Lets the virtual functions come back. In QEMU 7.2 a reset of a physical function takes them
/// away and forgets how many there were. The register with "VF Enable" still says that they are
/// there, so Linux does not enable them again. New functions have the registers that they have
/// after a reset.
/// \param physical the physical function
inline void enable_functions(const target& physical) {
  for (const kvm_vfio::sim::capability_spec& c : physical.pci.capabilities) {
    if (!is_extended(c) || c.id != PCI_EXT_CAP_ID_SRIOV) continue;
    const std::string path = "/sys/bus/pci/devices/" + physical.device + "/config";
    const int config = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    std::uint16_t total = 0, control = 0, now = 0;
    const auto read = [&](int at, std::uint16_t& word) {
      return ::pread(config, &word, sizeof word, c.offset + at) == ssize_t{sizeof word};
    };
    const auto write = [&](int at, std::uint16_t word) {
      return ::pwrite(config, &word, sizeof word, c.offset + at) == ssize_t{sizeof word};
    };
    if (config >= 0 && read(PCI_SRIOV_TOTAL_VF, total) && read(PCI_SRIOV_CTRL, control) &&
        read(PCI_SRIOV_NUM_VF, now) && now == 0 && (control & PCI_SRIOV_CTRL_VFE) != 0 &&
        write(PCI_SRIOV_NUM_VF, total))
      (void)write(PCI_SRIOV_CTRL, control);
    if (config >= 0) ::close(config);
  }
}

/// Makes the calls with a virtual function.
template <class System>
class virtual_function_calls {
 public:
  /// \param on where the calls are made
  /// \param t  the virtual function
  /// \param m  the machine, which has the virtual function and its physical function
  /// \param memory memory of the process
  virtual_function_calls(recorder<System>& on, const target& t, const machine& m,
                         const dma_memory& memory)
      : on_(on), t_(t), memory_(memory) {
    for (const target& other : m.targets) {
      if (other.device == t.physical) physical_ = &other;
      else if (other.physical == t.physical && other.device != t.device) sibling_ = &other;
    }
  }

  void use() {
    if (!physical_) return use_alone();
    unknown_token();
    configuration();
    order();
    texts();
    users();
    feature();
    resets();
    bring_back();
  }

 private:
  // Only a kernel's functions go away. The registers of this machine are not the simulator's.
  void bring_back() const {
    if constexpr (std::is_same_v<System, kvm_vfio::native::host>)
      if (physical_) enable_functions(*physical_);
  }
  // Groups in one container with an IOMMU driver.
  struct files {
    int container = -1, physical = -1, group = -1, sibling = -1;
  };
  files open() {
    bring_back();
    files f;
    f.container = on_.open("container", "/dev/vfio/vfio");
    f.group = on_.open("group", t_.group);
    on_.set_container(f.group, f.container);
    on_.ioctl("SET_IOMMU", f.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    if (physical_) f.physical = join("physical function", physical_->group, f.container);
    if (sibling_) f.sibling = join("sibling", sibling_->group, f.container);
    return f;
  }
  int join(const std::string& what, const std::string& path, int container) {
    const int group = on_.open("group of the " + what, path);
    on_.set_container(group, container);
    return group;
  }
  static std::string token(int n) {
    return " vf_token=0a1b2c3d-4e5f-6789-abcd-00000000000" + std::to_string(n);
  }
  int get(int group, const std::string& device, int n) {
    const int fd = on_.get_device(group, device + (n < 0 ? "" : token(n)));
    // The first open resets the function.
    if (physical_ && device == physical_->device) bring_back();
    return fd;
  }

  // No VFIO driver has the physical function.
  void use_alone() {
    const files f = open();
    const int device = get(f.group, t_.device, -1);
    for (const int n : {-1, 1}) get(f.group, t_.device, n);
    for (const std::string options : {" ", " other", " vf_token=1"})
      on_.get_device(f.group, t_.device + options);
    set_token(device, 1);
    on_.ioctl("RESET", device, VFIO_DEVICE_RESET);
    hot_reset(device, {f.group});
    on_.close_all();
    configuration();
  }
  // No process knows the token that a physical function has at first.
  void unknown_token() {
    get(open().group, t_.device, 1);
    on_.close_all();
  }
  // Who may open which function, before and after the physical function got its token.
  void order() {
    files f = open();
    for (const int n : {-1, 1, 2}) get(f.group, t_.device, n);
    const int physical = get(f.physical, physical_->device, 1);
    for (const int n : {-1, 2, 1}) get(f.group, t_.device, n);
    for (const int n : {-1, 2, 1}) get(f.physical, physical_->device, n);
    for (const int n : {-1, 2, 1}) get(f.sibling, sibling_ ? sibling_->device : "none", n);
    on_.get_device(f.group, physical_->device + token(1));
    on_.get_device(f.physical, t_.device + token(1));
    on_.close("physical function", physical);
    bring_back();
    on_.close_all();
    // The token stays when nothing is open.
    f = open();
    get(f.group, t_.device, 2);
    get(f.group, t_.device, 1);
    on_.close_all();
    // It is the token also if the open fails later.
    const int group = on_.open("group of the physical function", physical_->group);
    get(group, physical_->device, 3);
    on_.close_all();
    f = open();
    get(f.group, t_.device, 1);
    get(f.group, t_.device, 3);
    on_.close_all();
  }
  // What may stand behind the name.
  void texts() {
    const files f = open();
    get(f.physical, physical_->device, 1);
    const std::string right = "vf_token=0a1b2c3d-4e5f-6789-abcd-000000000001";
    for (const std::string& text :
         std::vector<std::string>{" ",
                                  "  " + right,
                                  " " + right + "  ",
                                  " " + right + " " + right,
                                  " " + right + "0",
                                  " " + right + "\n",
                                  " " + right + " other",
                                  " other " + right,
                                  right,
                                  "\t" + right,
                                  " vf_token=",
                                  " vf_token=0a1b2c3d",
                                  " vf_token",
                                  " VF_TOKEN" + right,
                                  " vf_token=0A1B2C3D-4E5F-6789-ABCD-000000000001",
                                  " vf_token=0a1b2c3d4e5f6789abcd000000000001    ",
                                  " vf_token=0a1b2c3d-4e5f-6789-abcd-00000000000g",
                                  " vf_token=0a1b2c3d-4e5f-6789-abcd_000000000001",
                                  " vf_token=0a1b2c3-d4e5f-6789-abcd-000000000001",
                                  " vf_token={0a1b2c3d-4e5f-6789-abcd-000000000001}",
                                  " vf_token= 0a1b2c3d-4e5f-6789-abcd-000000000001"}) {
      on_.get_device(f.group, t_.device + text);
      on_.get_device(f.physical, physical_->device + text);
      bring_back();
    }
    on_.close_all();
  }
  // The physical function needs the token as long as a virtual function is open.
  void users() {
    const files f = open();
    get(f.physical, physical_->device, 1);
    const int first = get(f.group, t_.device, 1);
    const int second = get(f.group, t_.device, 1);
    for (const int n : {-1, 2, 1}) get(f.physical, physical_->device, n);
    on_.close("first", first);
    for (const int n : {-1, 2}) get(f.physical, physical_->device, n);
    const int sibling = get(f.sibling, sibling_ ? sibling_->device : "none", 1);
    on_.close("second", second);
    for (const int n : {-1, 2}) get(f.physical, physical_->device, n);
    on_.close("sibling", sibling);
    for (const int n : {-1, 2, -1}) get(f.physical, physical_->device, n);
    for (const int n : {1, 2}) get(f.group, t_.device, n);
    on_.close_all();
  }
  void set_token(int device, int n, std::uint32_t size = 24, std::uint32_t how = 2) {
    auto argument = words({size, how << 16}, 24);
    static constexpr unsigned char bytes[] = {0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x67, 0x89,
                                              0xab, 0xcd, 0,    0,    0,    0,    0,    0};
    std::memcpy(&argument[8], bytes, sizeof bytes);
    argument[23] = static_cast<unsigned char>(n);
    on_.ioctl_bytes("token " + std::to_string(n) + " how " + std::to_string(how), device,
                    VFIO_DEVICE_FEATURE, std::move(argument));
  }
  // VFIO_DEVICE_FEATURE_PCI_VF_TOKEN
  void feature() {
    const files f = open();
    const int physical = get(f.physical, physical_->device, 1);
    const int device = get(f.group, t_.device, 1);
    for (const int on : {physical, device}) {
      for (std::uint32_t how = 0; how < 8; ++how) set_token(on, 3, 24, how);
      for (const std::uint32_t size : {0U, 7U, 8U, 20U, 23U, 24U, 32U}) set_token(on, 4, size);
      on_.ioctl("token that cannot be read", on, VFIO_DEVICE_FEATURE, 16);
    }
    // The memory ends in front of the token.
    const std::uint32_t head[] = {24, VFIO_DEVICE_FEATURE_SET};
    auto* const at = reinterpret_cast<unsigned char*>(memory_.absent) - sizeof head;
    std::memcpy(at, head, sizeof head);
    on_.ioctl("token that is not there", physical, VFIO_DEVICE_FEATURE,
              reinterpret_cast<std::uintptr_t>(at));
    for (const int n : {1, 3, 4}) get(f.group, t_.device, n);
    for (const int n : {-1, 1, 4}) get(f.physical, physical_->device, n);
    set_token(physical, 5);
    for (const int n : {4, 5}) get(f.group, t_.device, n);
    on_.close_all();
  }
  // A hot reset resets the bus of all of them.
  void resets() {
    const files f = open();
    const int physical = get(f.physical, physical_->device, 1);
    const int device = get(f.group, t_.device, 1);
    get(f.sibling, sibling_ ? sibling_->device : "none", 1);
    for (const int on : {physical, device}) {
      hot_reset(on, {f.group});
      hot_reset(on, {f.physical});
      hot_reset(on, {f.physical, f.group});
      hot_reset(on, {f.physical, f.group, f.sibling});
      on_.ioctl("RESET", on, VFIO_DEVICE_RESET);
      bring_back();
    }
    on_.close_all();
  }
  void hot_reset(int device, const std::vector<int>& groups) {
    for (const std::uint32_t size : {12U, 28U, 36U, 44U})
      on_.ioctl_bytes("HOT_RESET_INFO", device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
                      words({size, 0, 7}, 44));
    auto argument = words({12 + 4 * static_cast<std::uint32_t>(groups.size()), 0,
                           static_cast<std::uint32_t>(groups.size())},
                          12 + 4 * groups.size());
    std::memcpy(&argument[12], groups.data(), 4 * groups.size());
    on_.ioctl_of("HOT_RESET of " + std::to_string(groups.size()), device, VFIO_DEVICE_PCI_HOT_RESET,
                 argument);
    bring_back();
  }
  // What the recorder's other sequences do not read.
  void configuration() {
    const opened_device o = on_.open_device(t_);
    on_.ioctl_bytes("GET_INFO", o.device, VFIO_DEVICE_GET_INFO, words({24, 0}, 24));
    read(o.device, 0, 256);
    for (std::uint64_t at = 0x100; at < 0x200; at += 0x80) read(o.device, at, 0x80);
    for (const int command : {0x00, 0x06, 0x04, 0x02}) {
      const unsigned char data[2] = {static_cast<unsigned char>(command), 0};
      on_.say("write the command", on_.sys().pwrite(o.device, data, 2, config_space + PCI_COMMAND));
      read(o.device, PCI_COMMAND, 2);
      unsigned char word[4] = {};
      on_.say("read BAR 0", on_.sys().pread(o.device, word, 4, 0));
      on_.say("write BAR 0", on_.sys().pwrite(o.device, word, 4, 0x28));
    }
    on_.ioctl("RESET", o.device, VFIO_DEVICE_RESET);
    read(o.device, 0, 64);
    for (std::uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; ++i)
      for (const std::uint32_t action :
           {std::uint32_t{VFIO_IRQ_SET_ACTION_TRIGGER}, std::uint32_t{VFIO_IRQ_SET_ACTION_MASK}})
        on_.ioctl_bytes("SET_IRQS " + std::to_string(i), o.device, VFIO_DEVICE_SET_IRQS,
                        words({20, VFIO_IRQ_SET_DATA_NONE | action, i, 0, 1}, 20));
    on_.close_all();
  }
  void read(int device, std::uint64_t at, std::size_t size) {
    std::vector<unsigned char> data(size);
    on_.say("read " + std::to_string(at),
            on_.sys().pread(device, data.data(), size, config_space + at));
    on_.bytes("configuration at " + std::to_string(at), data.data(), size);
  }

  recorder<System>& on_;
  const target& t_;
  const dma_memory& memory_;
  const target* physical_ = nullptr;  // null: VFIO does not drive it
  const target* sibling_ = nullptr;   // another virtual function of the physical function
};

}  // namespace vfio_lockstep::fixed
