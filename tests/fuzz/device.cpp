// SPDX-License-Identifier: BSL-1.0
// Fuzzes the kvm-vfio device beside an obvious model: a vector of files, searched from its start,
// and two counters. The answers, the order of the files, their VM and references, and what KVM was
// told must be equal after each call.
#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/ids.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "input.hpp"

namespace {

using namespace kvm_vfio;
using fuzz::input;
using fuzz::require;
using testing::file_id;
using testing::group_id;
using testing::vm_id;

constexpr int all_files = 64;
constexpr vm_id the_vm{1};

struct file_facts {
  bool valid = true;
  bool group = true;
  bool coherent = true;
  int iommu_group = 0;
  int references = 0;
  vm_id vm{};
};

// VFIO and the open files. A file or a symbol can change at any time.
struct facts {
  file_facts files[all_files + 1];
  bool present[symbol_count] = {true, true, true, true, true};
  int symbols_held = 0;
  int groups_held = 0;
  int references_left = 1 << 30;  // get_file fails when none is left
  std::uint64_t epoch = 0;

  file_facts& of(file_id f) { return files[f.number]; }
  [[nodiscard]] bool has(symbol s) const { return present[static_cast<std::size_t>(s)]; }
};

struct symbols {
  using file = file_id;
  using vm = vm_id;
  using iommu_group = group_id;
  facts& now;

  bool symbol_get(symbol s) noexcept {
    now.symbols_held += now.has(s);
    return now.has(s);
  }
  void symbol_put(symbol) noexcept { --now.symbols_held; }
  bool file_is_valid(const file_id& f) noexcept { return now.of(f).valid; }
  bool file_is_group(const file_id& f) noexcept { return now.of(f).group; }
  void file_set_kvm(const file_id& f, const vm_id& to) noexcept { now.of(f).vm = to; }
  bool file_enforced_coherent(const file_id& f) noexcept { return now.of(f).coherent; }
  group_id file_iommu_group(const file_id& f) noexcept {
    now.groups_held += now.of(f).iommu_group != 0;
    return {now.of(f).iommu_group};
  }
};
struct epoch_symbols : symbols {
  std::uint64_t coherency_epoch() noexcept { return now.epoch; }
};

struct files {
  facts* now;
  result<file_id> get_file(const file_id& f) noexcept {
    if (now->references_left == 0) return errc::mfile;
    --now->references_left;
    ++now->of(f).references;
    return f;
  }
  void fput(const file_id& f) noexcept {
    ++now->references_left;
    --now->of(f).references;
  }
};

struct told {
  int noncoherent = 0;
  int assigned = 0;
};
struct backend {
  told& kvm;
  void register_noncoherent_dma(const vm_id&) noexcept { ++kvm.noncoherent; }
  void unregister_noncoherent_dma(const vm_id&) noexcept { --kvm.noncoherent; }
  void start_assignment(const vm_id&) noexcept { ++kvm.assigned; }
  void end_assignment(const vm_id&) noexcept { --kvm.assigned; }
};
// A table with an even number exists.
constexpr errc attach_table(int table) { return table % 2 ? errc::badf : errc::ok; }
struct spapr_backend : backend {
  using iommu_group = group_id;
  facts& now;
  errc spapr_tce_attach(const vm_id&, int table, const group_id&) noexcept {
    return attach_table(table);
  }
  void spapr_tce_release(const vm_id&, const group_id&) noexcept {}
  void iommu_group_put(const group_id&) noexcept { --now.groups_held; }
  void warn(spapr_warning) noexcept {}
};

// The obvious model.
template <class Profile>
class model {
 public:
  model(const facts& now, std::size_t capacity) : now_(now), capacity_(capacity) {}

  errc add(file_id f) {
    // One reference for the look-up and, in some releases, one for the list.
    const int needed = 1 + (Profile::add_keeps_looked_up ? 0 : 1);
    if (now_.references_left < 1) return errc::mfile;
    const file_facts& facts_of_f = now_.files[f.number];
    const bool valid =
        Profile::validity == symbol::file_is_group ? facts_of_f.group : facts_of_f.valid;
    if (!valid || !now_.has(Profile::validity)) return errc::inval;
    if (position(f) != kept_.size()) return errc::exists;
    if (kept_.size() == capacity_) return errc::nomem;
    if (now_.references_left < needed) return errc::mfile;
    kept_.push_back({f, false});
    update();
    return errc::ok;
  }
  errc del(file_id f) {
    const std::size_t at = position(f);
    const bool found = at != kept_.size();
    if (found) kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(at));
    if (found || Profile::updates_coherency_on_noent) update();
    return found ? errc::ok : errc::noent;
  }
  errc attach(file_id f, int table) {
    const std::size_t at = position(f);
    if (at == kept_.size()) return errc::noent;
    const bool group = now_.has(symbol::file_iommu_group) && now_.files[f.number].iommu_group != 0;
    if (!kept_[at].has_group && !group) return errc::io;
    kept_[at].has_group = true;
    return attach_table(table);
  }
  [[nodiscard]] bool noncoherent() const { return noncoherent_; }
  [[nodiscard]] std::vector<file_id> tracked() const {
    std::vector<file_id> out;
    for (const entry& e : kept_) out.push_back(e.file);
    return out;
  }
  [[nodiscard]] int groups() const {
    int out = 0;
    for (const entry& e : kept_) out += e.has_group;
    return out;
  }

 private:
  struct entry {
    file_id file;
    bool has_group;
  };
  [[nodiscard]] std::size_t position(file_id f) const {
    std::size_t i = 0;
    while (i < kept_.size() && kept_[i].file != f) ++i;
    return i;
  }
  void update() {
    noncoherent_ = false;
    for (const entry& e : kept_)
      if (!now_.has(symbol::file_enforced_coherent) || !now_.files[e.file.number].coherent)
        noncoherent_ = true;
  }

