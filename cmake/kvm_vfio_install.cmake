# SPDX-License-Identifier: BSL-1.0
# Installation: headers, and a package for find_package(kvm_vfio).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS kvm_vfio EXPORT kvm_vfio_targets FILE_SET HEADERS
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/kvm_vfio")
install(EXPORT kvm_vfio_targets NAMESPACE kvm_vfio:: DESTINATION ${package_dir}
        FILE kvm_vfio-config.cmake)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/kvm_vfio-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/kvm_vfio-config-version.cmake"
        DESTINATION ${package_dir})
