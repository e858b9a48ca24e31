# SPDX-License-Identifier: BSL-1.0
# Defines the target kvm_vfio::sim: the simulator, compiled once into a library of the project that uses
# it, by the project's compiler and with its flags. Tests that link it compile in a fraction of the time.
# Their code is the same as with kvm_vfio::kvm_vfio alone. The library is built only if a target links
# it.
#
# KVM_VFIO_SIM_SOURCES is the directory of the sources: src/ of this project, or its copy in an
# installed package.
if(TARGET kvm_vfio_sim OR NOT CMAKE_CXX_COMPILER_LOADED)
  return()
endif()
add_library(kvm_vfio_sim STATIC EXCLUDE_FROM_ALL)
add_library(kvm_vfio::sim ALIAS kvm_vfio_sim)
foreach(source kernel sim topology trace)
  target_sources(kvm_vfio_sim PRIVATE "${KVM_VFIO_SIM_SOURCES}/${source}.cpp")
endforeach()
target_link_libraries(kvm_vfio_sim PUBLIC kvm_vfio::kvm_vfio)
# The library may become a part of a shared object, such as an interposer.
set_target_properties(kvm_vfio_sim PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_compile_definitions(kvm_vfio_sim PUBLIC KVM_VFIO_COMPILED)
# Adds topologies from JSON if nlohmann's library is there. A project that links kvm_vfio::sim does not
# need that library.
find_package(nlohmann_json 3 QUIET)
set(json 0)
if(TARGET nlohmann_json::nlohmann_json)
  set(json 1)
  target_link_libraries(kvm_vfio_sim PRIVATE nlohmann_json::nlohmann_json)
endif()
target_compile_definitions(kvm_vfio_sim PUBLIC KVM_VFIO_SIM_TOPOLOGY_JSON=${json})
