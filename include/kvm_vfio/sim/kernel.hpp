// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The simulated kernel: a world together with a simulated KVM. The simulated KVM has /dev/kvm, VMs
/// and their kvm-vfio devices. The model (`kvm_vfio::device`) answers for kvm-vfio. Only this
/// header of sim/ includes the model itself. The other headers of sim/ include only the model's
/// contracts.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/device_type.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/heap_storage.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu_backend.hpp>  // IWYU pragma: export
#include <kvm_vfio/sim/kvm/vm_requests.hpp>
#include <kvm_vfio/sim/linux_release.hpp>  // IWYU pragma: export
#include <kvm_vfio/sim/process.hpp>        // IWYU pragma: export
#include <kvm_vfio/sim/snapshot.hpp>       // IWYU pragma: export
#include <kvm_vfio/sim/symbols.hpp>        // IWYU pragma: export
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/file_references.hpp>
#include <kvm_vfio/sim/system/filesystem.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/topology.hpp>  // IWYU pragma: export
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/world.hpp>  // IWYU pragma: export
#include <kvm_vfio/sim/world_options.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/vfio_device_type.hpp>
#include <kvm_vfio/vm.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

/// The simulated kernel: KVM and VFIO. The kernel must outlive every process that opened a file
/// with it.
/// \tparam Profile the Linux release whose kvm-vfio is modelled, and whose VFIO is simulated
/// \tparam Iommu   the IOMMU backend of the model: `iommu`, or `kvm_spapr_tce` for POWER
template <profile Profile = linux_7_3, class Iommu = iommu>
class kernel final : public filesystem {
  using vm_model = kvm_vfio::vm<process, vm_base*, mutex>;
  using model_type =
      vfio_device_type<vm_model, symbols, mutex, Iommu, Profile, heap_storage, counted_files>;

 public:
  /// Makes a kernel without VMs, and a world of its own with the VFIO of the profile.
  /// \param machine the host. If the caller passes a `topology`, `checked_topology` checks it and
  ///                throws `invalid_topology` if it is wrong.
  /// \param options the settings of the world that are not part of the topology
  explicit kernel(const checked_topology& machine, const world_options& options = {});
  /// Makes a kernel without VMs on a world that several kernels share.
  /// \param host the world that answers for VFIO; it must outlive the kernel
  explicit kernel(world_of<Profile>& host) noexcept;
  /// Deleted: the type of the world must tell that the world has the release of this kernel. Use
  /// the constructor that takes a topology, or a `world_of<Profile>`.
  explicit kernel(sim::world&) = delete;
  kernel(const kernel&) = delete;
  kernel& operator=(const kernel&) = delete;
  ~kernel();

  /// Opens /dev/kvm, or a node of the world.
  /// \return a new open file, with one reference for the caller
  /// \par Errors
  /// - `errc::noent`, `errc::notdir`, `errc::isdir`: no node has this path
  /// - `errc::busy`: the group is open already, or one of its devices is bound to an iommufd
  result<file*> open(const char* path, int flags) override;
  [[nodiscard]] bool exact_eventfds() const noexcept override { return world_.exact_eventfds(); }

  /// The world that answers for VFIO.
  [[nodiscard]] sim::world& world() noexcept { return world_; }
  /// The state of all VMs that still have users, with the files that each of them tracks. While
  /// the list of files is copied, this function holds the lock of that VM's kvm-vfio. The world's
  /// lock is taken for each file separately.
  [[nodiscard]] std::vector<vm_state> vms();
  /// The VM with a number. VMs are numbered from 0 in the order of their creation, and a destroyed
  /// VM keeps its number.
  /// \pre a VM with this number was created. It lives, or it is one of the 64 VMs that were created
  ///      last: the kernel forgets older ones after their destruction.
  [[nodiscard]] const vm_base& vm(std::size_t number);
  /// The state of all VMs and of the world. This function reads the VMs first, one after the other,
  /// and then the world. Calls of other threads can change the state in between.
  [[nodiscard]] snapshot look() { return snapshot_of(world_, vms()); }
  /// Marks a VM as dead, as the kernel does after an internal error. Every later ioctl on the VM
  /// and on its devices fails with `errc::io`.
  /// \pre as for `vm`
  void kill(std::size_t number);

