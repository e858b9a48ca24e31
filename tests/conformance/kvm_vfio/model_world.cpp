// SPDX-License-Identifier: BSL-1.0
#include "model_world.hpp"

#include "tce_tables.hpp"

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/counting_lock.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/process.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <list>
#include <map>
#include <optional>

namespace conformance {

namespace {

// Addresses of the mock process. Readable memory ends at `end`.
constexpr std::uint64_t page = 4096, outer_at = 0x10000, inner_at = 0x11000, end = 0x12000,
                        read_only_at = 0x20000, hole = 0x30000;
constexpr std::uint64_t read_only_inner_at = read_only_at + 0x800;

constexpr int sentinel = 0x5ead;

struct slot {
  int fd = -1;
  kt::file_id file;
  bool is_group = false;
  int group = -1;
  container with{};
  int tracked = 0;  ///< files, if it is a device
};

/// \tparam Iommu plain, or with TCE tables
template <class Profile, class Iommu>
class model final : public observed_world {
  using storage = kt::failing_storage<>;
  using files_policy = kt::open_files::policy;
  using vm_model = kv::vm<kt::process, kt::vm_id, kv::null_lock, storage>;
  using vfio_type = kv::vfio_device_type<vm_model, kt::recording_symbols, kt::counting_lock&, Iommu,
                                         Profile, storage, files_policy>;

 public:
  model(const machine& m, const vfio_facts& facts) : machine_(m), facts_(facts) {
    if (types_.register_type(kv::uapi::dev_type_vfio, type_) != kv::errc::ok) __builtin_trap();
    task_.memory.map(outer_at, static_cast<std::size_t>(end - outer_at));
    task_.memory.map(read_only_at, page, kt::access::read);
    null_device_ = task_.open(kt::file_id{-1000});
    o_path_ = task_.open_path(kt::file_id{-1001});
    container_ = task_.open(kt::file_id{-1002});
    if constexpr (kv::spapr_backend<Iommu, kt::vm_id>) {
      iommu_.open_descriptors = [this](int fd) {
        return task_.file_of(fd) != kt::file_id{} && fd != o_path_;
      };
    }
  }
  ~model() override {
    for (slot& s : devices_) close(s.fd);
    for (const int fd : leaked_) (void)task_.close(fd);
    for (slot& s : slots_) close(s.fd);
    for (const group_hold& h : group_holds_) (void)task_.close(h.group_fd);
    for (vm_slot& v : vms_) close(v.fd);
  }

  outcome run(const operation& o) override {
    log_.clear();
    const outcome result = dispatch(o);
    drop_group_holds();
    return result;
  }
  call_list calls(bool with_locks) override {
    return chosen([=](kt::call c) {
      return kt::crosses_boundary(c) ||
             (with_locks && (c == kt::call::lock || c == kt::call::unlock));
    });
  }
  call_list references(bool looked_up_counts) override {
    call_list all = chosen([](kt::call c) { return c == kt::call::fget || c == kt::call::fput; });
    for (kt::event& e : all) e.value = 0;
    if (looked_up_counts || all.empty()) return all;
    // The first is the looked-up reference, the last gives it back; a look-up may have failed.
    if (all.front().file) all.pop_back();
    all.erase(all.begin());
    return all;
  }
  bool is_live(kt::file_id f) override { return files_.references(f) > 0; }
  bool is_live(kt::vm_id v) override {
    for (const vm_model& vm : all_vms_)
      if (vm.self() == v) return vm.users() > 0;
    return false;
  }
  std::string unbalanced() override {
    std::string text;
    const auto expect_zero = [&text](const char* what, int n) {
      if (n != 0) text += std::string(what) + ": " + std::to_string(n) + "; ";
    };
    for (int s = 0; s < kv::symbol_count; ++s)
      expect_zero(name(static_cast<kv::symbol>(s)), vfio_.held(static_cast<kv::symbol>(s)));
    int live = 0;
    for (const vm_model& vm : all_vms_) live += vm.users();
    for (const vm_slot& v : vms_) live -= v.fd >= 0;
    for (const slot& d : devices_) live -= d.fd >= 0;
    expect_zero("VM references", live - static_cast<int>(leaked_.size()));
    expect_zero("lock misused", lock_.misused());
    expect_zero("lock held", lock_.held());
    // Who refers to a file: a descriptor, or a device that tracks it.
    int expected = static_cast<int>(task_.descriptors());
    for (const slot& d : devices_) expected += d.tracked;
    expect_zero("file references too many", files_.references() - expected);
    if (all_closed()) {
      expect_zero("noncoherent registrations", iommu_.registered());
      expect_zero("assignments", iommu_.assigned());
    }
    return text;
  }

