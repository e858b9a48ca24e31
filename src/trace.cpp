// SPDX-License-Identifier: BSL-1.0
// The simulator in a library (kvm_vfio/detail/compiled.hpp): calls and the checker.
#include <kvm_vfio/trace/impl/call_text.hpp>
#include <kvm_vfio/trace/impl/checker.hpp>
#include <kvm_vfio/trace/impl/decode_ioctl.hpp>
#include <kvm_vfio/trace/impl/memory.hpp>
#include <kvm_vfio/trace/impl/report.hpp>
#include <kvm_vfio/trace/impl/request_rules.hpp>
#include <kvm_vfio/trace/impl/seen_files.hpp>
#include <kvm_vfio/trace/impl/timeline.hpp>
