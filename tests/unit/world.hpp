// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Everything around one VM, mocked: a test orders a fault, makes an ioctl as a VMM does, and
/// reads the answer and the calls. Public headers only; usable at compile time.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/counting_lock.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/faults.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/process.hpp>
#include <kvm_vfio/testing/recording_iommu.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "expected_state.hpp"
#include "support/attribute.hpp"

namespace tests {

using namespace kvm_vfio;
using namespace kvm_vfio::testing;

/// A fault that a test orders, or none.
struct ordered_fault {
  fault at{};
  int nth = 0;   ///< which call of this kind fails; 0: none
  errc error{};  ///< what the call answers then
  constexpr explicit operator bool() const { return nth != 0; }
  constexpr void order(fault_plan& plan) const {
    if (nth != 0) plan.fail(at, nth, error);
  }
};

/// The numbers of the two locks in the journal.
inline constexpr int the_vm = 1;
inline constexpr int the_device = 2;

/// What must hold whatever is called, checked over the events of one call at a time.
class invariants : public requirements {
 public:
  enum class during : unsigned char { attribute, lifetime };

  constexpr void check(const std::vector<event>& seen, during phase) {
    bool held[3] = {};
    for (std::size_t i = 0; i < seen.size(); ++i) {
      const event& e = seen[i];
      switch (e.what) {
        case call::lock:
        case call::unlock:
          require(held[e.value] == (e.what == call::unlock), "a lock was misused");
          held[e.value] = e.what == call::lock;
          break;
        case call::symbol_get:
          require(given_back(seen, i), "a symbol was not given back right after its call");
          break;
        case call::is_valid:
        case call::is_group:
        case call::copy_from_user:
        case call::copy_to_user:
        case call::fget:
        case call::install:
          require(!held[the_vm] && !held[the_device], "called with a lock held");
          break;
        case call::register_noncoherent:
        case call::unregister_noncoherent:
          require(is_told(e.vm) == (e.what == call::unregister_noncoherent),
                  "register and unregister do not alternate");
          note(e);
          [[fallthrough]];
        case call::set_kvm:
        case call::enforced_coherent:
        case call::iommu_group:
        case call::start_assignment:
        case call::end_assignment:
        case call::spapr_tce_attach:
        case call::spapr_tce_release:
        case call::iommu_group_put:
        case call::warn:
          // The last update is a critical section of its own where all of them are.
          require(
              phase == during::attribute
                  ? held[the_device] && !held[the_vm]
                  : held[the_vm] && (!held[the_device] || e.what == call::unregister_noncoherent),
              "called without its lock, or with the wrong one");
          require(symbol_of(e.what) < 0 || (i > 0 && seen[i - 1].what == call::symbol_get),
                  "called without its symbol");
          break;
        case call::allocate:
        case call::free: note(e); break;
        case call::symbol_put:
        case call::get_file:
        case call::fput: break;
      }
    }
    require(!held[the_vm] && !held[the_device], "a lock is still held");
  }

  /// Takes note of what an event changes, without a check.
  constexpr void note(const event& e) {
    if (e.what == call::allocate) allocated_ += e.value;
    if (e.what == call::free) --allocated_;
    if (e.what == call::register_noncoherent) told_.push_back(e.vm);
    if (e.what == call::unregister_noncoherent) std::erase(told_, e.vm);
  }
  [[nodiscard]] constexpr int allocated() const { return allocated_; }

 private:
  // After a look-up comes its call, which leaves no event when it was made to fail, then the put.
  static constexpr bool given_back(const std::vector<event>& seen, std::size_t get) {
    std::size_t next = get + 1;
    if (next < seen.size() && symbol_of(seen[next].what) == seen[get].value) ++next;
    return next < seen.size() &&
           seen[next] == events::symbol_put(static_cast<symbol>(seen[get].value));
  }
  // The symbol behind a call; -1: none.
  static constexpr int symbol_of(call c) {
    switch (c) {
      case call::is_valid: return static_cast<int>(symbol::file_is_valid);
      case call::is_group: return static_cast<int>(symbol::file_is_group);
      case call::set_kvm: return static_cast<int>(symbol::file_set_kvm);
      case call::enforced_coherent: return static_cast<int>(symbol::file_enforced_coherent);
      case call::iommu_group: return static_cast<int>(symbol::file_iommu_group);
      default: return -1;
    }
  }