 private:
  struct vm_slot {
    int fd = -1;
    vm_model* vm = nullptr;
  };

  template <class Predicate>
  call_list chosen(Predicate wanted) const {
    call_list some;
    for (const kt::event& e : log_.all())
      if (wanted(e.what)) some.push_back(e);
    return some;
  }

  static outcome nothing() { return {}; }
  static outcome answer(kv::errc e, int detail = 0) { return {true, e, detail}; }

  void close(int& fd) {
    if (fd >= 0) (void)task_.close(fd);
    fd = -1;
  }
  bool all_closed() const {
    for (const slot& s : slots_)
      if (s.fd >= 0) return false;
    for (const slot& d : devices_)
      if (d.fd >= 0) return false;
    for (const vm_slot& v : vms_)
      if (v.fd >= 0) return false;
    for (const int fd : tables_)
      if (fd >= 0) return false;
    return leaked_.empty();
  }
  // A device file keeps its group open.
  void drop_group_holds() {
    for (auto i = group_holds_.begin(); i != group_holds_.end();) {
      if (files_.references(i->device) > 0) {
        ++i;
        continue;
      }
      (void)task_.close(i->group_fd);
      i = group_holds_.erase(i);
    }
  }

  static std::uint64_t address(place p, std::uint64_t good, std::uint64_t read_only,
                               std::uint64_t size) {
    switch (p) {
      case place::value:
      case place::tight:
      case place::good: return good;
      case place::null: return 0;
      case place::unmapped: return hole;
      case place::read_only: return read_only;
      case place::straddling: return end - size / 2;
      case place::high: break;
    }
    return ~std::uint64_t{0} - 7;
  }
  template <class T>
  std::uint64_t put(place p, const T& object, std::uint64_t good, std::uint64_t read_only) {
    const std::uint64_t at = address(p, good, read_only, sizeof(T));
    if (p == place::good || p == place::read_only) task_.memory.poke(at, object);
    return at;
  }

  int descriptor_of(target t, const operation& o) {
    switch (t) {
      case target::slot: return slots_[o.slot].fd;
      case target::vm: return vms_[o.vm].fd;
      case target::device: return devices_[o.device].fd;
      case target::table: return tables_[o.table];
      case target::null_device: return null_device_;
      case target::o_path: return o_path_;
      case target::container: return container_;
      case target::minus_one: return -1;
      case target::closed: break;
    }
    return 9999;
  }

  kv::errc ioctl(const operation& o, int fd, std::uint64_t request, std::uint64_t argument) {
    if (!o.in_child) return task_.ioctl(fd, request, argument);
    kt::process child(files_, log_, &plan_, 2);
    task_.fork_into(child);
    return child.ioctl(fd, request, argument);
  }

  outcome dispatch(const operation& o) {
    switch (o.what) {
      case verb::create_vm: return create_vm(o);
      case verb::close_vm: return close_slot(vms_[o.vm].fd);
      case verb::create_device: return create_device(o);
      case verb::close_device:
        devices_[o.device].tracked = 0;
        return close_slot(devices_[o.device].fd);
      case verb::close_leaked: return close_leaked();
      case verb::set_attr:
      case verb::has_attr:
      case verb::get_attr: return attribute(o);
      case verb::device_ioctl:
        return on_device(o, [&](int fd) { return ioctl(o, fd, o.number, 0); });
      case verb::vm_ioctl:
        return vms_[o.vm].fd < 0 ? nothing() : answer(ioctl(o, vms_[o.vm].fd, o.number, 0));
      case verb::read: return on_device(o, [this](int fd) { return task_.read(fd); });
      case verb::write: return on_device(o, [this](int fd) { return task_.write(fd); });
      case verb::lseek: return on_device(o, [this](int fd) { return task_.lseek(fd); });
      case verb::mmap: return on_device(o, [this](int fd) { return task_.mmap(fd); });
      case verb::open_group: return open_group(o);
      case verb::open_device: return open_device(o);
      case verb::open_cdev: return open_cdev(o);
      case verb::dup_file: return dup_file(o);
      case verb::close_file: return close_slot(slots_[o.slot].fd);
      case verb::create_table: return create_table(o);
      case verb::close_table: return close_table(o);
    }
    return nothing();
  }

  template <class Call>
  outcome on_device(const operation& o, Call call) {
    const int fd = devices_[o.device].fd;
    return fd < 0 ? nothing() : answer(call(fd));
  }
  outcome close_slot(int& fd) {
    if (fd < 0) return nothing();
    const kv::errc e = task_.close(fd);
    fd = -1;
    return answer(e);
  }

