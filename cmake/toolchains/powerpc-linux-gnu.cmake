# SPDX-License-Identifier: BSL-1.0
# 32 bits, big-endian. Debian: g++-powerpc-linux-gnu qemu-user-static catch2.
set(CMAKE_SYSTEM_PROCESSOR ppc)
set(kvm_vfio_triplet powerpc-linux-gnu)
set(kvm_vfio_qemu ppc)
# The processor has no atomic operations of 64 bits.
set(CMAKE_CXX_STANDARD_LIBRARIES -latomic)
include("${CMAKE_CURRENT_LIST_DIR}/linux-gnu.cmake")