  [[nodiscard]] constexpr bool is_told(vm_id vm) const {
    return std::find(told_.begin(), told_.end(), vm) != told_.end();
  }

  std::vector<vm_id> told_;
  int allocated_ = 0;
};

template <class Base>
struct seen_devices;

/// A storage that fails as ordered, and shows which kvm-vfio devices are in it.
template <class Base>
class seen_storage : public failing_storage<Base> {
 public:
  constexpr seen_storage(fault_plan& plan, journal* log,
                         seen_devices<Base>* seen = nullptr) noexcept
      : failing_storage<Base>(plan, log), seen_(seen) {}

  template <class T>
  class pool : public failing_storage<Base>::template pool<T> {
    using base = typename failing_storage<Base>::template pool<T>;

   public:
    constexpr explicit pool(const seen_storage& from) noexcept : base(from), seen_(from.seen_) {}
    template <class... Args>
    [[nodiscard]] constexpr T* make(Args&&... args) noexcept {
      T* const made = base::make(static_cast<Args&&>(args)...);
      if constexpr (std::is_base_of_v<typename seen_devices<Base>::operations, T>)
        if (made && seen_) seen_->all.push_back({made, {}, {}});
      return made;
    }
    constexpr void destroy(T* object) noexcept {
      if constexpr (std::is_base_of_v<typename seen_devices<Base>::operations, T>)
        if (seen_) std::erase_if(seen_->all, [&](const auto& d) { return d.device == object; });
      base::destroy(object);
    }

   private:
    seen_devices<Base>* seen_;
  };

 private:
  seen_devices<Base>* seen_;
};

/// The kvm-vfio devices that exist, and what each of them must look like.
template <class Base>
struct seen_devices {
  using operations = device_operations<vm<process, vm_id, counting_lock&, seen_storage<Base>>>;
  struct entry {
    const operations* device;
    file_id handle;  // the open file behind the device's descriptors; none: not known yet
    expected_state expected;
  };
  std::vector<entry> all;
};

/// A process with a VM. `log` holds the events of the last call alone. After each call that the
/// functions here make, the invariants are checked over its events, and then the state: of each
/// device, its files' references, the locks, the symbols and what KVM was told.
template <class Profile = linux_7_3, class Iommu = recording_iommu, class Storage = heap_storage>
struct world {
  using symbols = failing_symbols<recording_symbols>;
  using memory = seen_storage<Storage>;
  using machine = kvm_vfio::vm<process, vm_id, counting_lock&, memory>;
  using kind = vfio_device_type<machine, symbols, counting_lock&, Iommu, Profile, memory,
                                open_files::policy>;

  // Addresses in the process: of the ioctl's struct, and of what that points to.
  static constexpr std::uint64_t page = 0x100;
  static constexpr std::uint64_t outer = 0x1000;
  static constexpr std::uint64_t inner = 0x3000;
  /// The first free descriptor beside the VM's, 0, and kvm-vfio's, 1.
  static constexpr int first_file = 2;

  journal log;
  fault_plan plan;
  symbols vfio{plan, log};
  Iommu iommu = make_iommu();
  counting_lock vm_lock{log, the_vm};
  counting_lock device_lock{log, the_device};
  open_files files{log, &plan};
  process task{files, log, &plan};
  typename machine::types types;
  seen_devices<Storage> devices;
  kind type{
      vfio, device_lock, iommu, Profile{}, memory(plan, &log, &devices), open_files::policy(files)};
  machine kvm{types, vm_id{1}, task, vm_lock, memory(plan, &log)};
  invariants always;
  int vm_fd = -1;
  int device_fd = -1;

  constexpr world() {
    (void)types.register_type(uapi::dev_type_vfio, type);
    task.memory.map(outer, page);
    task.memory.map(inner, page);
    vm_fd = task.open(kvm);
  }
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  // The process goes before what its descriptors refer to.
  constexpr ~world() { task.exit(); }

