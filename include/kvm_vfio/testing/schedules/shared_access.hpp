// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// One access of a thread to an object that threads share. The explorer of schedules reverses only
/// accesses whose order can matter.

#include <cstdint>

namespace kvm_vfio::testing {

/// What an access does with its object.
enum class access_kind : unsigned char {
  read,      ///< reads the object
  write,     ///< may change the object
  lock,      ///< takes the object, which is a lock
  unlock,    ///< releases the object, which is a lock
  anything,  ///< may use every object: for code whose accesses nobody announces
};

/// One access. The thread makes the access when the scheduler lets the thread go on. The code up to
/// the thread's next access belongs to this access.
struct shared_access {
  access_kind kind = access_kind::anything;  ///< what the access does
  const void* object = nullptr;              ///< identifies the object
  std::uint64_t number = 0;                  ///< tells objects apart that have one address
  const char* what = "a step";               ///< the word for messages; a literal
};

/// Returns true if the order of the two accesses can matter: one of them is `anything`, or both use
/// one object and at least one of them may change it.
[[nodiscard]] constexpr bool depend(const shared_access& a, const shared_access& b) noexcept {
  if (a.kind == access_kind::anything || b.kind == access_kind::anything) return true;
  if (a.object != b.object || a.number != b.number) return false;
  return a.kind != access_kind::read || b.kind != access_kind::read;
}
/// Returns true if the order of the two accesses can matter and if there is a state in which two
/// threads can make either of them first. While a lock is held, no other thread takes or releases
/// it.
[[nodiscard]] constexpr bool race(const shared_access& a, const shared_access& b) noexcept {
  const bool apart = (a.kind == access_kind::unlock &&
                      (b.kind == access_kind::lock || b.kind == access_kind::unlock)) ||
                     (b.kind == access_kind::unlock && a.kind == access_kind::lock);
  return !apart && depend(a, b);
}

}  // namespace kvm_vfio::testing
