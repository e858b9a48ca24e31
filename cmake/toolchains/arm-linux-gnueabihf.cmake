# SPDX-License-Identifier: BSL-1.0
# 32 bits, little-endian. Debian: g++-arm-linux-gnueabihf qemu-user-static catch2.
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(kvm_vfio_triplet arm-linux-gnueabihf)
set(kvm_vfio_qemu arm)
include("${CMAKE_CURRENT_LIST_DIR}/linux-gnu.cmake")
