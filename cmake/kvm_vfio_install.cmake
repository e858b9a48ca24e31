# SPDX-License-Identifier: BSL-1.0
# Installs the headers, and the packages for find_package(kvm_vfio) and pkg-config: the component `dev`. The
# component `sim` is kvm-vfio-sim with the object that it preloads. `cpack` makes a Debian package of each.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME dev)

install(TARGETS kvm_vfio EXPORT kvm_vfio_targets
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILE_SET parts DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/kvm_vfio")
install(EXPORT kvm_vfio_targets NAMESPACE kvm_vfio:: DESTINATION ${package_dir}
        FILE kvm_vfio-targets.cmake)
configure_package_config_file(
  cmake/kvm_vfio-config.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/kvm_vfio-config.cmake"
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/kvm_vfio-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/kvm_vfio-config.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/kvm_vfio-config-version.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/kvm_vfio_sim.cmake"
        DESTINATION ${package_dir})
install(DIRECTORY src DESTINATION ${package_dir} FILES_MATCHING PATTERN "*.cpp")

# The path is relative to the .pc file, because the prefix is chosen when installing, or later. It is
# computed from two full paths, because one of the two directories may be absolute.
set(pc_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")
cmake_path(IS_ABSOLUTE CMAKE_INSTALL_INCLUDEDIR include_dir_is_absolute)
if(include_dir_is_absolute)
  set(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
else()
  cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR BASE_DIRECTORY
             "${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig" OUTPUT_VARIABLE pc_includedir)
  string(PREPEND pc_includedir "\${pcfiledir}/")
endif()
configure_file(cmake/kvm_vfio.pc.in kvm_vfio.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/kvm_vfio.pc" DESTINATION ${pc_dir})

# kvm-vfio-sim finds the object by its path from the program.
if(TARGET kvm-vfio-sim)
  # Whoever wants only the headers need not build it.
  install(TARGETS kvm-vfio-sim RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT sim OPTIONAL)
  install(TARGETS kvm-vfio-sim-preload LIBRARY DESTINATION lib/kvm-vfio-sim COMPONENT sim OPTIONAL)
  install(FILES docs/kvm-vfio-sim.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT sim)
  install(FILES docs/topology.schema.json docs/fault-plan.schema.json docs/unmodified.md
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/kvm-vfio-sim COMPONENT sim)
endif()

if(NOT PROJECT_IS_TOP_LEVEL)
  return()
endif()
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libkvm-vfio-dev)
set(CPACK_PACKAGE_CONTACT "The kvm_vfio authors")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_COMPONENTS_ALL dev)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libkvm-vfio-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS linux-libc-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libkvm-vfio-dev RENAME copyright)
if(TARGET kvm-vfio-sim)
  list(APPEND CPACK_COMPONENTS_ALL sim)
  set(CPACK_COMPONENT_SIM_DESCRIPTION "Runs a program on a simulated host with VFIO, iommufd and kvm-vfio")
  set(CPACK_DEBIAN_SIM_PACKAGE_NAME kvm-vfio-sim)
  set(CPACK_DEBIAN_SIM_PACKAGE_SECTION devel)
  find_program(KVM_VFIO_SHLIBDEPS dpkg-shlibdeps)
  mark_as_advanced(KVM_VFIO_SHLIBDEPS)
  if(KVM_VFIO_SHLIBDEPS)
    set(CPACK_DEBIAN_SIM_PACKAGE_SHLIBDEPS ON)
  else()
    set(CPACK_DEBIAN_SIM_PACKAGE_DEPENDS "libc6, libgcc-s1, libstdc++6")
  endif()
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/kvm-vfio-sim RENAME copyright COMPONENT sim)
endif()
include(CPack)
