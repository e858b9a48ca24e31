// SPDX-License-Identifier: BSL-1.0
#include "app.hpp"

namespace app {

kvm_vfio::errc add_elsewhere(device& d, int file) noexcept { return d.add(file); }
name_function name_elsewhere() noexcept { return &kvm_vfio::name; }

}  // namespace app
