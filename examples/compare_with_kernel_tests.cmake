# SPDX-License-Identifier: BSL-1.0
# The command line of the main example: it names every wrong argument, and it runs without KVM. Each
# test checks the exit status and the output.
function(kvm_vfio_add_command_line_test name status expected)
  set(test example:03_compare_with_kernel:${name})
  add_test(NAME ${test} COMMAND sh -c "\"$0\" \"$@\"; s=$?; echo status $s; exit $s"
                                $<TARGET_FILE:03_compare_with_kernel> ${ARGN})
  set_tests_properties(${test} PROPERTIES PASS_REGULAR_EXPRESSION "${expected}.*status ${status}")
endfunction()

kvm_vfio_add_command_line_test(help 0 "usage: 03_compare_with_kernel" --help)
kvm_vfio_add_command_line_test(unknown_option 2 "unknown option --fast" --fast)
kvm_vfio_add_command_line_test(missing_value 2 "--profile needs 7.3, 6.12 or 6.1" --profile)
kvm_vfio_add_command_line_test(unknown_profile 2 "unknown profile 5.4" --profile 5.4)
kvm_vfio_add_command_line_test(unopenable_file 2 "/nonexistent/7: No such file" /nonexistent/7)
kvm_vfio_add_command_line_test(kvm_not_there 2 "--kvm /nonexistent: the file does not exist" --kvm /nonexistent)
kvm_vfio_add_command_line_test(not_kvm 2 "--kvm /dev/null: ENOTTY: the file is not KVM" --kvm
                               /dev/null)
kvm_vfio_add_command_line_test(json 0 "\"differing\": 0" --json)
kvm_vfio_add_command_line_test(profile_6_12 0 "0 differ" --profile 6.12)
kvm_vfio_add_command_line_test(profile_6_1 0 "0 differ" --profile 6.1)
# These tests compare with the kernel, so they are skipped without KVM.
foreach(test "" :json :profile_6_12 :profile_6_1)
  set_tests_properties(example:03_compare_with_kernel${test} PROPERTIES SKIP_RETURN_CODE 77)
endforeach()
# A file that the user has no permission to open, without and with a group that has permission. Root
# may open every file, so root becomes another user, who may have no access to the build directory.
foreach(case "none:640:Neither this user nor a group has permission.*setfacl" "group:660:usermod -aG [a-z]+")
  string(REGEX MATCH "([a-z]+):([0-9]+):(.*)" unused "${case}")
  set(test example:03_compare_with_kernel:no_permission_${CMAKE_MATCH_1})
  add_test(
    NAME ${test}
    COMMAND
      sh -c
      "test $(id -u) -eq 0 && setpriv --version >/dev/null || { echo SKIPPED: needs root and setpriv; exit 0; }
       d=$(mktemp -d) && trap 'rm -r \"$d\"' EXIT && chmod 755 \"$d\" && cp \"$0\" \"$d/program\" &&
       touch \"$d/kvm\" && chgrp 1 \"$d/kvm\" && chmod \"$1\" \"$d/kvm\"
       setpriv --reuid=65534 --regid=65534 --clear-groups \"$d/program\" --kvm \"$d/kvm\" 2>&1
       echo status $?"
      $<TARGET_FILE:03_compare_with_kernel> ${CMAKE_MATCH_2})
  set_tests_properties(${test} PROPERTIES PASS_REGULAR_EXPRESSION "${CMAKE_MATCH_3}.*status 77"
                                          SKIP_REGULAR_EXPRESSION "SKIPPED: ")
endforeach()
