// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The model of kvm-vfio as a system whose threads the explorer of schedules runs. The files of
/// VFIO are mocks: a group that can be opened once at a time, and containers that say yes.

#include "player.hpp"
#include "race.hpp"

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/ids.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/recording_iommu.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>
#include <kvm_vfio/testing/schedules/device_rules.hpp>
#include <kvm_vfio/testing/schedules/scheduled_lock.hpp>
#include <kvm_vfio/testing/schedules/scheduled_policies.hpp>
#include <kvm_vfio/testing/schedules/scheduler.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

#include "support/own_memory.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace races {

namespace kv = kvm_vfio;
namespace kt = kvm_vfio::testing;

/// The task whose threads make calls, and its descriptors.
class model_task : public support::own_memory {
 public:
  model_task() = default;
  model_task(const model_task&) = delete;
  model_task& operator=(const model_task&) = delete;
  virtual ~model_task() = default;

  // The calls of the task.
  kv::result<int> open(std::string_view path) noexcept {
    if (path == "/dev/kvm") return install({.what = kind::kvm});
    if (path == "/dev/vfio/vfio") return install({.what = kind::container});
    kt::announce({kt::access_kind::write, &group_, 0, "open group"});
    if (group_ != kt::file_id{} && rules_.references(group_) > 0) return kv::errc::busy;
    group_ = vfio_.make({.kind = kt::file_kind::group, .coherent = false, .iommu_group = {}});
    rules_.opened(group_);
    return install({.what = kind::group, .group = group_});
  }
  kv::errc close(int fd) noexcept {
    use_table(kt::access_kind::write, "close");
    file* const f = at(fd);
    if (!f) return kv::errc::badf;
    table_[static_cast<std::size_t>(fd)] = nullptr;
    if (f->what == kind::group) files_.close(f->group);
    else put(*f);
    return kv::errc::ok;
  }
  kv::result<int> ioctl(int fd, unsigned long request, std::uintptr_t argument) noexcept {
    file* const f = held(fd);
    if (!f) return kv::errc::badf;
    if (f->what == kind::kvm) return install({.what = kind::made, .made = &make_vm()});
    if (f->what != kind::made) return 0;
    const kv::errc e = f->made->ioctl(*this, request, argument);
    put(*f);
    if (e != kv::errc::ok) return e;
    return 0;
  }

  // What the model asks of a task.
  using address_space_id = int;
  [[nodiscard]] int address_space() const noexcept { return 1; }
  kv::result<int> install(kv::open_file<model_task>& made) noexcept {
    return install({.what = kind::made, .made = &made});
  }
  kv::result<kt::file_id> fget(int fd) noexcept {
    use_table(kt::access_kind::read, "fget");
    const file* const f = at(fd);
    if (!f) return kv::errc::badf;
    if (f->what != kind::group) return kt::file_id{};
    rules_.get(f->group);
    return f->group;
  }

 protected:
  using rules = kt::device_rules<kt::file_id, kt::vm_id>;
  using symbols = kt::scheduled_symbols<kt::recording_symbols>;
  using files_of = kt::scheduled_files<kt::file_id, kt::vm_id>;

  // Makes a VM. Its descriptor is a user.
  virtual kv::open_file<model_task>& make_vm() noexcept = 0;

  kt::journal log_;
  rules rules_;
  symbols vfio_{rules_, log_};
  files_of files_{rules_};

 private:
  enum class kind : unsigned char { kvm, container, group, made };
  struct file {
    kind what;
    kv::open_file<model_task>* made = nullptr;
    kt::file_id group{};
    int references = 1;
  };

  // Takes a reference on the file of a descriptor. As in the kernel, the look-up then looks again
  // whether the descriptor still has this file. If it does not, the file is released now.
  file* held(int fd) noexcept {
    for (;;) {
      use_table(kt::access_kind::read, "fdget");
      file* const f = at(fd);
      if (!f || f->what != kind::made) return f;
      ++f->references;
      use_table(kt::access_kind::read, "look again");
      if (at(fd) == f) return f;
      put(*f);
    }
  }
  void use_table(kt::access_kind how, const char* what) noexcept {
    kt::announce({how, &table_, 0, what});
  }
  [[nodiscard]] file* at(int fd) const noexcept {
    if (fd < 0 || static_cast<std::size_t>(fd) >= table_.size()) return nullptr;
    return table_[static_cast<std::size_t>(fd)];
  }
  kv::result<int> install(const file& f) noexcept {
    use_table(kt::access_kind::write, "install");
    std::size_t fd = 0;
    while (fd < table_.size() && table_[fd]) ++fd;
    if (fd == table_.size()) return kv::errc::mfile;
    table_[fd] = all_.emplace_back(std::make_unique<file>(f)).get();
    return static_cast<int>(fd);
  }
  void put(file& f) noexcept {
    kt::announce({kt::access_kind::write, &f, 0, "put"});
    if (--f.references == 0 && f.what == kind::made) f.made->release();
  }

