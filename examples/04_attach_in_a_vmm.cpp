// SPDX-License-Identifier: BSL-1.0
// A VMM gives a device to its VM, in the only order that is right on every kernel: SET_CONTAINER,
// SET_IOMMU, FILE_ADD, and then GET_DEVICE_FD. The destructors undo the steps in the right order,
// too. Without arguments the program shows the message of a failed step.
//   04_attach_in_a_vmm [GROUP DEVICE]     for example: 26 0000:06:0d.0
// Exit status: 0 success; 1 a step failed; 2 wrong arguments; 77 this machine has no KVM.
#include <kvm_vfio/client/container.hpp>
#include <kvm_vfio/client/group.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/native/explain.hpp>
#include <kvm_vfio/native/kvm.hpp>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace kv = kvm_vfio;
namespace client = kvm_vfio::client;
using kv::native::operation;

namespace {

// Prints which call failed, why, and what to do.
int failed(operation what, kv::errc why, int fd = -1) {
  char text[256];
  kv::native::explain(text, sizeof text, what, why, fd);
  std::printf("%s\n", text);
  return 1;
}

// Returns the decimal number in the text, or -1 if the text is not such a number.
int group_number(const char* text) {
  char* end = nullptr;
  errno = 0;
  const long number = std::strtol(text, &end, 10);
  const bool good = *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && number <= INT_MAX;
  return good ? static_cast<int>(number) : -1;
}

// Works on any system: a test runs it on a simulated machine.
template <kv::system System>
int plug(const kv::native::basic_vm<System>& vm, int number, const char* name) {
  const System& sys = vm.system_calls();
  const auto files = client::vm_files<System>::create(vm);
  if (!files) return failed(operation::create_device, files.error());
  const auto container = client::container<System>::open(sys);
  if (!container) return failed(operation::open_container, container.error());
  auto group = client::group_file<System>::open(number, sys);
  if (!group) return failed(operation::open_group, group.error());
  const int fd = group->view().fd();

  auto in_container = std::move(*group).join(*container);
  if (!in_container) return failed(operation::set_container, in_container.error(), fd);
  auto with_iommu = std::move(*in_container).set_iommu();
  if (!with_iommu) return failed(operation::set_iommu, with_iommu.error(), container->view().fd());
  auto attached = std::move(*with_iommu).attach(*files);
  if (!attached) return failed(operation::file_add, attached.error(), fd);
  const auto device = attached->open_device(name);
  if (!device) return failed(operation::get_device, device.error(), fd);
  std::printf("%s of group %d now belongs to the VM\n", name, number);
  return 0;
}

// Needs no VFIO: shows the message for a VMM that passes a wrong descriptor.
int show_an_error(const kv::native::vm& vm) {
  const auto kvm_vfio = vm.create_kvm_vfio_device();
  if (!kvm_vfio) return failed(operation::create_device, kvm_vfio.error());
  const auto attached = kvm_vfio->attach(STDOUT_FILENO);
  if (attached) return 1;
  (void)failed(operation::file_add, attached.error(), STDOUT_FILENO);
  return attached.error() == kv::errc::inval ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 1 && argc != 3) {
    std::fprintf(stderr, "usage: %s [GROUP DEVICE]\n", argv[0]);
    return 2;
  }
  const int number = argc == 3 ? group_number(argv[1]) : 0;
  if (number < 0) {
    std::fprintf(stderr, "%s: not a group number: %s\n", argv[0], argv[1]);
    return 2;
  }
  const auto kvm = kv::native::kvm::open();
  if (!kvm) {
    const int status = failed(operation::open_kvm, kvm.error());
    if (!kv::native::kvm_is_lacking(kvm.error())) return status;
    std::puts("SKIPPED: this machine has no KVM");
    return 77;
  }
  const auto vm = kvm->create_vm();
  if (!vm) return failed(operation::create_vm, vm.error());
  return argc == 3 ? plug(*vm, number, argv[2]) : show_an_error(*vm);
}
