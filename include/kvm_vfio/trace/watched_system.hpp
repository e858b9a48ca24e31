// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Tells an observer of the system calls that a program makes, for example those of real code on a
/// real kernel.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>
#include <kvm_vfio/trace/memory.hpp>
#include <kvm_vfio/trace/mutex.hpp>
#include <kvm_vfio/trace/succeeds.hpp>

#include <cstddef>
#include <cstdint>
#include <new>  // IWYU pragma: keep (placement new)

namespace kvm_vfio::trace {

namespace detail {
// The lock of all watched systems. It is recursive, so an observer may make watched calls. It is
// never destroyed, because a destructor of a static object may make watched calls, too.
[[nodiscard]] inline mutex& order_of_calls() noexcept {
  alignas(mutex) static std::byte memory[sizeof(mutex)];
  static auto* const lock = ::new (memory) mutex;
  return *lock;
}
}  // namespace detail

/// Passes system calls on to another system, and tells an observer of each call. Models `system`:
/// copies refer to the same system and the same observer. Each function returns what the function
/// of the other system returned.
///
/// The observer is called after the system call, in the thread that made it. If an exception leaves
/// the observer, or there is no memory to describe the call, the exception is dropped. The answer
/// of the call is then not changed, but the observer may have missed the call.
///
/// An argument that the kernel cannot read is no crash here either. Then the observer is told of a
/// call without the members that the argument has.
///
/// The observer hears of close(2) and munmap(2) before it hears that another thread got the same
/// descriptor or address again. For this purpose all objects of this class in a program share a
/// lock: a thread holds it while the observer is called, and during close(2) and munmap(2).
/// \tparam System the other system
template <system System>
class watched_system {
 public:
  /// Makes a handle that passes the calls on to a default-constructed `System`, and tells nobody.
  watched_system() noexcept = default;
  /// \param of       the system that makes the calls
  /// \param observer the observer; must outlive every call through this object and its copies
  /// \param process  the number of the process, for the observer
  watched_system(const System& of, call_observer& observer, int process = 1) noexcept
      : system_(of), observer_(&observer), process_(process) {}

  /// Passes open(2) on.
  [[nodiscard]] result<int> open(const char* path, int flags) const noexcept {
    return told(
        {.kind = call_kind::open},
        [&](call& c, memory& mem) {
          (void)peek_string(mem, reinterpret_cast<std::uintptr_t>(path), c.text);
        },
        [&] { return system_.open(path, flags); });
  }
  /// Passes close(2) on.
  errc close(int fd) const noexcept {  // NOLINT(modernize-use-nodiscard): often nothing can be done
    return ended({.kind = call_kind::close, .fd = fd}, [&] { return system_.close(fd); });
  }
  /// Passes dup(2) on.
  [[nodiscard]] result<int> dup(int fd) const noexcept {
    return told({.kind = call_kind::dup, .fd = fd}, [&] { return system_.dup(fd); });
  }
  /// Passes ioctl(2) on.
  [[nodiscard]] result<int> ioctl(int fd, unsigned long request,
                                  std::uintptr_t argument) const noexcept {
    return told(
        {.kind = call_kind::ioctl,
         .fd = fd,
         .request = static_cast<std::uint32_t>(request),
         .argument = argument},
        [](call& c, memory& mem) { decode_argument(c, mem); },
        [&] { return system_.ioctl(fd, request, argument); });
  }
  /// Passes read(2) on.
  [[nodiscard]] result<std::size_t> read(int fd, void* to, std::size_t size) const noexcept {
    return told({.kind = call_kind::read, .fd = fd, .size = size},
                [&] { return system_.read(fd, to, size); });
  }
  /// Passes write(2) on.
  [[nodiscard]] result<std::size_t> write(int fd, const void* from,
                                          std::size_t size) const noexcept {
    return told({.kind = call_kind::write, .fd = fd, .size = size},
                [&] { return system_.write(fd, from, size); });
  }
  /// Passes pread(2) on.
  [[nodiscard]] result<std::size_t> pread(int fd, void* to, std::size_t size,
                                          std::uint64_t offset) const noexcept {
    return told({.kind = call_kind::pread, .fd = fd, .argument = offset, .size = size},
                [&] { return system_.pread(fd, to, size, offset); });
  }
  /// Passes pwrite(2) on.
  [[nodiscard]] result<std::size_t> pwrite(int fd, const void* from, std::size_t size,
                                           std::uint64_t offset) const noexcept {
    return told({.kind = call_kind::pwrite, .fd = fd, .argument = offset, .size = size},
                [&] { return system_.pwrite(fd, from, size, offset); });
  }
  /// Passes mmap(2) on.
  [[nodiscard]] result<void*> mmap(std::size_t size, int protection, int fd,
                                   std::uint64_t offset) const noexcept {
    return told({.kind = call_kind::mmap, .fd = fd, .argument = offset, .size = size},
                [&] { return system_.mmap(size, protection, fd, offset); });
  }
  /// Passes munmap(2) on.
  errc munmap(void* address, std::size_t size) const noexcept {  // NOLINT(modernize-use-nodiscard)
    return ended({.kind = call_kind::munmap,
                  .argument = reinterpret_cast<std::uintptr_t>(address),
                  .size = size},
                 [&] { return system_.munmap(address, size); });
  }
  /// Passes eventfd(2) on.
  [[nodiscard]] result<int> eventfd() const noexcept {
    return told({.kind = call_kind::eventfd}, [&] { return system_.eventfd(); });
  }

 private:
  [[nodiscard]] static answer as_answer(errc e) noexcept { return to_answer(e); }
  [[nodiscard]] static answer as_answer(const result<void*>& a) noexcept {
    if (!a) return a.error();
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(*a));
  }
  template <class Number>
  [[nodiscard]] static answer as_answer(const result<Number>& a) noexcept {
    if (!a) return a.error();
    return static_cast<std::int64_t>(*a);
  }

  // Makes a call with `execute`, and tells the observer. `describe` completes the description
  // first, because the kernel may overwrite the argument.
  template <class Describe, class Execute>
  auto told(call c, Describe describe, Execute execute) const noexcept {
    if (!observer_) return execute();
    memory mem;
    c.process = process_;
    const bool described = detail::succeeds([&] { describe(c, mem); });
    const auto a = execute();
    if (!described) return a;
    const guard held(detail::order_of_calls());
    (void)detail::succeeds([&] {
      decode_answer(c, mem, as_answer(a));
      observer_->called(c);
    });
    return a;
  }
  // As `told`, for a call that gives a descriptor or an address back. Another thread may get it
  // again at once, and the observer must not hear of that first.
  template <class Execute>
  auto ended(const call& c, Execute execute) const noexcept {
    if (!observer_) return execute();
    const guard held(detail::order_of_calls());
    return told(c, execute);
  }
  template <class Execute>
  auto told(const call& c, Execute execute) const noexcept {
    return told(c, [](call&, memory&) {}, execute);
  }

  [[no_unique_address]] System system_{};
  call_observer* observer_ = nullptr;
  int process_ = 1;
};

}  // namespace kvm_vfio::trace