  outcome create_vm(const operation& o) {
    vm_slot& v = vms_[o.vm];
    if (v.fd >= 0) return nothing();
    all_vms_.emplace_back(types_, kt::vm_id{++vm_count_}, task_, storage(plan_));
    v.vm = &all_vms_.back();
    v.fd = task_.open(*v.vm);
    return answer(kv::errc::ok);
  }

  outcome create_device(const operation& o) {
    const vm_slot& v = vms_[o.vm];
    slot& d = devices_[o.device];
    if (v.fd < 0 || d.fd >= 0) return nothing();
    const kvm_create_device create{.type = o.number, .fd = sentinel, .flags = o.flags};
    const std::uint64_t at = put(o.outer, create, outer_at, read_only_at);
    if (o.no_descriptors) task_.limit(0);
    if (o.fail_nth) order_fault(o.fail_nth);
    const std::size_t before = task_.descriptors();
    const kv::errc e = ioctl(o, v.fd, KVM_CREATE_DEVICE, at);
    task_.limit(1024);
    const bool struck = plan_.struck() != struck_before_;
    plan_.clear();
    struck_before_ = plan_.struck();
    int detail = o.fail_nth ? (struck ? 0 : 4) : 0;
    if (o.outer == place::good) {
      const auto written = task_.memory.peek<kvm_create_device>(outer_at);
      if (written.fd != sentinel) {
        detail += 1;
        d.fd = static_cast<int>(written.fd);
      }
    } else if (task_.descriptors() > before) {
      // The device is there, but nobody was told its descriptor.
      detail += 2;
      leaked_.push_back(newest_device());
    }
    return answer(e, detail);
  }
  // The kernel allocates the device, its state, and twice for the descriptor.
  void order_fault(int nth) {
    struck_before_ = plan_.struck();
    if (nth <= 2) plan_.fail(kt::fault::allocate, nth, kv::errc::nomem);
    else plan_.fail(kt::fault::install, 1, kv::errc::nomem);
  }
  int newest_device() {
    for (int fd = 0;; ++fd) {
      const char* const name = task_.name_of(fd);
      if (!name || std::string(name) != "kvm-vfio") continue;
      bool known = false;
      for (const slot& d : devices_) known = known || d.fd == fd;
      for (const int l : leaked_) known = known || l == fd;
      if (!known) return fd;
    }
  }
  outcome close_leaked() {
    if (leaked_.empty()) return nothing();
    for (const int fd : leaked_) (void)task_.close(fd);
    leaked_.clear();
    return answer(kv::errc::ok);
  }

  outcome attribute(const operation& o) {
    const slot& d = devices_[o.device];
    if (d.fd < 0) return nothing();
    const std::uint64_t request = o.what == verb::set_attr   ? KVM_SET_DEVICE_ATTR
                                  : o.what == verb::has_attr ? KVM_HAS_DEVICE_ATTR
                                                             : KVM_GET_DEVICE_ATTR;
    std::uint64_t argument = 0;
    if (o.what == verb::set_attr) {
      const int fd = descriptor_of(o.file, o);
      if (o.file != target::minus_one && fd < 0) return nothing();
      if (o.attr == kv::uapi::dev_vfio_group_set_spapr_tce) {
        const int table = descriptor_of(o.table_file, o);
        if (o.table_file != target::minus_one && table < 0) return nothing();
        argument = put(o.inner, kvm_vfio_spapr_tce{.groupfd = fd, .tablefd = table}, inner_at,
                       read_only_inner_at);
      } else {
        argument = put(o.inner, std::int32_t{fd}, inner_at, read_only_inner_at);
      }
    } else {
      argument = address(o.inner, inner_at, read_only_inner_at, 4);
    }
    const kvm_device_attr attr{
        .flags = o.flags, .group = o.number, .attr = o.attr, .addr = argument};
    if (o.fail_nth) order_fault(o.fail_nth);
    const kv::errc e = ioctl(o, d.fd, request, put(o.outer, attr, outer_at, read_only_at));
    const bool struck = plan_.struck() != struck_before_;
    plan_.clear();
    struck_before_ = plan_.struck();
    if (e == kv::errc::ok && request == KVM_SET_DEVICE_ATTR &&
        o.attr <= kv::uapi::dev_vfio_file_del)
      devices_[o.device].tracked += o.attr == kv::uapi::dev_vfio_file_add ? 1 : -1;
    return answer(e, o.fail_nth && !struck ? 4 : 0);
  }

