# SPDX-License-Identifier: BSL-1.0
# 32 bits, little-endian. Debian: g++-i686-linux-gnu catch2. The kernel of an x86-64 machine runs
# the programs, so they reach its KVM; they need to know where their C library is.
set(CMAKE_SYSTEM_PROCESSOR i686)
set(kvm_vfio_triplet i686-linux-gnu)
include("${CMAKE_CURRENT_LIST_DIR}/linux-gnu.cmake")
set(CMAKE_EXE_LINKER_FLAGS_INIT
    "-Wl,--dynamic-linker=/usr/i686-linux-gnu/lib/ld-linux.so.2 -Wl,-rpath,/usr/i686-linux-gnu/lib")
