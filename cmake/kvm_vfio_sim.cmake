# SPDX-License-Identifier: BSL-1.0
# The target kvm_vfio::sim: the simulator, compiled once into a library of the project that uses it,
# by its compiler and with its flags. Tests that link it compile in a fraction of the time; their
# code is the same as with kvm_vfio::kvm_vfio alone. Built only where something links it.
#
# For the library itself and, installed, for those who find it: KVM_VFIO_SIM_SOURCES is the directory
# of its sources.
if(TARGET kvm_vfio_sim OR NOT CMAKE_CXX_COMPILER_LOADED)
  return()
endif()
add_library(kvm_vfio_sim STATIC EXCLUDE_FROM_ALL)
add_library(kvm_vfio::sim ALIAS kvm_vfio_sim)
foreach(source kernel sim topology trace)
  target_sources(kvm_vfio_sim PRIVATE "${KVM_VFIO_SIM_SOURCES}/${source}.cpp")
endforeach()
target_link_libraries(kvm_vfio_sim PUBLIC kvm_vfio::kvm_vfio)
# It may become part of a shared object, such as an interposer.
set_target_properties(kvm_vfio_sim PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_compile_definitions(kvm_vfio_sim PUBLIC KVM_VFIO_COMPILED)
# Topologies from JSON, if the library for it is there; only this library's own sources need it.
find_package(nlohmann_json 3 QUIET)
if(TARGET nlohmann_json::nlohmann_json)
  target_link_libraries(kvm_vfio_sim PRIVATE $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
  target_compile_definitions(kvm_vfio_sim PUBLIC KVM_VFIO_SIM_TOPOLOGY_JSON=1)
else()
  target_compile_definitions(kvm_vfio_sim PUBLIC KVM_VFIO_SIM_TOPOLOGY_JSON=0)
endif()
