# SPDX-License-Identifier: BSL-1.0
# Measures which lines and branches of the core the unit tests cover: `cmake --workflow --preset coverage`.
# A line of a template counts as covered if one instantiation covers it. No test at run time can take two
# kinds of branches, so they are left out:
# - branches of exceptions (nothing throws; the compiler makes them for calls whose code it does not see),
# - the branch on std::is_constant_evaluated().
find_program(LCOV lcov REQUIRED)
string(REGEX MATCH "^[0-9]+" gcc_version "${CMAKE_CXX_COMPILER_VERSION}")
find_program(KVM_VFIO_GCOV NAMES gcov-${gcc_version} gcov REQUIRED)
add_custom_target(
  coverage
  COMMAND
    ${CMAKE_COMMAND} -DLCOV=${LCOV} -DGCOV=${KVM_VFIO_GCOV} -DTESTS=${CMAKE_CURRENT_BINARY_DIR}/tests/unit
    -DHEADERS=${PROJECT_SOURCE_DIR}/include/kvm_vfio -DOUTPUT=${CMAKE_CURRENT_BINARY_DIR}/coverage.info
    -DLINES=100 -DBRANCHES=95 -P ${CMAKE_CURRENT_LIST_DIR}/kvm_vfio_coverage_report.cmake
  VERBATIM USES_TERMINAL)
