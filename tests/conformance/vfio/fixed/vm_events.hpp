// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// KVM_IRQFD and KVM_IOEVENTFD with wrong flags, lengths, addresses and descriptors.

#include "recorder.hpp"

#include <linux/kvm.h>

#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with two VMs.
template <class System>
class vm_events {
 public:
  explicit vm_events(recorder<System>& on) : on_(on) {}

  void run(const target& t) {
    const int kvm = on_.open("kvm", "/dev/kvm");
    vm_ = on_.make("CREATE_VM", kvm, KVM_CREATE_VM);
    const int other = on_.make("CREATE_VM", kvm, KVM_CREATE_VM);
    on_.ioctl("CREATE_IRQCHIP", other, KVM_CREATE_IRQCHIP);
    first_ = on_.eventfd();
    second_ = on_.eventfd();
    group_ = on_.open("group", t.group);
    path_ = on_.take("path", on_.sys().open(t.group.c_str(), O_PATH));
    irqfds();
    on_.ioctl("CREATE_IRQCHIP", vm_, KVM_CREATE_IRQCHIP);
    irqfds();
    one_after_another(other);
    ioeventfds();
    on_.close_all();
  }

 private:
  static constexpr std::uint32_t none = ~0U;

  void irqfd(std::uint32_t fd, std::uint32_t gsi, std::uint32_t flags, std::uint32_t resample) {
    irqfd(vm_, fd, gsi, flags, resample);
  }
  void irqfd(int vm, std::uint32_t fd, std::uint32_t gsi, std::uint32_t flags,
             std::uint32_t resample) {
    auto c = words({fd, gsi, flags, resample}, 32);
    on_.ioctl_of("IRQFD " + std::to_string(gsi) + " flags " + std::to_string(flags), vm, KVM_IRQFD,
                 c);
  }
  static std::uint32_t fd(int n) { return static_cast<std::uint32_t>(n); }

  void irqfds() {
    for (const std::uint32_t event : {fd(first_), fd(group_), fd(path_), 9999U, none, 1U << 31})
      for (const std::uint32_t gsi : {0U, 23U, 24U, 255U, 4095U, 4096U, none})
        for (const std::uint32_t flags : {0U, 1U, 2U, 3U, 4U, none})
          for (const std::uint32_t resample : {fd(second_), fd(first_), fd(group_), 9999U}) {
            irqfd(event, gsi, flags, resample);
            if (flags == 0 || flags == 2) irqfd(event, gsi, KVM_IRQFD_FLAG_DEASSIGN, 0);
          }
  }
  void one_after_another(int other) {
    const std::uint32_t a = fd(first_), b = fd(second_);
    irqfd(a, 5, 0, 0);
    irqfd(a, 5, 0, 0);
    irqfd(a, 6, 0, 0);
    irqfd(other, a, 5, 0, 0);
    irqfd(b, 5, 0, 0);
    irqfd(a, 6, KVM_IRQFD_FLAG_DEASSIGN, 0);
    irqfd(other, a, 5, KVM_IRQFD_FLAG_DEASSIGN, 0);
    irqfd(a, 6, 0, 0);
    irqfd(a, 5, KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE, 9999);
    irqfd(a, 6, KVM_IRQFD_FLAG_RESAMPLE, b);
    irqfd(a, 7, KVM_IRQFD_FLAG_RESAMPLE, b);
    irqfd(b, 6, KVM_IRQFD_FLAG_RESAMPLE, a);
    irqfd(a, 6, KVM_IRQFD_FLAG_DEASSIGN, 0);
    irqfd(b, 5, KVM_IRQFD_FLAG_DEASSIGN, 0);
    irqfd(b, 6, KVM_IRQFD_FLAG_RESAMPLE, b);
    irqfd(b, 6, KVM_IRQFD_FLAG_DEASSIGN, b);
  }
  void ioeventfd(std::uint64_t match, std::uint64_t address, std::uint32_t length,
                 std::uint32_t event, std::uint32_t flags) {
    auto c = words({static_cast<std::uint32_t>(match), static_cast<std::uint32_t>(match >> 32),
                    static_cast<std::uint32_t>(address), static_cast<std::uint32_t>(address >> 32),
                    length, event, flags},
                   64);
    on_.ioctl_of("IOEVENTFD length " + std::to_string(length) + " flags " + std::to_string(flags),
                 vm_, KVM_IOEVENTFD, c);
  }
  void ioeventfds() {
    constexpr std::uint64_t all = ~std::uint64_t{0};
    for (const std::uint32_t event : {fd(first_), fd(group_), fd(path_), 9999U, none})
      for (const std::uint32_t length : {0U, 1U, 2U, 3U, 4U, 8U, 16U, none})
        for (const std::uint64_t address : {std::uint64_t{0}, std::uint64_t{0x1001}, all - 4, all})
          for (std::uint32_t flags = 0; flags < 64; ++flags) {
            ioeventfd(1, address, length, event, flags);
            if (event != fd(first_) && flags > 4) flags += 7;
          }
    for (const std::uint32_t flags : {0U, 1U, 2U, 3U, 8U, 9U, 16U, 17U, none})
      for (const std::uint32_t more : {0U, 4U})
        for (const std::uint64_t match : {std::uint64_t{1}, all, std::uint64_t{1} << 32 | 1})
          for (const std::uint32_t length : {0U, 4U, 8U})
            ioeventfd(match, 0x2000, length, fd(second_), flags | more);
  }

  recorder<System>& on_;
  int vm_ = -1, first_ = -1, second_ = -1, group_ = -1, path_ = -1;
};

}  // namespace vfio_lockstep::fixed
