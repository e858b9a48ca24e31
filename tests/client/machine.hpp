// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated machine with VMs, for the tests of the client layer.

#include <kvm_vfio/client/address_space.hpp>
#include <kvm_vfio/client/container.hpp>
#include <kvm_vfio/client/device.hpp>
#include <kvm_vfio/client/device_file.hpp>
#include <kvm_vfio/client/group.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/sim/machine.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/trace/call_text.hpp>

#include "sim/fixture.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace client = kvm_vfio::client;
namespace native = kvm_vfio::native;
using kvm_vfio::result;
using sys = sim::process_ref;

using vm_owner = native::basic_vm<sys>;
using vm_files = client::vm_files<sys>;
using container = client::container<sys>;
using address_space = client::address_space<sys>;
using mapping = client::mapping<sys>;
using group_file = client::group_file<sys>;
using group_in_container = client::group_in_container<sys>;
using group_with_iommu = client::group_with_iommu<sys>;
using attached_group = client::attached_group<sys>;
using device_file = client::device_file<sys>;
using attached_device_file = client::attached_device_file<sys>;
using bound_device = client::bound_device<sys>;
using device = client::device<sys>;

constexpr const char* first_device = "0000:00:04.0";
constexpr const char* second_device = "0000:00:05.0";
constexpr const char* third_device = "0000:00:05.1";
constexpr std::uint64_t page = 0x1000;

/// The value of a result, which must be there.
template <class T>
[[nodiscard]] T must(result<T> r) {
  return std::move(r.value());
}

/// Memory at an address of the VM. The simulator does not read it.
[[nodiscard]] inline client::dma_mapping memory_at(std::uint64_t iova, std::uint64_t size = page) {
  return {.iova = iova,
          .memory = reinterpret_cast<void*>(std::uintptr_t{0x70000000}),
          .size = size,
          .writable = true};
}

/// A machine whose process is a VMM. Descriptors count from 0 on.
template <class Profile = kvm_vfio::linux_7_3, class Iommu = sim::iommu>
struct vmm_machine : sim::machine<Profile, Iommu> {
  explicit vmm_machine(const sim::topology& t = two_groups(), const sim::world_options& o = {})
      : sim::machine<Profile, Iommu>(t, o) {}

  sys system{this->process()};

  /// Makes a VM. The descriptor of /dev/kvm is closed.
  [[nodiscard]] vm_owner make_vm() {
    return must(must(native::basic_kvm_ref<sys>::open("/dev/kvm", system)).create_vm());
  }
  /// Makes the files of a VM that has no other descriptor.
  [[nodiscard]] vm_files make_files() { return must(vm_files::create(make_vm())); }
  /// A group in a container with an IOMMU driver.
  [[nodiscard]] group_with_iommu with_iommu(int number, const container& in) {
    return must(must(must(group_file::open(number, system)).join(in)).set_iommu());
  }
  /// A group that is attached to a VM.
  [[nodiscard]] attached_group attach(int number, const container& in, const vm_files& to) {
    return must(with_iommu(number, in).attach(to));
  }
  /// A device file that a VM uses.
  [[nodiscard]] device plug(int number, const address_space& in, const vm_files& to) {
    return must(
        must(must(must(device_file::open(number, system)).attach(to)).bind(in)).attach_to_space());
  }
  /// The calls since the last time, one in a line.
  [[nodiscard]] std::string calls() {
    std::string out;
    const auto show = [&](const trace::call& c) {
      out += to_string(c) + '\n';
      ++shown_;
    };
    this->timeline().visit(show, shown_);
    return out;
  }
  void forget_calls() { (void)calls(); }
  /// The files that a VM tracks, by name.
  [[nodiscard]] std::vector<std::string> tracked(const std::string& vm_name) {
    std::vector<std::string> out;
    for (const auto& v : this->look().vms)
      if (v.name == vm_name)
        for (const auto& f : v.tracked) out.push_back(f.name);
    return out;
  }
  /// Lets the n-th ioctl with this request fail.
  void fail_ioctl(unsigned long request, std::size_t nth, errc error) {
    this->process().fail({.kind = trace::call_kind::ioctl,
                          .request = static_cast<std::uint32_t>(request),
                          .nth = nth,
                          .error = error});
  }

 private:
  std::size_t shown_ = 0;
};

using names = std::vector<std::string>;
