# SPDX-License-Identifier: BSL-1.0
# 64 bits, big-endian. Debian: g++-s390x-linux-gnu qemu-user-static catch2.
set(CMAKE_SYSTEM_PROCESSOR s390x)
set(kvm_vfio_triplet s390x-linux-gnu)
set(kvm_vfio_qemu s390x)
include("${CMAKE_CURRENT_LIST_DIR}/linux-gnu.cmake")