  outcome open_group(const operation& o) {
    slot& s = slots_[o.slot];
    if (s.fd >= 0) return nothing();
    // Exclusive until its last reference is gone.
    if (files_.references(groups_[o.other]) > 0) return answer(kv::errc::busy);
    const bool mediated = o.other >= machine_.groups;
    bool coherent = facts_.coherent && !mediated;
    if (Profile::group_without_container_is_coherent) {
      if (o.with == container::none) coherent = true;
      if (o.with == container::without_iommu) coherent = false;
    }
    const kt::group_id group{o.other + 1};
    const kt::file_id file =
        vfio_.make({.kind = kt::file_kind::group, .coherent = coherent, .iommu_group = group});
    groups_[o.other] = file;
    s = {task_.open(file), file, true, o.other, o.with};
    if constexpr (kv::spapr_backend<Iommu, kt::vm_id>)
      iommu_.windows[group.number] = mediated                    ? tce_tables::window::no_data
                                     : o.with == container::none ? tce_tables::window::default_
                                                                 : tce_tables::window::none;
    return answer(kv::errc::ok);
  }
  outcome open_device(const operation& o) {
    slot& s = slots_[o.slot];
    const slot& from = slots_[o.other];
    if (s.fd >= 0 || from.fd < 0 || !from.is_group) return nothing();
    if (from.with != container::with_iommu) return answer(kv::errc::inval);
    const bool mediated = from.group >= machine_.groups;
    const kt::file_id file =
        vfio_.make({.kind = kt::file_kind::device, .coherent = facts_.coherent && !mediated});
    const kv::result<int> hold = task_.dup(from.fd);
    s = {task_.open(file), file, false, from.group, from.with};
    group_holds_.push_back({file, *hold});
    return answer(kv::errc::ok);
  }
  outcome open_cdev(const operation& o) {
    slot& s = slots_[o.slot];
    if (s.fd >= 0) return nothing();
    const bool mediated = o.other >= machine_.groups;
    const kt::file_id file =
        vfio_.make({.kind = kt::file_kind::device, .coherent = facts_.coherent && !mediated});
    s = {task_.open(file), file, false, o.other, container::none};
    return answer(kv::errc::ok);
  }
  outcome dup_file(const operation& o) {
    slot& s = slots_[o.slot];
    const slot& from = slots_[o.other];
    if (s.fd >= 0 || from.fd < 0) return nothing();
    s = from;
    s.fd = *task_.dup(from.fd);
    return answer(kv::errc::ok);
  }
  outcome create_table(const operation& o) {
    int& fd = tables_[o.table];
    if (fd >= 0 || vms_[o.vm].fd < 0) return nothing();
    fd = task_.open(kt::file_id{-2000 - ++table_count_});
    if constexpr (kv::spapr_backend<Iommu, kt::vm_id>)
      iommu_.tables[fd] = {vms_[o.vm].vm->self(), o.other == 0};
    return answer(kv::errc::ok);
  }
  outcome close_table(const operation& o) {
    if constexpr (kv::spapr_backend<Iommu, kt::vm_id>) iommu_.tables.erase(tables_[o.table]);
    return close_slot(tables_[o.table]);
  }

  struct group_hold {
    kt::file_id device;
    int group_fd;
  };

  machine machine_;
  vfio_facts facts_;
  kt::journal log_;
  kt::fault_plan plan_;
  int struck_before_ = 0;
  kt::recording_symbols vfio_{log_};
  Iommu iommu_{log_};
  kt::counting_lock lock_{log_};
  kt::open_files files_{log_, &plan_};
  vfio_type type_{vfio_, lock_, iommu_, Profile{}, storage(plan_), files_policy(files_)};
  typename vm_model::types types_;
  std::list<vm_model> all_vms_;
  kt::process task_{files_, log_, &plan_};
  vm_slot vms_[vm_slots];
  slot devices_[device_slots];
  slot slots_[file_slots];
  int tables_[table_slots] = {-1, -1, -1};
  std::map<int, kt::file_id> groups_;
  std::vector<group_hold> group_holds_;
  std::vector<int> leaked_;
  int null_device_ = -1, o_path_ = -1, container_ = -1;
  int vm_count_ = 0, table_count_ = 0;
};

template <class Profile>
std::unique_ptr<observed_world> make(const machine& m, const vfio_facts& facts) {
  if (m.spapr) return std::make_unique<model<Profile, tce_tables>>(m, facts);
  return std::make_unique<model<Profile, kt::recording_iommu>>(m, facts);
}

}  // namespace

std::unique_ptr<observed_world> make_model(const std::string& profile, const machine& m,
                                           const vfio_facts& facts) {
  if (profile == "6.1") return make<kv::linux_6_1>(m, facts);
  if (profile == "6.12") return make<kv::linux_6_12>(m, facts);
  if (profile == "7.3") return make<kv::linux_7_3>(m, facts);
  return nullptr;
}

}  // namespace conformance
