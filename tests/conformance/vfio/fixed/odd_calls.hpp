// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Calls whose arguments are wrong in one place only: memory that ends inside of a struct or cannot
/// be written, numbers at the end of their range.

#include "containers.hpp"
#include "recorder.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep::fixed {

namespace u = kvm_vfio::uapi;

/// Makes such calls for the sequences that derive from it.
template <class System>
class odd_calls {
 protected:
  odd_calls(recorder<System>& on, const machine& m, const dma_memory& memory)
      : on_(on), m_(m), page_(m.page), memory_(memory) {}
  odd_calls(const odd_calls&) = delete;
  odd_calls& operator=(const odd_calls&) = delete;
  ~odd_calls() = default;

  using numbers = std::vector<std::uint64_t>;

  /// The number whose lower half is one member, and whose upper half is the next one.
  static constexpr std::uint64_t pair(std::uint64_t low, std::uint64_t high) {
    return low | high << 32;
  }
  bool ask(const std::string& what, int fd, std::uint64_t request, numbers c) {
    const bool good = on_.ioctl_of(what, fd, request, c);
    on_.bytes(what, reinterpret_cast<const unsigned char*>(c.data()), 8 * c.size());
    return good;
  }
  /// Makes an ioctl whose argument is in memory that ends behind `size` bytes. After an error the
  /// bytes are not kept: how many of them Linux writes before EFAULT is not compared.
  void cut(const std::string& what, int fd, std::uint64_t request, const numbers& c,
           std::size_t size) {
    auto* const at = reinterpret_cast<unsigned char*>(memory_.absent) - size;
    std::memset(at, 0, size);  // both systems find the same behind the numbers
    std::memcpy(at, c.data(), size < 8 * c.size() ? size : 8 * c.size());
    if (on_.ioctl(what + ", cut behind " + std::to_string(size), fd, request,
                  reinterpret_cast<std::uintptr_t>(at)))
      on_.bytes(what, at, size);
  }
  /// Makes an ioctl whose argument is in memory that can only be read.
  void read_only(const std::string& what, int fd, std::uint64_t request, const numbers& c) {
    std::memset(reinterpret_cast<void*>(memory_.alias), 0, 256);
    std::memcpy(reinterpret_cast<void*>(memory_.alias), c.data(), 8 * c.size());
    on_.ioctl(what + ", read-only", fd, request, memory_.read_only);
  }
  /// Addresses differ from run to run, so the lines do not show them.
  void ask(const std::string& what, int fd, std::uint64_t request, numbers c,
           std::uint64_t address) {
    c[1] = address;
    on_.ioctl_of(what, fd, request, c);
  }

  recorder<System>& on_;
  const machine& m_;
  const std::uint64_t page_;
  const dma_memory& memory_;
};

}  // namespace vfio_lockstep::fixed
