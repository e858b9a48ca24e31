# SPDX-License-Identifier: BSL-1.0
# The command line of the main example: every wrong argument is named, and it runs without KVM.
# Status and output are both looked at.
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
kvm_vfio_add_command_line_test(without_kvm 77 "/nonexistent: No such file or directory; the model runs alone"
                               --kvm /nonexistent)
kvm_vfio_add_command_line_test(not_kvm 2 "--kvm /dev/null: ENOTTY: the file is not KVM's" --kvm
                               /dev/null)
kvm_vfio_add_command_line_test(json 0 "\"differing\": 0" --json)
kvm_vfio_add_command_line_test(profile_6_12 0 "0 differ" --profile 6.12)
kvm_vfio_add_command_line_test(profile_6_1 0 "0 differ" --profile 6.1)
# These compare: without KVM there is nothing to compare with.
foreach(test "" :json :profile_6_12 :profile_6_1)
  set_tests_properties(example:03_compare_with_kernel${test} PROPERTIES SKIP_RETURN_CODE 77)
endforeach()
