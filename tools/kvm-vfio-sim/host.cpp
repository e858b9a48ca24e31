// SPDX-License-Identifier: BSL-1.0
#include "host.hpp"

#include <kvm_vfio/profile.hpp>

namespace kvm_vfio_sim {
namespace {

template <class Profile>
class host_of final : public host {
 public:
  host_of(const kvm_vfio::sim::topology& machine, const kvm_vfio::sim::world_options& options)
      : kernel_(machine, options) {}
  kvm_vfio::sim::filesystem& files() noexcept override { return kernel_; }
  kvm_vfio::sim::snapshot look() override { return kernel_.look(); }

 private:
  kvm_vfio::sim::kernel<Profile> kernel_;
};

}  // namespace

std::unique_ptr<host> make_host(std::string_view profile, const kvm_vfio::sim::topology& machine,
                                const kvm_vfio::sim::world_options& options) {
  if (profile == "linux-6.1")
    return std::make_unique<host_of<kvm_vfio::linux_6_1>>(machine, options);
  if (profile == "linux-6.12")
    return std::make_unique<host_of<kvm_vfio::linux_6_12>>(machine, options);
  if (profile == "linux-7.3")
    return std::make_unique<host_of<kvm_vfio::linux_7_3>>(machine, options);
  return nullptr;
}

}  // namespace kvm_vfio_sim
