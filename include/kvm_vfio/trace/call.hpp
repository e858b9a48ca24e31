// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A system call of a simulated process, as observers see it: decoded, with its answer.

#include <kvm_vfio/result.hpp>

#include <cstdint>
#include <string>

namespace kvm_vfio::trace {

/// What a system call answers: a value, 0 when there is nothing to say, or an error.
using answer = result<std::int64_t>;

/// The answer of a call that has no value.
[[nodiscard]] constexpr answer to_answer(errc e) noexcept {
  return e == errc::ok ? answer(0) : answer(e);
}

/// Which system call.
enum class call_kind : unsigned char { open, close, dup, ioctl, pread, pwrite, eventfd };

/// One call. A field that the call has no use for keeps its default.
struct call {
  /// Which call, whose, on which descriptor, with what.
  call_kind kind = call_kind::open;
  int process = 0;              ///< whose (an address space's number)
  int fd = -1;                  ///< the descriptor that it was made on
  std::string text{};           ///< open: the path; GET_DEVICE_FD: the device's name
  std::uint32_t request = 0;    ///< ioctl
  std::uint64_t argument = 0;   ///< ioctl: as given; pread, pwrite: the offset
  std::uint64_t attribute = 0;  ///< a kvm-vfio attribute: 1 FILE_ADD …, 0 another or none
  int subject = -1;          ///< the descriptor that the argument names (FILE_ADD, SET_CONTAINER …)
  int made = -1;             ///< the descriptor that came of it
  std::uint32_t number = 0;  ///< KVM_CREATE_DEVICE: the type; SET_IRQS: the index; ATTACH: pt_id
  std::uint32_t flags = 0;   ///< of KVM_CREATE_DEVICE, SET_IRQS
  std::uint32_t count = 0;   ///< SET_IRQS
  errc error = errc::ok;     ///< the answer
  std::int64_t value = 0;    ///< the answer's value
};

/// Told of every call after it was answered, in the calling thread.
class call_observer {
 public:
  call_observer() = default;
  call_observer(const call_observer&) = delete;
  call_observer& operator=(const call_observer&) = delete;
  /// \param c the call, decoded
  virtual void called(const call& c) = 0;

 protected:
  ~call_observer() = default;
};

}  // namespace kvm_vfio::trace
