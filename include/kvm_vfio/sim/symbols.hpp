// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The world as `kvm_vfio::device` sees it: the VFIO symbol provider and the IOMMU backends.

#include <kvm_vfio/sim/world.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// Why a file's DMA is enforced coherent, or is not.
struct coherency_answer {
  /// The answer, and the reason in words.
  bool coherent = true;
  const char* why = "";
};

/// vfio_file_enforced_coherent. With the world's lock held.
[[nodiscard]] inline coherency_answer coherency_of(const generation& release, file& f) noexcept {
  if (const vfio_group* const g = f.as_group()) {
    if (release.coherency_of_container) {
      if (!g->in) return {true, "no container: nobody can tell yet"};
      if (!g->in->driver()) return {false, "its container has no IOMMU"};
      return g->in->has(VFIO_DMA_CC_IOMMU)
                 ? coherency_answer{true, "every domain of its container enforces coherency"}
                 : coherency_answer{false, "a domain of its container does not enforce coherency"};
    }
    return g->can_enforce_coherency()
               ? coherency_answer{true, "every device of the group can be enforced coherent"}
               : coherency_answer{false, "a device of the group cannot be enforced coherent"};
  }
  if (const device_file* const d = f.as_device()) {
    return d->device().group().enforces_coherency(d->device())
               ? coherency_answer{true, "the device can be enforced coherent"}
               : coherency_answer{false, "the device cannot be enforced coherent"};
  }
  return {true, "not a VFIO file"};
}

/// VFIO's functions over a world, with a coherency epoch. On Linux 6.1 whatever happens to a
/// container begins one. Later a file's answer lies in the topology, which stands: only VFIO's
/// module begins one, when it goes or comes.
class symbols {
 public:
  using file = sim::file*;
  using vm = machine*;
  using iommu_group = vfio_group*;

  /// `of` must outlive it.
  explicit symbols(world& of) noexcept : world_(of) {}

  /// VFIO's module goes and comes: while it is away every symbol is missing.
  void load(bool loaded) noexcept {
    std::uint64_t was = loads();
    while (is_loaded(was) != loaded &&
           !__atomic_compare_exchange_n(&loads_, &was, was + 1, true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
    }
  }

  bool symbol_get(symbol) noexcept { return is_loaded(loads()); }
  void symbol_put(symbol) noexcept {}
  bool file_is_valid(const file& f) noexcept { return f->as_group() || f->as_device(); }
  bool file_is_group(const file& f) noexcept { return f->as_group() != nullptr; }
  void file_set_kvm(const file& f, const vm& to) noexcept {
    const guard held(world_.lock());
    if (vfio_group* const g = f->as_group()) g->vm = to;
    else if (device_file* const d = f->as_device()) d->vm = to;
  }
  bool file_enforced_coherent(const file& f) noexcept {
    const guard held(world_.lock());
    return coherency_of(world_.release(), *f).coherent;
  }
  std::uint64_t coherency_epoch() noexcept {
    // Neither ever falls, so their sum never comes back.
    return loads() + (world_.release().coherency_of_container ? world_.container_changes() : 0);
  }
  iommu_group file_iommu_group(const file& f) noexcept {
    const guard held(world_.lock());
    vfio_group* const g = f->as_group();
    if (g) ++g->references;
    return g;
  }

 private:
  world& world_;
  static bool is_loaded(std::uint64_t loads) noexcept { return loads % 2 == 0; }
  [[nodiscard]] std::uint64_t loads() const noexcept {
    return __atomic_load_n(&loads_, __ATOMIC_ACQUIRE);
  }
  // How often the module went or came. Whether it is there and the epoch are one word, so that
  // nobody sees the one without the other.
  alignas(8) std::uint64_t loads_ = 0;
};
static_assert(group_symbol_provider<symbols> && spapr_symbol_provider<symbols> &&
              epoch_symbol_provider<symbols>);

/// What KVM does about noncoherent devices: it counts, in the VM.
class iommu {
 public:
  /// Counts in the VMs themselves.
  explicit iommu(world&) noexcept {}
  void register_noncoherent_dma(machine* const& vm) noexcept { vm->add_noncoherent(1); }
  void unregister_noncoherent_dma(machine* const& vm) noexcept { vm->add_noncoherent(-1); }
  void start_assignment(machine* const& vm) noexcept { vm->add_assigned(1); }
  void end_assignment(machine* const& vm) noexcept { vm->add_assigned(-1); }
};
static_assert(assignment_backend<iommu, machine*> && !spapr_backend<iommu, machine*>);

/// The same on POWER.
class spapr_iommu : public iommu {
 public:
  using iommu_group = vfio_group*;
  /// Without tables; `of` must outlive it.
  explicit spapr_iommu(world& of) noexcept : iommu(of), world_(of), tables_{.lock = of.lock()} {}

  /// A new table of a VM (KVM_CREATE_SPAPR_TCE_64), with a reference for the caller.
  [[nodiscard]] file* make_table(const machine& vm, const tce_window& window) {
    return new tce_table(tables_, vm, window);
  }

  /// The descriptor is the calling task's.
  [[nodiscard]] errc spapr_tce_attach(machine* const& vm, int tablefd,
                                      vfio_group* const& group) noexcept {
    if (!current_process) return errc::badf;
    const result<file*> f = current_process->fget(tablefd);
    if (!f) return f.error();
    const file_ref held(*f);
    if (held->kind() != file_kind::tce_table) return errc::inval;
    auto* const table = static_cast<tce_table*>(held.get());
    const guard locked(world_.lock());
    return table->attach(*vm, *group);
  }
  void spapr_tce_release(machine* const& vm, vfio_group* const& group) noexcept {
    const guard held(world_.lock());
    for (tce_table* t : tables_.all) t->detach(*vm, *group);
  }
  void iommu_group_put(vfio_group* const& group) noexcept {
    const guard held(world_.lock());
    --group->references;
  }
  void warn(spapr_warning which) noexcept {
    const guard held(world_.lock());
    ++warnings_[static_cast<unsigned>(which)];
  }
  /// How often the kernel would have warned; it prints each warning once.
  [[nodiscard]] int warnings(spapr_warning which) const noexcept {
    return warnings_[static_cast<unsigned>(which)];
  }

 private:
  world& world_;
  tce_tables tables_;
  int warnings_[2] = {};
};
static_assert(spapr_backend<spapr_iommu, machine*>);

}  // namespace kvm_vfio::sim
