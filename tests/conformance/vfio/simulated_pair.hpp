// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Two simulated processes that share descriptors, with the calls of `real_pair`.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/filesystem.hpp>
#include <kvm_vfio/sim/system/memory_file.hpp>
#include <kvm_vfio/system.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace vfio_lockstep {

/// What two simulated processes share: the descriptors that were sent and not yet received.
struct simulated_link {
  std::deque<kvm_vfio::sim::file_ref> to_parent{}, to_child{};
};

/// A simulated process. Models `system`.
class simulated_process : public kvm_vfio::sim::process_ref {
  using errc = kvm_vfio::errc;
  template <class T>
  using result = kvm_vfio::result<T>;

 public:
  simulated_process() noexcept = default;
  simulated_process(kvm_vfio::sim::process& task, std::deque<kvm_vfio::sim::file_ref>& in,
                    std::deque<kvm_vfio::sim::file_ref>& out) noexcept
      : kvm_vfio::sim::process_ref(task), task_(&task), in_(&in), out_(&out) {}

  [[nodiscard]] result<int> dup_from(int fd, int lowest) const {
    return number(task_->dup(fd, lowest));
  }
  [[nodiscard]] errc dup2(int fd, int to) const {
    const auto f = task_->fget(fd);
    if (!f) return f.error();
    kvm_vfio::sim::file_ref file(*f);
    return to == fd ? errc::ok : task_->install_at(to, file.take()).error();
  }
  [[nodiscard]] result<int> memory_file(std::uint64_t size) const {
    return number(task_->insert(kvm_vfio::sim::file_ref(new kvm_vfio::sim::memory_file(size))));
  }
  [[nodiscard]] errc send(int fd) const {
    const auto f = task_->fget(fd);
    if (!f) return f.error();
    out_->emplace_back(*f);
    return errc::ok;
  }
  [[nodiscard]] result<int> receive() const {
    if (in_->empty()) return errc::again;
    kvm_vfio::sim::file_ref f = std::move(in_->front());
    in_->pop_front();
    return number(task_->insert(std::move(f)));
  }
  void limit_descriptors(std::uint64_t n) const { task_->limit(static_cast<std::size_t>(n)); }
  void limit_memory(std::uint64_t n) const { task_->memory_lock_limit(n); }
  void capable(bool yes) const { task_->cap_ipc_lock(yes); }
  void user(int id) const { task_->user(id); }
  void forget(void* at, std::size_t size) const { task_->mem().forbid(at, size); }

 private:
  static result<int> number(const kvm_vfio::sim::answer& a) {
    if (!a) return a.error();
    return static_cast<int>(*a);
  }
  kvm_vfio::sim::process* task_ = nullptr;
  std::deque<kvm_vfio::sim::file_ref>* in_ = nullptr;
  std::deque<kvm_vfio::sim::file_ref>* out_ = nullptr;
};
static_assert(kvm_vfio::system<simulated_process>);

/// A simulated process and a child of it.
class simulated_pair {
 public:
  using system = simulated_process;

  /// \param task  the parent; must outlive the pair
  /// \param files the kernel of the parent; must outlive the pair
  simulated_pair(kvm_vfio::sim::process& task, kvm_vfio::sim::filesystem& files)
      : task_(task), files_(files) {}
  simulated_pair(const simulated_pair&) = delete;
  simulated_pair& operator=(const simulated_pair&) = delete;
  ~simulated_pair() { end(); }

  [[nodiscard]] system parent() noexcept { return {task_, sent_.to_parent, sent_.to_child}; }
  [[nodiscard]] system fork() {
    memory_.emplace();
    memory_->check_dma(true);
    child_.emplace(files_, *memory_, ++last_space_);
    task_.fork_into(*child_);
    return {*child_, sent_.to_child, sent_.to_parent};
  }
  void end() noexcept {
    if (child_) child_->exit();
    child_.reset();
    memory_.reset();
    sent_.to_child.clear();
    sent_.to_parent.clear();
  }

 private:
  kvm_vfio::sim::process& task_;
  kvm_vfio::sim::filesystem& files_;
  kvm_vfio::sim::process::address_space_id last_space_ = 1;
  simulated_link sent_;
  std::optional<kvm_vfio::sim::memory> memory_;
  std::optional<kvm_vfio::sim::process> child_;
};

}  // namespace vfio_lockstep
