// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The calls that a VMM can make on KVM. The kernel or the model answers them.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/process.hpp>
#include <kvm_vfio/native/vfio_file.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <list>
#include <string>

namespace compare {

namespace kv = kvm_vfio;

/// Answers calls on descriptors.
class system {
 public:
  system() = default;
  system(const system&) = delete;
  system& operator=(const system&) = delete;
  virtual ~system() = default;

  /// KVM_CREATE_VM.
  virtual kv::result<int> create_vm() = 0;
  virtual kv::errc ioctl(int fd, unsigned long request, void* argument) = 0;
  virtual kv::errc close(int fd) = 0;
  virtual kv::errc read(int fd) = 0;
  virtual kv::errc write(int fd) = 0;
  virtual kv::errc lseek(int fd) = 0;
  virtual kv::errc mmap(int fd) = 0;
  /// Returns the name of the descriptor in /proc.
  virtual std::string name_of(int fd) = 0;
};

/// Returns the name that /proc gives a descriptor of this process.
inline std::string link_of(int fd) {
  char target[64] = {};
  const std::string link = "/proc/thread-self/fd/" + std::to_string(fd);
  return ::readlink(link.c_str(), target, sizeof target - 1) < 0 ? "" : target;
}

/// The kernel, through /dev/kvm.
class kernel_system final : public system {
 public:
  explicit kernel_system(kv::native::kvm kvm) : kvm_(std::move(kvm)) {}

  kv::result<int> create_vm() override {
    kv::result<kv::native::vm> vm = kvm_.create_vm();
    if (!vm) return vm.error();
    return vm->release().fd();
  }
  kv::errc ioctl(int fd, unsigned long request, void* argument) override {
    return kv::native::host()
        .ioctl(fd, request, reinterpret_cast<std::uintptr_t>(argument))
        .error();
  }
  kv::errc close(int fd) override { return answer(::close(fd)); }
  kv::errc read(int fd) override {
    char byte = 0;
    return answer(::read(fd, &byte, 1));
  }
  kv::errc write(int fd) override { return answer(::write(fd, "x", 1)); }
  kv::errc lseek(int fd) override { return answer(::lseek(fd, 0, SEEK_SET)); }
  kv::errc mmap(int fd) override {
    void* const at = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    return answer(at == MAP_FAILED ? -1 : 0);
  }
  std::string name_of(int fd) override { return link_of(fd); }

 private:
  static kv::errc answer(long returned) noexcept {
    return returned < 0 ? kv::to_errc(errno) : kv::errc::ok;
  }
  kv::native::kvm kvm_;
};

/// A VFIO that answers only by the kind of a descriptor; the answers of calls show no more. If /sys
/// is not mounted, the kind is unknown, and no file counts as a VFIO file.
struct descriptor_symbols : kv::linked_symbols {
  using file = kv::native::file;
  using vm = int;
  bool file_is_valid(const file& f) noexcept {
    return file_is_group(f) || kv::native::vfio_kind_of(f.fd) == kv::native::vfio_file_kind::device;
  }
  bool file_is_group(const file& f) noexcept {
    return kv::native::vfio_kind_of(f.fd) == kv::native::vfio_file_kind::group;
  }
  void file_set_kvm(const file&, vm) noexcept {}
  bool file_enforced_coherent(const file&) noexcept { return true; }
};

/// The IOMMU backend of an x86 host. It does nothing.
struct silent_iommu {
  void register_noncoherent_dma(int) noexcept {}
  void unregister_noncoherent_dma(int) noexcept {}
  void start_assignment(int) noexcept {}
  void end_assignment(int) noexcept {}
};

/// The model, over the descriptors and the memory of this process.
template <class Profile>
class model_system final : public system {
  using process = kv::native::process;
  using vm = kv::vm<process, int>;
  using vfio_type = kv::vfio_device_type<vm, descriptor_symbols, kv::null_lock, silent_iommu,
                                         Profile, kv::heap_storage, kv::native::held_files>;

 public:
  model_system() {
    if (types_.register_type(kv::uapi::dev_type_vfio, vfio_type_) != kv::errc::ok) __builtin_trap();
  }
  kv::result<int> create_vm() override {
    vms_.emplace_back(types_, static_cast<int>(vms_.size()) + 1, process_);
    return process_.install(vms_.back());
  }
  kv::errc ioctl(int fd, unsigned long request, void* argument) override {
    return process_.ioctl(fd, request, reinterpret_cast<std::uintptr_t>(argument));
  }
  kv::errc close(int fd) override { return process_.close(fd); }
  kv::errc read(int fd) override { return file(fd).read(); }
  kv::errc write(int fd) override { return file(fd).write(); }
  kv::errc lseek(int fd) override { return file(fd).lseek(); }
  kv::errc mmap(int fd) override { return file(fd).mmap(); }
  std::string name_of(int fd) override { return std::string("anon_inode:") + file(fd).name(); }

 private:
  // The comparison passes only descriptors of the model.
  kv::open_file<process>& file(int fd) const {
    kv::open_file<process>* const made = process_.made(fd);
    if (!made) __builtin_trap();
    return *made;
  }

  descriptor_symbols symbols_;
  silent_iommu iommu_;
  vfio_type vfio_type_{symbols_, iommu_, Profile{}, {}, {}};
  typename vm::types types_;
  std::list<vm> vms_;
  process process_;
};

}  // namespace compare