  kt::file_id group_{};  // the open file of the group that was made last
  std::vector<std::unique_ptr<file>> all_;
  std::array<file*, 16> table_{};
};

/// A kernel with the model of kvm-vfio.
template <class Profile>
class model final : public model_task {
 public:
  model() { static_cast<void>(types_.register_type(KVM_DEV_TYPE_VFIO, type_)); }

  /// Returns how often noncoherent DMA was registered, and unregistered.
  [[nodiscard]] std::array<int, 2> registrations() const {
    return {static_cast<int>(log_.count(kt::call::register_noncoherent)),
            static_cast<int>(log_.count(kt::call::unregister_noncoherent))};
  }

 private:
  using iommu_of = kt::scheduled_iommu<kt::recording_iommu, rules>;
  using vm_of = kv::vm<model_task, kt::vm_id, kt::scheduled_lock>;
  using type_of = kv::vfio_device_type<vm_of, symbols, kt::scheduled_lock, iommu_of, Profile,
                                       kv::heap_storage, files_of>;

  kv::open_file<model_task>& make_vm() noexcept override {
    const kt::vm_id self{static_cast<int>(vms_.size()) + 1};
    return *vms_.emplace_back(std::make_unique<vm_of>(types_, self, *this));
  }

  iommu_of iommu_{rules_, log_};
  kv::device_type_table<vm_of> types_;
  type_of type_{vfio_, iommu_, Profile{}, kv::heap_storage{}, files_};
  std::vector<std::unique_ptr<vm_of>> vms_;
};

/// A handle of a model, for `player`.
template <class Profile>
struct model_ref {
  model<Profile>* of;
  kv::result<int> open(const char* path, int) const noexcept { return of->open(path); }
  kv::errc close(int fd) const noexcept { return of->close(fd); }
  kv::result<int> ioctl(int fd, unsigned long request, std::uintptr_t argument) const noexcept {
    return of->ioctl(fd, request, argument);
  }
  kv::result<int> eventfd() const noexcept { return kv::errc::mfile; }
  // Announces that the thread reads, or changes, which descriptor has a name.
  void name(const void* player, slot s, bool changes) const noexcept {
    kt::announce({changes ? kt::access_kind::write : kt::access_kind::read, player,
                  static_cast<std::uint64_t>(s), "a name"});
  }
};

/// A race of so many threads on the model, for `explore`. Each run adds its outcome to a set.
template <class Profile, int Threads>
class model_race {
 public:
  static constexpr int threads = Threads;

  model_race(const race& r, const target& t, bool counted, outcomes& ends)
      : race_(r),
        counted_(counted),
        ends_(ends),
        answers_(r.threads.size()),
        player_({&kernel_}, t) {
    player_.must(r, r.before);
    player_.must(r, r.setup);
    first_ = kernel_.registrations();
  }
  void run(int thread) noexcept {
    const auto t = static_cast<std::size_t>(thread);
    for (const op& o : race_.threads[t]) {
      answers_[t].push_back(player_.run(o));
    }
  }
  static const char* check() noexcept { return nullptr; }
  const char* finish() noexcept {
    outcome end;
    for (const outcome& a : answers_) end.insert(end.end(), a.begin(), a.end());
    for (const op& o : race_.probe) end.push_back(player_.run(o));
    const std::array<int, 2> now = kernel_.registrations();
    for (std::size_t i = 0; counted_ && i < now.size(); ++i) end.push_back(now[i] - first_[i]);
    ends_.insert(end);
    return nullptr;
  }

 private:
  const race& race_;
  bool counted_;
  outcomes& ends_;
  std::array<int, 2> first_{};
  std::vector<outcome> answers_;
  model<Profile> kernel_;
  player<model_ref<Profile>> player_;
};

}  // namespace races