  constexpr Iommu make_iommu() {
    if constexpr (std::is_constructible_v<Iommu, fault_plan&, journal&>) return Iommu(plan, log);
    else return Iommu(log);
  }

  /// Any call, its events alone in the journal; they and the state after the call are checked.
  template <class Call>
  constexpr errc watch(invariants::during phase, Call what) {
    return watch(phase, what, change::none, {});
  }
  /// A call that may change what the device of `device_fd` tracks.
  template <class Call>
  constexpr errc watch(invariants::during phase, Call what, change changes, file_id file) {
    // A test may have made calls of its own since the last watched one.
    for (std::size_t i = watched_; i < log.all().size(); ++i) always.note(log.all()[i]);
    log.clear();
    const file_id device = task.file_of(device_fd);
    const vm_id owner = vfio.vm_of(file);
    const int struck = plan.struck();
    const errc answer = what();
    watched_ = log.all().size();
    always.check(log.all(), phase);
    name_devices();
    for (auto& d : devices.all) {
      if (!device || d.handle != device) continue;
      d.expected.called(changes, file, answer, Profile::updates_coherency_on_noent);
      const vm_id vm = kind::model(*d.device).vm();
      if (changes == change::none || answer != errc::ok)
        always.require(vfio.vm_of(file) == owner, "a refused file has another VM than before");
      else if (plan.struck() == struck)
        always.require(vfio.vm_of(file) == (changes == change::add ? vm : vm_id{}),
                       "an added file has not the device's VM, or a deleted one has");
    }
    check_state(plan.struck() != struck);
    return answer;
  }

  /// The state that must hold between two calls.
  constexpr void check_state(bool struck) {
    for (int s = 0; s < symbol_count; ++s)
      always.require(vfio.held(static_cast<symbol>(s)) == 0, "a symbol is still held");
    always.require(!vm_lock.misused() && !device_lock.misused(), "a lock was misused");
    always.require(!vm_lock.held() && !device_lock.held(), "a lock is held between two calls");
    int told = 0, tracked = 0, allocated = 0;
    const journal before = log;  // looking takes the device's lock, which is an event
    for (auto& d : devices.all) {
      d.expected.compare(always, kind::model(*d.device), struck,
                         [this](file_id f) { return vfio.answers(f).coherent; });
      told += d.expected.noncoherent();
      tracked += static_cast<int>(d.expected.files().size());
      allocated += 2 + static_cast<int>(d.expected.files().size());
    }
    log = before;
    always.require(iommu.registered() == told,
                   "KVM was told something else than the devices' coherency");
    always.require(iommu.assigned() == (Profile::counts_assignments ? tracked : 0),
                   "assignments are not those of the tracked files");
    always.require(kept() == tracked, "the references on files are not those of the tracked ones");
    for (const auto& d : devices.all)
      for (const file_id f : d.expected.files())
        always.require(files.references(f) == descriptors_of(f) + tracking(f),
                       "a tracked file has not the references of its descriptors and devices");
    always.require(always.allocated() == allocated + other_devices(),
                   "the objects in memory are not those of the devices and their files");
  }

