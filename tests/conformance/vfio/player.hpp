// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Makes the calls of steps on a system, the real one or the simulated, and says what they showed.

#include "conformance/support/arena.hpp"
#include "step.hpp"
#include "support/real_system.hpp"
#include "support/system.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <type_traits>
#include <vector>

namespace vfio_lockstep {

/// Memory for arguments, and beside it memory that a call writes and memory to map for DMA. Both
/// systems use the same, one after the other.
class memory : public conformance::arena {
 public:
  static constexpr std::size_t dma_size = 16 * page;

  memory() {
    out_ = map(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    dma_ = map(nullptr, dma_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  }
  memory(const memory&) = delete;
  memory& operator=(const memory&) = delete;
  ~memory() {
    ::munmap(out_, page);
    ::munmap(dma_, dma_size);
  }

  /// Puts an argument to its place, all around it filled anew.
  unsigned char* put(place p, const std::vector<unsigned char>& argument) {
    const std::size_t n = argument.size();
    std::memset(out_, fill, compared);
    std::size_t at = 0;
    unsigned char* window = good();
    switch (p) {
      case place::value:
      case place::good: break;
      case place::tight: at = page - n; break;
      case place::straddling: at = page - n / 2; break;
      case place::read_only: window = read_only_alias(); break;
      case place::null: return nullptr;
      case place::unmapped: return absent();
      case place::high: return high();
    }
    const std::size_t here = at + n > page ? page - at : n;
    window_ = window + at;
    size_ = at + compared > page ? page - at : compared;
    std::memset(window_, fill, size_);
    if (here != 0) std::memcpy(window_, argument.data(), here);
    std::memcpy(before_, window_, size_);
    return (p == place::read_only ? read_only() : good()) + at;
  }
  /// What changed since, but for the masks; in the argument, then in the memory for more.
  std::string changes(place p, const std::vector<mask>& masks) const {
    std::string text;
    const bool there = p != place::null && p != place::unmapped && p != place::high;
    for (std::size_t i = 0; there && i < size_; ++i)
      if (window_[i] != before_[i] && !masked(masks, i)) text += change(i, window_[i]);
    for (std::size_t i = 0; i < compared; ++i)
      if (out_[i] != fill) text += " out" + change(i, out_[i]);
    return text;
  }
  [[nodiscard]] unsigned char* dma() const { return dma_; }
  [[nodiscard]] unsigned char* out() const { return out_; }

 private:
  static constexpr std::size_t compared = 4608;  // a config space, and what follows it
  static constexpr unsigned char fill = 0xa5;

  static bool masked(const std::vector<mask>& masks, std::size_t i) {
    for (const mask& m : masks)
      if (i >= m.offset && i - m.offset < m.size) return true;
    return false;
  }
  static std::string change(std::size_t at, unsigned char value) {
    constexpr char digits[] = "0123456789abcdef";
    return " " + std::to_string(at) + ":" + digits[value >> 4] + digits[value & 15];
  }
  unsigned char* out_ = nullptr;
  unsigned char* dma_ = nullptr;
  unsigned char* window_ = nullptr;
  std::size_t size_ = 0;
  unsigned char before_[compared] = {};
};

/// Returns whether Linux has suspended a PCI function.
inline bool suspended(const std::string& device) {
  std::ifstream file("/sys/bus/pci/devices/" + device + "/power/runtime_status");
  std::string status;
  return std::getline(file, status) && status == "suspended";
}
/// Waits until Linux has suspended a PCI function, but not longer than a second. The function is
/// suspended some time after the call that allows it.
inline void wait_until_suspended(const std::string& device) {
  for (int i = 0; i < 1000 && !suspended(device); ++i) ::usleep(1000);
}

/// A process of a system, with empty slots.
template <support::system System>
class player {
 public:
  player(System& system, memory& arguments) : sys_(system), memory_(arguments) {
    for (auto& of_kind : fds_)
      for (int& fd : of_kind) fd = -1;
    kvm_ = static_cast<int>(sys_.open("/dev/kvm", O_RDWR | O_CLOEXEC));
  }
  player(const player&) = delete;
  player& operator=(const player&) = delete;
  ~player() {
    for (auto& of_kind : fds_)
      for (const int fd : of_kind)
        if (fd >= 0) (void)sys_.close(fd);
    (void)sys_.close(kvm_);
  }

  /// Returns the descriptor that a reference names. Negative: the slot is empty.
  [[nodiscard]] int number(const ref& r) const {
    if (static_cast<int>(r.what) < kinds_with_slots) return fds_[static_cast<int>(r.what)][r.slot];
    if (r.what == kind::kvm) return kvm_;
    return r.what == kind::closed ? 9999 : -1;
  }
  /// Returns whether a step finds its descriptors and its slot, so that a call is made.
  [[nodiscard]] bool would_run(const step& s) const {
    const bool needs = s.what != verb::open && s.what != verb::open_path && s.what != verb::eventfd;
    if (needs && number(s.on) < 0 && s.on.what != kind::minus_one) return false;
    if (s.makes && fds_[static_cast<int>(s.made.what)][s.made.slot] >= 0) return false;
    if (!s.only_for.empty() && name_of(s.on) != s.only_for) return false;
    for (const patch& p : s.patches)
      if (static_cast<int>(p.to.what) < kinds_with_slots && number(p.to) < 0) return false;
    return s.pointee.what == kind::dma_memory ||
           static_cast<int>(s.pointee.what) >= kinds_with_slots || number(s.pointee) >= 0;
  }
  outcome run(const step& s) {
    if (!would_run(s)) return {};
    if (s.pointee.what != kind::dma_memory) {
      const std::int32_t fd = number(s.pointee);
      std::memcpy(memory_.dma(), &fd, sizeof fd);
    }
    std::vector<unsigned char> argument = s.argument;
    if (s.what == verb::pread) argument.assign(argument.size(), 0xa5);
    for (const patch& p : s.patches) apply(p, argument);
    unsigned char* const at = memory_.put(s.where, argument);
    outcome o{true, call(s, at), {}};
    std::vector<mask> masks = s.masks;
    if (s.makes && s.made_at >= 0) masks.push_back({static_cast<std::size_t>(s.made_at), 4});
    o.written = memory_.changes(s.where, masks);
    // How much of an answer was written before its end turned out not to be there: the copy's.
    if (o.answer == -EFAULT) o.written.clear();
    if (o.answer < 0) return o;
    if constexpr (std::is_same_v<System, support::real_system>)
      if (s.suspends) wait_until_suspended(name_of(s.on));
    if (s.what == verb::close) fds_[static_cast<int>(s.on.what)][s.on.slot] = -1;
    if (!s.makes) return o;
    if (static_cast<int>(s.made.what) < kinds_with_slots)
      names_[static_cast<int>(s.made.what)][s.made.slot] =
          s.what == verb::dup ? name_of(s.on) : s.device;
    int& made = fds_[static_cast<int>(s.made.what)][s.made.slot];
    if (s.made_at < 0) {
      made = static_cast<int>(o.answer);
      o.answer = 0;
    } else {
      std::memcpy(&made, at + s.made_at, sizeof made);
    }
    return o;
  }

 private:
  std::string name_of(const ref& r) const {
    if (static_cast<int>(r.what) >= kinds_with_slots) return {};
    return names_[static_cast<int>(r.what)][r.slot];
  }
  void apply(const patch& p, std::vector<unsigned char>& argument) const {
    const bool address = p.to.what == kind::dma_memory || p.to.what == kind::out_memory;
    if (argument.size() < p.offset + (address ? 8 : 4)) return;
    if (!address) {
      const std::int32_t fd = number(p.to);
      std::memcpy(&argument[p.offset], &fd, sizeof fd);
      return;
    }
    std::uint64_t where = 0;
    std::memcpy(&where, &argument[p.offset], sizeof where);
    where += reinterpret_cast<std::uintptr_t>(p.to.what == kind::dma_memory ? memory_.dma()
                                                                            : memory_.out());
    std::memcpy(&argument[p.offset], &where, sizeof where);
  }
  long call(const step& s, unsigned char* at) {
    const int fd = number(s.on);
    switch (s.what) {
      case verb::open: return sys_.open(s.name.c_str(), O_RDWR | O_CLOEXEC);
      case verb::open_path: return sys_.open(s.name.c_str(), O_PATH | O_CLOEXEC);
      case verb::dup: return sys_.dup(fd);
      case verb::close: return sys_.close(fd);
      case verb::eventfd: return sys_.eventfd();
      case verb::ioctl:
        return sys_.ioctl(fd, static_cast<unsigned long>(s.request),
                          s.where == place::value ? static_cast<std::uintptr_t>(s.number)
                                                  : reinterpret_cast<std::uintptr_t>(at));
      case verb::pread: return sys_.pread(fd, at, s.argument.size(), s.number);
      case verb::pwrite: return sys_.pwrite(fd, at, s.argument.size(), s.number);
      case verb::read_event: {
        std::uint64_t count = 0;
        const long a = sys_.read_event(fd, count);
        std::memcpy(at, &count, sizeof count);
        return a;
      }
      case verb::write_event: return sys_.write_event(fd, s.number);
      case verb::mmap: return sys_.mmap(fd, s.size, s.number);
    }
    return 0;
  }

  System& sys_;
  memory& memory_;
  int fds_[kinds_with_slots][slots];
  std::string names_[kinds_with_slots][slots];
  int kvm_ = -1;
};

}  // namespace vfio_lockstep