 private:
  // The kernel runs on `host`, or on its own world if `host` is null.
  kernel(std::unique_ptr<sim::world> own, sim::world* host) noexcept;
  // They stand before the public members, because the constructors of those need the world.
  std::unique_ptr<sim::world> own_;  // null: the world is shared
  sim::world& world_;

 public:
  /// The VFIO functions that kvm-vfio calls.
  symbols vfio;
  /// The part of KVM that kvm-vfio calls for noncoherent DMA and for TCE tables.
  Iommu arch;

 private:
  class vm_record final : public vm_base {
   public:
    vm_record(const typename vm_model::types& types, process& creator, std::size_t of,
              const linux_release& release)
        : vm_base("vm" + std::to_string(of)),
          number(of),
          model(types, this, creator),
          requests(release) {}
    void get() noexcept override { model.get(); }
    void put() noexcept override { model.put(); }
    [[nodiscard]] int users() const noexcept override { return model.users(); }
    const std::size_t number;  // how many VMs were created before
    vm_model model;
    vm_requests requests;  // the memory slots, irqfds and ioeventfds
    mutex looking;         // guards `device`; taken before the lock of the kvm-vfio itself
    typename device_type<vm_model>::operations* device = nullptr;
  };

  // The device type of the model. It also remembers the kvm-vfio of each VM, for `vms()`.
  class watched_type final : public device_type<vm_model> {
   public:
    using operations = typename device_type<vm_model>::operations;
    explicit watched_type(kernel& owner) noexcept : kernel_(owner) {}
    [[nodiscard]] const char* name() const noexcept override { return kernel_.model_.name(); }
    [[nodiscard]] result<operations*> create(vm_model& vm) noexcept override {
      if (vm.has(*this)) return errc::busy;
      const result<operations*> made = kernel_.model_.create(vm);
      if (made) {
        auto& g = static_cast<vm_record&>(*vm.self());
        const guard held(g.looking);
        g.device = *made;
      }
      return made;
    }
    void release(operations& device) noexcept override {
      {
        auto& g = static_cast<vm_record&>(*model_type::model(device).vm());
        const guard held(g.looking);
        g.device = nullptr;
      }
      kernel_.model_.release(device);
    }

   private:
    kernel& kernel_;
  };

  class vm_file final : public file {
   public:
    vm_file(kernel& owner, vm_record& vm) noexcept
        : file(file_kind::kvm), kernel_(owner), vm_(vm) {}
    [[nodiscard]] const char* name() const noexcept override { return "kvm-vm"; }
    answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override {
      if (vm_.model.answers(task)) {
        if (request == KVM_CHECK_EXTENSION)
          return kvm_extension(argument, kernel_.world_.release());
        if (vm_requests::knows(request)) return vm_.requests.ioctl(task, request, argument);
        if constexpr (requires { &Iommu::make_table; })
          if (Iommu::makes_table(request)) return make_table(kernel_.arch, task, request, argument);
      }
      return to_answer(vm_.model.ioctl(task, request, argument));
    }
    answer pread(void*, std::size_t, std::uint64_t) override { return errc::spipe; }
    answer pwrite(const void*, std::size_t, std::uint64_t) override { return errc::spipe; }

   private:
    void release() noexcept override {
      vm_.requests.end_irqfds();
      vm_.model.release();
    }
    // A template, because not every IOMMU backend has tables.
    template <class Tables>
    answer make_table(Tables& tables, process& task, std::uint32_t request,
                      std::uint64_t argument) {
      const result<file*> made = tables.make_table(vm_, task, request, argument);
      return made ? task.insert(file_ref(*made)) : answer(made.error());
    }
    kernel& kernel_;
    vm_record& vm_;
  };