  constexpr errc create(std::uint32_t type_number = uapi::dev_type_vfio, std::uint32_t flags = 0) {
    task.memory.poke(outer, kvm_create_device{.type = type_number, .fd = 77, .flags = flags});
    const errc answer = watch(invariants::during::lifetime,
                              [&] { return task.ioctl(vm_fd, uapi::create_device, outer); });
    const auto fd = task.memory.template peek<kvm_create_device>(outer).fd;
    if (answer == errc::ok && !(flags & uapi::create_device_test)) device_fd = static_cast<int>(fd);
    return answer;
  }
  constexpr errc set(std::uint32_t group, std::uint64_t attr, std::uint64_t addr = inner,
                     std::uint32_t flags = 0) {
    task.memory.poke(outer, kvm_device_attr{flags, group, attr, addr});
    const bool adds = attr == uapi::dev_vfio_file_add, deletes = attr == uapi::dev_vfio_file_del;
    const bool of_file = group == uapi::dev_vfio_file && (adds || deletes) && addr == inner;
    return watch(
        invariants::during::attribute,
        [&] { return task.ioctl(device_fd, uapi::set_device_attr, outer); },
        !of_file ? change::none
        : adds   ? change::add
                 : change::del,
        of_file ? task.file_of(task.memory.template peek<std::int32_t>(inner)) : file_id{});
  }
  constexpr errc has(std::uint32_t group, std::uint64_t attr, std::uint64_t addr = inner) {
    task.memory.poke(outer, kvm_device_attr{0, group, attr, addr});
    return watch(invariants::during::attribute,
                 [&] { return task.ioctl(device_fd, uapi::has_device_attr, outer); });
  }
  constexpr errc add(int fd) {
    task.memory.poke(inner, fd);
    return set(uapi::dev_vfio_file, uapi::dev_vfio_file_add);
  }
  constexpr errc del(int fd) {
    task.memory.poke(inner, fd);
    return set(uapi::dev_vfio_file, uapi::dev_vfio_file_del);
  }
  constexpr errc set_spapr_tce(int groupfd, int tablefd) {
    task.memory.poke(inner, kvm_vfio_spapr_tce{groupfd, tablefd});
    return set(uapi::dev_vfio_file, uapi::dev_vfio_group_set_spapr_tce);
  }
  constexpr errc close(int fd) {
    return watch(invariants::during::lifetime, [&] { return task.close(fd); });
  }

  /// A descriptor of a new VFIO file. The first file is number 1.
  constexpr int file(const file_answers& answers = {}) { return task.open(vfio.make(answers)); }
  /// References on files that no descriptor has: one for each tracked file.
  [[nodiscard]] constexpr int kept() const {
    return files.references() - static_cast<int>(task.descriptors());
  }
  /// Whether KVM was told of noncoherent DMA.
  [[nodiscard]] constexpr bool noncoherent() const { return iommu.registered() != 0; }

  /// Closes the device and the VM. The files that were tracked, in the order in which they were
  /// let go; all that was taken must have been given back.
  constexpr std::vector<int> end() {
    plan.clear();
    std::vector<int> tracked;
    if (device_fd >= 0) {
      (void)close(device_fd);
      for (const event& e : log.all())
        if (e.what == call::set_kvm) tracked.push_back(e.file.number);
    }
    (void)close(vm_fd);
    always.require(kept() == 0, "a file reference is lost");
    always.require(kvm.users() == 0, "a VM reference is lost");
    always.require(always.allocated() == 0, "memory is lost");
    always.require(iommu.registered() == 0, "a registration is lost");
    always.require(iommu.assigned() == 0, "an assignment is lost");
    if constexpr (requires { iommu.groups_put(); })
      always.require(iommu.groups_put() == vfio.groups_handed_out() && iommu.attached() == 0,
                     "a reference on an IOMMU group is lost");
    return tracked;
  }

 private:
  // More than any test has.
  static constexpr int most_descriptors = 64;

  // Finds the open files behind new devices.
  constexpr void name_devices() {
    for (auto& d : devices.all) {
      for (int fd = 0; !d.handle && fd < most_descriptors; ++fd) {
        const char* const name = task.name_of(fd);
        if (!name || std::string_view(name) != type.name()) continue;
        const file_id handle = task.file_of(fd);
        const bool known = std::any_of(devices.all.begin(), devices.all.end(),
                                       [&](const auto& other) { return other.handle == handle; });
        if (!known) d.handle = handle;
      }
    }
  }
  [[nodiscard]] constexpr int descriptors_of(file_id f) const {
    int n = 0;
    for (int fd = 0; fd < most_descriptors; ++fd) n += task.file_of(fd) == f;
    return n;
  }
  [[nodiscard]] constexpr int tracking(file_id f) const {
    int n = 0;
    for (const auto& d : devices.all)
      for (const file_id other : d.expected.files()) n += other == f;
    return n;
  }
  // Devices of a test's own types: one object each.
  [[nodiscard]] constexpr int other_devices() const {
    int n = 0;
    for (int fd = 0; fd < most_descriptors; ++fd) {
      const char* const name = task.name_of(fd);
      n += name && std::string_view(name) != type.name() && std::string_view(name) != "kvm-vm";
    }
    return n;
  }

  std::size_t watched_ = 0;  // events of the last watched call
};

}  // namespace tests
