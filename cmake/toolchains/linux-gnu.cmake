# SPDX-License-Identifier: BSL-1.0
# What the toolchain files beside it share: Debian's cross compiler for kvm_vfio_triplet, and
# qemu-user (kvm_vfio_qemu) to run what it built.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER ${kvm_vfio_triplet}-gcc)
set(CMAKE_CXX_COMPILER ${kvm_vfio_triplet}-g++)

# The compiler's own libraries are there. Catch2 2.13, headers alone, is the machine's.
set(CMAKE_FIND_ROOT_PATH /usr/${kvm_vfio_triplet})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)

if(kvm_vfio_qemu)
  find_program(kvm_vfio_emulator NAMES qemu-${kvm_vfio_qemu}-static qemu-${kvm_vfio_qemu} REQUIRED)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${kvm_vfio_emulator} -L /usr/${kvm_vfio_triplet})
endif()
