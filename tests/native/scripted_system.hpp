// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A system that answers from a script, and keeps each call with the bytes that were passed.

#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace support {

using bytes = std::vector<unsigned char>;

/// The numbers in memory, as the kernel reads them.
inline std::vector<std::uint32_t> words(const bytes& from) {
  std::vector<std::uint32_t> numbers(from.size() / 4);
  std::memcpy(numbers.data(), from.data(), numbers.size() * 4);
  return numbers;
}

/// A call that was made.
struct made_call {
  std::string name;
  int fd = -1;
  std::uint64_t number = 0;  // an ioctl's request; else the offset, if there is one
  std::uint64_t size = 0;
  bytes data = {};  // what an ioctl, or a call that writes, passed

  [[nodiscard]] std::vector<std::uint32_t> words() const { return support::words(data); }
};

/// What the calls get for an answer, and what they were.
struct script {
  /// Answers of ioctls by request: each may change the argument's bytes. Without one: 0.
  std::map<std::uint64_t, std::function<kvm_vfio::result<int>(unsigned char*)>> ioctls;
  kvm_vfio::result<std::size_t> moved = std::size_t{0};  // of read, write, pread and pwrite
  bytes to_read;                                         // what is read
  kvm_vfio::result<void*> mapped = kvm_vfio::errc::nodev;
  kvm_vfio::result<int> event = 70;
  kvm_vfio::errc closed = kvm_vfio::errc::ok, unmapped = kvm_vfio::errc::ok;
  std::vector<made_call> calls;

  /// Lets an ioctl fail from now on.
  void fail(std::uint64_t request, kvm_vfio::errc why) {
    ioctls[request] = [why](unsigned char*) { return kvm_vfio::result<int>(why); };
  }
  /// The calls since the last time.
  std::vector<made_call> take() { return std::exchange(calls, {}); }
  /// The only call since the last time, or a call without a name.
  made_call one() {
    const std::vector<made_call> made = take();
    return made.size() == 1 ? made.front() : made_call{};
  }
};

/// A handle of a script.
class scripted {
 public:
  scripted() noexcept = default;
  explicit scripted(script& of) noexcept : script_(&of) {}

  [[nodiscard]] kvm_vfio::result<int> open(const char*, int) const noexcept {
    return kvm_vfio::errc::noent;
  }
  kvm_vfio::errc close(int fd) const noexcept {
    keep({.name = "close", .fd = fd});
    return script_->closed;
  }
  [[nodiscard]] kvm_vfio::result<int> dup(int) const noexcept { return kvm_vfio::errc::mfile; }
  [[nodiscard]] kvm_vfio::result<int> ioctl(int fd, unsigned long request,
                                            std::uintptr_t argument) const noexcept {
    made_call call{.name = "ioctl", .fd = fd, .number = request, .size = argument};
    auto* const memory = reinterpret_cast<unsigned char*>(argument);
    // A small argument is a number. An object starts with its size, except KVM's.
    if (argument > 4096) {
      std::uint32_t size = 0;
      if (request == KVM_IRQFD) size = sizeof(struct kvm_irqfd);
      else std::memcpy(&size, memory, sizeof size);
      call.data.assign(memory, memory + size);
    }
    keep(call);
    const auto answer = script_->ioctls.find(request);
    return answer == script_->ioctls.end() ? 0 : answer->second(memory);
  }
  [[nodiscard]] kvm_vfio::result<std::size_t> read(int fd, void* to,
                                                   std::size_t size) const noexcept {
    return give("read", fd, to, size, 0);
  }
  [[nodiscard]] kvm_vfio::result<std::size_t> write(int fd, const void* from,
                                                    std::size_t size) const noexcept {
    return receive("write", fd, from, size, 0);
  }
  [[nodiscard]] kvm_vfio::result<std::size_t> pread(int fd, void* to, std::size_t size,
                                                    std::uint64_t at) const noexcept {
    return give("pread", fd, to, size, at);
  }
  [[nodiscard]] kvm_vfio::result<std::size_t> pwrite(int fd, const void* from, std::size_t size,
                                                     std::uint64_t at) const noexcept {
    return receive("pwrite", fd, from, size, at);
  }
  [[nodiscard]] kvm_vfio::result<void*> mmap(std::size_t size, int protection, int fd,
                                             std::uint64_t at) const noexcept {
    keep({.name = "mmap " + std::to_string(protection), .fd = fd, .number = at, .size = size});
    return script_->mapped;
  }
  kvm_vfio::errc munmap(void* at, std::size_t size) const noexcept {
    keep({.name = "munmap", .number = reinterpret_cast<std::uintptr_t>(at), .size = size});
    return script_->unmapped;
  }
  [[nodiscard]] kvm_vfio::result<int> eventfd() const noexcept {
    keep({.name = "eventfd"});
    return script_->event;
  }

 private:
  void keep(const made_call& call) const { script_->calls.push_back(call); }
  [[nodiscard]] kvm_vfio::result<std::size_t> give(const char* name, int fd, void* to,
                                                   std::size_t size, std::uint64_t at) const {
    keep({.name = name, .fd = fd, .number = at, .size = size});
    const std::size_t given = std::min(size, script_->to_read.size());
    if (given != 0) std::memcpy(to, script_->to_read.data(), given);
    return script_->moved;
  }
  [[nodiscard]] kvm_vfio::result<std::size_t> receive(const char* name, int fd, const void* from,
                                                      std::size_t size, std::uint64_t at) const {
    const auto* const data = static_cast<const unsigned char*>(from);
    keep({.name = name, .fd = fd, .number = at, .size = size, .data = {data, data + size}});
    return script_->moved;
  }

  script* script_ = nullptr;
};
static_assert(kvm_vfio::system<scripted>);

}  // namespace support
