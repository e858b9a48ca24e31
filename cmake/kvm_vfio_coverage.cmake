# SPDX-License-Identifier: BSL-1.0
# What the tests covered of the core: `cmake --workflow --preset coverage`. Left out,
# because no test at run time can take them:
# - branches of exceptions (nothing throws; the compiler makes them for what it cannot see into),
# - branches of code that the compiler made without a line,
# - the branch on std::is_constant_evaluated().
find_program(GCOVR gcovr REQUIRED)
string(REGEX MATCH "^[0-9]+" gcc_version "${CMAKE_CXX_COMPILER_VERSION}")
find_program(KVM_VFIO_GCOV NAMES gcov-${gcc_version} gcov REQUIRED)
add_custom_target(
  coverage
  COMMAND
    ${GCOVR} --root "${PROJECT_SOURCE_DIR}" --gcov-executable ${KVM_VFIO_GCOV}
    --filter "${PROJECT_SOURCE_DIR}/include/kvm_vfio/[^/]+\\.hpp"
    --filter "${PROJECT_SOURCE_DIR}/include/kvm_vfio/detail/" --exclude-throw-branches
    --exclude-unreachable-branches --delete
    --exclude-branches-by-pattern ".*is_constant_evaluated.*" --txt "${CMAKE_CURRENT_BINARY_DIR}/coverage.txt" --html-details
    "${CMAKE_CURRENT_BINARY_DIR}/coverage.html" --print-summary --fail-under-line 100
    --fail-under-branch 95 "${CMAKE_CURRENT_BINARY_DIR}"
  VERBATIM USES_TERMINAL)