  const facts& now_;
  std::size_t capacity_;
  std::vector<entry> kept_;
  bool noncoherent_ = false;
};

template <class Profile, class Storage, class Symbols, class Backend>
class session {
 public:
  session(input& in, std::size_t capacity) : in_(in), expected_(now_, capacity) {}

  void run() {
    while (!in_.empty()) {
      step();
      compare();
    }
    device_.reset();
    require(told_.noncoherent == 0 && told_.assigned == 0, "KVM was not told of the end");
    require(now_.symbols_held == 0 && now_.groups_held == 0, "something is held after the end");
    for (const file_facts& f : now_.files)
      require(f.references == 0, "a file is held after the end");
  }

 private:
  using device_type = device<Symbols, null_lock, Backend, Profile, Storage, files>;

  static Symbols make_symbols(facts& now) {
    if constexpr (std::is_same_v<Symbols, symbols>) return {now};
    else return {{now}};
  }
  static Backend make_backend(told& kvm, facts& now) {
    if constexpr (std::is_same_v<Backend, backend>) return {kvm};
    else return {{kvm}, now};
  }

  file_id file() { return {1 + static_cast<int>(in_.below(all_files))}; }
  void step() {
    const unsigned what = in_.below(16);
    const file_id f = file();
    file_facts& facts_of_f = now_.of(f);
    const bool could_set = now_.has(symbol::file_set_kvm);
    const vm_id before = facts_of_f.vm;
    switch (what) {
      case 0: facts_of_f.valid = !facts_of_f.valid; break;
      case 1: facts_of_f.group = !facts_of_f.group; break;
      case 2:
        ++now_.epoch;
        facts_of_f.coherent = !facts_of_f.coherent;
        break;
      case 3: {
        bool& present = now_.present[in_.below(symbol_count)];
        present = !present;
        ++now_.epoch;
        break;
      }
      case 4: now_.references_left = static_cast<int>(in_.below(3)); break;
      case 5: now_.references_left = 1 << 30; break;
      case 6: facts_of_f.iommu_group = static_cast<int>(in_.below(3)); break;
      case 7: attach(f); break;
      case 8:
      case 9:
      case 10: {
        const errc wanted = expected_.del(f);
        require(device_->del(f) == wanted, "del answers something else");
        if (wanted == errc::ok)
          require(facts_of_f.vm == (could_set ? vm_id{} : before), "del leaves the wrong VM");
        break;
      }
      default: {
        const errc wanted = expected_.add(f);
        require(device_->add(f) == wanted, "add answers something else");
        if (wanted == errc::ok)
          require(facts_of_f.vm == (could_set ? the_vm : before), "add gives the wrong VM");
        else require(facts_of_f.vm == before, "add changes the VM, and fails");
      }
    }
  }
  void attach(file_id f) {
    const int table = in_.byte();
    if constexpr (device_type::spapr) {
      const errc wanted = expected_.attach(f, table);
      require(device_->set_spapr_tce(f, table) == wanted, "set_spapr_tce answers something else");
      require(now_.groups_held == expected_.groups(), "references on IOMMU groups are wrong");
    }
  }
  void compare() {
    const std::vector<file_id> wanted = expected_.tracked();
    std::vector<file_id> seen;
    device_->for_each([&](const file_id& f) { seen.push_back(f); });
    require(seen == wanted, "other files, or in another order");
    require(device_->size() == wanted.size(), "another number of files");
    file_id first[3];
    require(
        device_->snapshot(first, std::size(first)) == wanted.size() &&
            std::equal(first, first + std::min(std::size(first), wanted.size()), wanted.begin()),
        "another snapshot");
    require(device_->noncoherent() == expected_.noncoherent() &&
                told_.noncoherent == (expected_.noncoherent() ? 1 : 0),
            "another coherency");
    require(told_.assigned == (Profile::counts_assignments ? static_cast<int>(wanted.size()) : 0),
            "another number of assignments");
    require(now_.symbols_held == 0, "a symbol is held");
    int references = 0;
    for (const file_facts& f : now_.files) references += f.references;
    require(references == static_cast<int>(wanted.size()), "another number of references");
    for (const file_id f : wanted) require(now_.of(f).references == 1, "a file is not held once");
  }

  input& in_;
  facts now_;
  told told_;
  Symbols symbols_ = make_symbols(now_);
  Backend backend_ = make_backend(told_, now_);
  model<Profile> expected_;
  std::optional<device_type> device_{std::in_place, symbols_,  null_lock{}, backend_,
                                     the_vm,        Profile{}, Storage{},   files{&now_}};
};

template <class Profile, class Storage, class Symbols, class Backend>
void run(input& in, std::size_t capacity) {
  session<Profile, Storage, Symbols, Backend>(in, capacity).run();
}

template <class Profile>
void run(input& in, unsigned kind) {
  constexpr std::size_t few = 5;
  switch (kind) {
    case 0: return run<Profile, heap_storage, symbols, backend>(in, all_files + 1);
    case 1: return run<Profile, heap_storage, epoch_symbols, backend>(in, all_files + 1);
    case 2: return run<Profile, inline_storage<few>, symbols, spapr_backend>(in, few);
    default: return run<Profile, inline_storage<40>, epoch_symbols, spapr_backend>(in, 40);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input in(data, size);
  const unsigned kind = in.byte();
  switch (kind % 3) {
    case 0: run<linux_6_1>(in, kind / 3 % 4); break;
    case 1: run<linux_6_12>(in, kind / 3 % 4); break;
    default: run<linux_7_3>(in, kind / 3 % 4); break;
  }
  return 0;
}