  class kvm_file final : public file {
   public:
    explicit kvm_file(kernel& owner) noexcept : file(file_kind::kvm), kernel_(owner) {}
    [[nodiscard]] const char* name() const noexcept override { return "/dev/kvm"; }
    answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override {
      switch (request) {
        case KVM_GET_API_VERSION: return argument ? answer(errc::inval) : answer(KVM_API_VERSION);
        case KVM_CHECK_EXTENSION: return kvm_extension(argument, kernel_.world_.release());
        case KVM_GET_VCPU_MMAP_SIZE: return argument ? answer(errc::inval) : vcpu_mmap_size;
        case KVM_CREATE_VM: return argument ? answer(errc::inval) : make_vm(task);
        default: return errc::inval;
      }
    }

   private:
    answer make_vm(process& task) {
      file_ref made(kernel_.make_vm(task));
      return made ? task.insert(std::move(made)) : answer(errc::nomem);
    }
    kernel& kernel_;
  };

  // Null: there is no memory.
  file* make_vm(process& creator) {
    const guard held(lock_);
    if (vms_.size() >= most_vms_) forget_old_vms();
    vms_.push_back(std::make_unique<vm_record>(types_, creator, next_vm_, world_.release()));
    auto* const f = new (std::nothrow) vm_file(*this, *vms_.back());
    if (f) ++next_vm_;
    else vms_.pop_back();
    return f;
  }
  // Deletes destroyed VMs, but not the last ones, and not those that the world still knows.
  void forget_old_vms();
  [[nodiscard]] vm_record& record(std::size_t number) const;
  // While an object of this class exists, no VM is deleted.
  class looker {
   public:
    explicit looker(kernel& owner) noexcept : kernel_(owner) {
      const guard held(kernel_.lock_);
      ++kernel_.lookers_;
    }
    looker(const looker&) = delete;
    looker& operator=(const looker&) = delete;
    ~looker() {
      const guard held(kernel_.lock_);
      --kernel_.lookers_;
    }

   private:
    kernel& kernel_;
  };
  // The files that the kvm-vfio of a VM tracks. A file may be closed while it is in this list, but
  // its object stays in memory.
  class tracked_files {
   public:
    explicit tracked_files(vm_record& vm) {
      while (!copy(vm)) all_.resize(tracked_ + tracked_ / 8);
      all_.resize(tracked_);
    }
    tracked_files(const tracked_files&) = delete;
    tracked_files& operator=(const tracked_files&) = delete;
    ~tracked_files() { give_back(); }
    [[nodiscard]] bool has_device() const noexcept { return has_device_; }
    [[nodiscard]] const std::vector<file*>& all() const noexcept { return all_; }

   private:
    // False: there was not enough room for all files, and no reference is held.
    bool copy(vm_record& vm) noexcept {
      {
        const guard held(vm.looking);
        has_device_ = vm.device != nullptr;
        tracked_ =
            has_device_
                ? *model_type::model(*vm.device).snapshot(all_.data(), all_.size(), references_)
                : 0;
      }
      if (tracked_ <= all_.size()) return true;
      give_back();
      return false;
    }
    void give_back() noexcept {
      for (file* const f : all_) references_.fput(f);
    }
    watched_files references_;
    bool has_device_ = false;
    std::size_t tracked_ = 0;
    std::vector<file*> all_;
  };
  vm_state state_of_vm(vm_record& vm) {
    const tracked_files files(vm);
    vm_state s{vm.name(), vm.users(), vm.noncoherent(), vm.assigned(), files.has_device(), {}};
    for (const auto& [number, m] : vm.requests.memory())
      s.memory.push_back({number, m.flags, m.guest, m.size, m.address});
    s.irqfds = vm.requests.irqfds();
    s.ioeventfds = static_cast<int>(vm.requests.ioeventfds());
    s.tracked.reserve(files.all().size());
    for (file* const f : files.all()) s.tracked.push_back(state_of(world_, *f));
    return s;
  }

