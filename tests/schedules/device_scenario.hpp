// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Threads that call kvm-vfio devices, as a script says, with every rule.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/ids.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/recording_iommu.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>
#include <kvm_vfio/testing/schedules/device_rules.hpp>
#include <kvm_vfio/testing/schedules/lasting_storage.hpp>
#include <kvm_vfio/testing/schedules/scheduled_lock.hpp>
#include <kvm_vfio/testing/schedules/scheduled_policies.hpp>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace tests {

namespace kv = kvm_vfio;
namespace testing = kvm_vfio::testing;

/// What a thread does: FILE_ADD or FILE_DEL of a file, the close of its descriptor, or a change of
/// its coherency.
enum class act : unsigned char { add, del, close, turn };
struct deed {
  act what;
  int file;
  int device = 1;
};
/// For each thread, what it does.
using script = std::vector<std::vector<deed>>;

/// How a scenario is made and looked at.
struct setting {
  script threads;
  std::vector<bool> coherent;             // for each file, file 1 first
  std::vector<deed> before = {};          // done before the threads begin
  bool only_the_end = false;              // checks references, and the lists at the end only
  std::set<std::string>* ends = nullptr;  // gets what each run ended with
};

using rules_of_ids = testing::device_rules<testing::file_id, testing::vm_id>;

/// The task of all threads. Descriptor n is one of file n, and stands at address n.
class script_task {
 public:
  explicit script_task(rules_of_ids& rules) noexcept : rules_(rules) {}
  bool copy_from_user(std::uint64_t address, std::int32_t& fd) noexcept {
    fd = static_cast<std::int32_t>(address);
    return true;
  }
  bool copy_from_user(std::uint64_t, kvm_vfio_spapr_tce&) noexcept { return false; }
  kv::result<testing::file_id> fget(int fd) noexcept {
    const testing::file_id f{fd};
    announce(
        access_to(testing::access_kind::write, testing::device_objects::references, f, "fget"));
    if (!rules_.is_open(f)) return kv::errc::badf;
    rules_.get(f);
    return f;
  }

 private:
  rules_of_ids& rules_;
};

/// The library's own model.
struct as_it_is {
  template <class... Policies>
  using device = kv::device<Policies...>;
};

/// \tparam Model has the template `device`
template <class Profile, int Threads, class Model = as_it_is>
class device_scenario {
 public:
  static constexpr int threads = Threads;

  explicit device_scenario(const setting& with) : with_(with), answers_(with.threads) {
    rules.watch(lock);
    if (with.only_the_end) rules.allow_unlocked_calls();
    for (const bool coherent : with.coherent)
      rules.opened(
          vfio.make({.kind = testing::file_kind::group, .coherent = coherent, .iommu_group = {}}));
    for (const deed& d : with.before) (void)run(d);
  }

  void run(int thread) noexcept {
    std::string& mine = answers_.of(thread);
    for (const deed& d : with_.threads[static_cast<std::size_t>(thread)]) {
      const kv::errc e = run(d);
      if (d.what == act::add || d.what == act::del) {
        mine += d.what == act::add ? " add " : " del ";
        mine += std::to_string(d.file) + '=' + kv::name(e);
      }
    }
  }
  const char* check() noexcept {
    if (with_.only_the_end) return nullptr;
    if (const char* wrong = rules.disagreement(one)) return wrong;
    return rules.disagreement(two);
  }
  const char* finish() noexcept {
    if (with_.ends) with_.ends->insert(end());
    return rules.disagreement_at_end(one, two);
  }

 private:
  using symbols = testing::scheduled_symbols<testing::recording_symbols>;
  using iommu_of = testing::scheduled_iommu<testing::recording_iommu, rules_of_ids>;
  using files_of = testing::scheduled_files<testing::file_id, testing::vm_id>;
  using device = typename Model::template device<symbols, testing::scheduled_lock&, iommu_of,
                                                 Profile, testing::lasting_storage, files_of>;
  struct texts {
    explicit texts(const script& s) : all(s.size()) {}
    std::string& of(int thread) noexcept { return all[static_cast<std::size_t>(thread)]; }
    std::vector<std::string> all;
  };

  kv::errc run(const deed& d) noexcept {
    const testing::file_id f{d.file};
    if (d.what == act::close) {
      files.close(f);
      return kv::errc::ok;
    }
    if (d.what == act::turn) {
      announce(access_to(testing::access_kind::write, testing::device_objects::file, f, "turn"));
      bool& coherent = vfio.answers(f).coherent;
      coherent = !coherent;
      return kv::errc::ok;
    }
    const kvm_device_attr attr{
        .flags = 0,
        .group = kv::uapi::dev_vfio_file,
        .attr = d.what == act::add ? kv::uapi::dev_vfio_file_add : kv::uapi::dev_vfio_file_del,
        .addr = static_cast<std::uint64_t>(d.file)};
    return (d.device == 1 ? one : two).set_attr(task, attr);
  }
  std::string end() {
    std::string text;
    for (const std::string& t : answers_.all) text += t + ';';
    text += " registered " + std::to_string(log.count(testing::call::register_noncoherent)) +
            ", unregistered " + std::to_string(log.count(testing::call::unregister_noncoherent));
    return text;
  }

  const setting& with_;
  texts answers_;
  testing::journal log;
  rules_of_ids rules;
  testing::scheduled_lock lock{"the device's lock"};
  symbols vfio{rules, log};
  iommu_of iommu{rules, log};
  files_of files{rules};
  script_task task{rules};
  device one{vfio, lock, iommu, testing::vm_id{1}, Profile{}, testing::lasting_storage{}, files};
  device two{vfio, lock, iommu, testing::vm_id{2}, Profile{}, testing::lasting_storage{}, files};
};

}  // namespace tests
