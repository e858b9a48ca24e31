# SPDX-License-Identifier: BSL-1.0
# Sets kvm_vfio_header_version to the version in version.hpp. No other file contains the version.
set(kvm_vfio_version_header "${CMAKE_CURRENT_LIST_DIR}/../include/kvm_vfio/version.hpp")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${kvm_vfio_version_header}")
set(kvm_vfio_header_version "")
foreach(part MAJOR MINOR PATCH)
  file(STRINGS "${kvm_vfio_version_header}" line REGEX "^#define KVM_VFIO_VERSION_${part} [0-9]+$")
  if(NOT line MATCHES " ([0-9]+)$")
    message(FATAL_ERROR "version.hpp does not define KVM_VFIO_VERSION_${part}")
  endif()
  list(APPEND kvm_vfio_header_version "${CMAKE_MATCH_1}")
endforeach()
list(JOIN kvm_vfio_header_version "." kvm_vfio_header_version)