  mutex lock_;  // guards vms_ and the members behind it
  watched_type devices_;
  model_type model_;
  typename vm_model::types types_;
  static constexpr std::size_t kept_vms = 64;
  std::vector<std::unique_ptr<vm_record>> vms_;  // in the order of the numbers
  std::size_t next_vm_ = 0;
  std::size_t most_vms_ = 2 * kept_vms;  // with so many, old ones are deleted
  std::size_t lookers_ = 0;
};

// A program that links the compiled simulator does not compile the functions outside of the class.

template <profile Profile, class Iommu>
kernel<Profile, Iommu>::kernel(const checked_topology& machine, const world_options& options)
    : kernel(std::make_unique<world_of<Profile>>(machine, options), nullptr) {}

template <profile Profile, class Iommu>
kernel<Profile, Iommu>::kernel(world_of<Profile>& host) noexcept : kernel(nullptr, &host) {}

template <profile Profile, class Iommu>
kernel<Profile, Iommu>::kernel(std::unique_ptr<sim::world> own, sim::world* host) noexcept
    : own_(std::move(own)),
      world_(host ? *host : *own_),
      vfio(world_),
      arch(world_),
      devices_(*this),
      model_(vfio, arch, Profile{}, {}, {}) {
  (void)types_.register_type(kvm_vfio::uapi::dev_type_vfio, devices_);
}

template <profile Profile, class Iommu>
kernel<Profile, Iommu>::~kernel() {
  // Without the module of VFIO a kvm-vfio cannot take its VM from the files that it tracked.
  world_.unmap_files(/*of_kvm=*/!own_);
  if (own_) return;
  for (const auto& vm : vms_) world_.forget(*vm);
}

template <profile Profile, class Iommu>
result<file*> kernel<Profile, Iommu>::open(const char* path, int flags) {
  if (path && std::string_view(path) == "/dev/kvm") return static_cast<file*>(new kvm_file(*this));
  if (path && std::string_view(path).starts_with("/dev/kvm/")) return errc::notdir;
  return world_.open(path, flags);
}

template <profile Profile, class Iommu>
std::vector<vm_state> kernel<Profile, Iommu>::vms() {
  const looker looking(*this);
  std::vector<vm_record*> all;
  {
    const guard held(lock_);
    for (const auto& g : vms_) all.push_back(g.get());
  }
  std::vector<vm_state> out;
  for (vm_record* const g : all)
    if (g->users() > 0) out.push_back(state_of_vm(*g));
  return out;
}

template <profile Profile, class Iommu>
void kernel<Profile, Iommu>::forget_old_vms() {
  if (lookers_ == 0)  // the last user of a VM does nothing with it after the count is 0
    std::erase_if(vms_, [this](const std::unique_ptr<vm_record>& vm) {
      return vm->number + kept_vms < next_vm_ && vm->users() == 0 && !world_.knows(*vm);
    });
  most_vms_ = 2 * (vms_.size() + kept_vms);
}

template <profile Profile, class Iommu>
auto kernel<Profile, Iommu>::record(std::size_t number) const -> vm_record& {
  std::size_t at = 0;
  while (at < vms_.size() && vms_[at]->number != number) ++at;
  return *vms_.at(at);
}

template <profile Profile, class Iommu>
const vm_base& kernel<Profile, Iommu>::vm(std::size_t number) {
  const guard held(lock_);
  return record(number);
}

template <profile Profile, class Iommu>
void kernel<Profile, Iommu>::kill(std::size_t number) {
  const guard held(lock_);
  record(number).model.kill();
}

}  // namespace kvm_vfio::sim
#ifdef KVM_VFIO_COMPILED
// src/kernel.cpp instantiates these kernels. A kernel with a profile or a backend of your own is
// compiled where it is used.
namespace kvm_vfio::sim {

extern template class kernel<linux_6_1>;
extern template class kernel<linux_6_12>;
extern template class kernel<linux_7_3>;
extern template class kernel<linux_6_1, kvm_spapr_tce>;
extern template class kernel<linux_6_12, kvm_spapr_tce>;
extern template class kernel<linux_7_3, kvm_spapr_tce>;

}  // namespace kvm_vfio::sim
#endif
