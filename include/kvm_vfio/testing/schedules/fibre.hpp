// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Stacks of execution that one thread of the system changes between (ucontext(3)). The address and
/// thread sanitizers are told of each change.

#include <ucontext.h>

#include <cstddef>
#include <memory>

#if defined(__SANITIZE_ADDRESS__)
#define KVM_VFIO_DETAIL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KVM_VFIO_DETAIL_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define KVM_VFIO_DETAIL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KVM_VFIO_DETAIL_TSAN 1
#endif
#endif
#ifdef KVM_VFIO_DETAIL_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef KVM_VFIO_DETAIL_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace kvm_vfio::testing::detail {

// The stack on which a thread of the system began, or a stack of its own.
class fibre {
 public:
  // Makes a fibre for the caller's own stack.
  fibre() noexcept {
#ifdef KVM_VFIO_DETAIL_TSAN
    shadow_ = __tsan_get_current_fiber();
#endif
  }
  // Makes a fibre that calls `entry(argument)` when it is first changed to. `entry` must not
  // return.
  fibre(void (*entry)(void*), void* argument)
      : entry_(entry),
        argument_(argument),
        stack_(std::make_unique<unsigned char[]>(stack_size)),
        bottom_(stack_.get()),
        size_(stack_size) {
    getcontext(&state_);
    state_.uc_stack.ss_sp = stack_.get();
    state_.uc_stack.ss_size = size_;
    state_.uc_link = nullptr;
    makecontext(&state_, &begin, 0);
#ifdef KVM_VFIO_DETAIL_TSAN
    shadow_ = __tsan_create_fiber(0);
#endif
  }
  fibre(const fibre&) = delete;
  fibre& operator=(const fibre&) = delete;
  ~fibre() {
#ifdef KVM_VFIO_DETAIL_TSAN
    if (stack_) __tsan_destroy_fiber(shadow_);
#endif
  }

  // Stops this fibre, which runs now, and goes on with `next`. Returns when another fibre changes
  // to this one.
  void change_to(fibre& next) noexcept {
    last_ = this;
    next_ = &next;
#ifdef KVM_VFIO_DETAIL_ASAN
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, next.bottom_, next.size_);
#endif
#ifdef KVM_VFIO_DETAIL_TSAN
    __tsan_switch_to_fiber(next.shadow_, 0);
#endif
    swapcontext(&state_, &next.state_);
#ifdef KVM_VFIO_DETAIL_ASAN
    __sanitizer_finish_switch_fiber(fake, &last_->bottom_, &last_->size_);
#endif
  }

 private:
  static constexpr std::size_t stack_size = std::size_t{256} << 10;

  static void begin() noexcept {
#ifdef KVM_VFIO_DETAIL_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &last_->bottom_, &last_->size_);
#endif
    next_->entry_(next_->argument_);
  }

  // makecontext passes no pointer, so a new fibre finds itself here.
  static inline thread_local fibre* last_ = nullptr;
  static inline thread_local fibre* next_ = nullptr;

  ucontext_t state_{};
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::unique_ptr<unsigned char[]> stack_;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
#ifdef KVM_VFIO_DETAIL_TSAN
  void* shadow_ = nullptr;
#endif
};

}  // namespace kvm_vfio::testing::detail
