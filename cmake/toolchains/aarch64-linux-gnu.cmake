# SPDX-License-Identifier: BSL-1.0
# 64 bits, little-endian. Debian: g++-aarch64-linux-gnu qemu-user-static catch2.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(kvm_vfio_triplet aarch64-linux-gnu)
set(kvm_vfio_qemu aarch64)
include("${CMAKE_CURRENT_LIST_DIR}/linux-gnu.cmake")
