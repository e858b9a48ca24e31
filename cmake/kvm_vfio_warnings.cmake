# SPDX-License-Identifier: BSL-1.0
# The warnings of our own builds. They do not apply to projects that use the library.
add_library(kvm_vfio_warnings INTERFACE)
target_compile_options(kvm_vfio_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
# Whoever builds only programs may have a compiler with other warnings.
if(KVM_VFIO_BUILD_TESTS)
  target_compile_options(kvm_vfio_warnings INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(kvm_vfio_warnings INTERFACE -Wthread-safety)
endif()
