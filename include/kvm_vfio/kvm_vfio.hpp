// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Includes the whole model. These headers make no system call and cost little compile time.
/// The real ioctls are in kvm_vfio/native/, and the mocks are in kvm_vfio/testing/.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/attachment.hpp>
#include <kvm_vfio/coherency.hpp>
#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/device.hpp>
#include <kvm_vfio/device_type.hpp>
#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/file_list.hpp>
#include <kvm_vfio/heap_storage.hpp>
#include <kvm_vfio/inline_storage.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/storage.hpp>
#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/version.hpp>
#include <kvm_vfio/vfio_device_type.hpp>
#include <kvm_vfio/vm.hpp>
