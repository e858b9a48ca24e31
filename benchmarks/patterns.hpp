// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a VMM does with a device, again and again: for the clock and for counting instructions. A
/// pattern is made for a number of files; a call is one round and says whether all went well.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "subjects.hpp"

namespace bench::patterns {

/// The compiler must assume that somebody looks at the object, and changes it.
inline void escape(void* object) noexcept { __asm__ volatile("" : : "r"(object) : "memory"); }

/// ADD and DEL of one file more, the same each time, when there are n with it.
template <class Subject>
class add_del {
 public:
  explicit add_del(std::size_t n)
      : s_(std::make_unique<Subject>(n, n - 1)), file_(s_->all[n - 1]) {}
  [[nodiscard]] bool good() const noexcept { return s_->good; }
  [[nodiscard]] bool operator()() noexcept {
    return add(s_->device, file_) == errc::ok && del(s_->device, file_) == errc::ok;
  }

 protected:
  std::unique_ptr<Subject> s_;
  vfio_file* file_;
};

/// The same with a device that had twice as many files as are looked for one by one.
template <class Subject>
class shrunk : public add_del<Subject> {
 public:
  explicit shrunk(std::size_t n) : add_del<Subject>(n + once) {
    for (std::size_t i = n + once - 1; i-- > n - 1;)
      gone_ = del(this->s_->device, this->s_->all[i]) == errc::ok && gone_;
    this->file_ = this->s_->all[n - 1];
  }
  [[nodiscard]] bool good() const noexcept { return gone_ && add_del<Subject>::good(); }

 private:
  static constexpr std::size_t once = 32;  // more than 16
  bool gone_ = true;
};

/// DEL and ADD of a file picked at random among n: wherever it is in the list and in the caches.
template <class Subject>
class replace_any {
 public:
  explicit replace_any(std::size_t n) : s_(std::make_unique<Subject>(n, n)) {}
  [[nodiscard]] bool good() const noexcept { return s_->good; }
  [[nodiscard]] bool operator()() noexcept {
    random_ = random_ * 1664525 + 1013904223;
    vfio_file* const f = s_->all[(random_ >> 8) % s_->all.size()];
    return del(s_->device, f) == errc::ok && add(s_->device, f) == errc::ok;
  }

 private:
  std::unique_ptr<Subject> s_;
  std::uint32_t random_ = 1;
};

/// A device that stays gets n files, then loses them, the oldest first.
template <class Subject>
class fill_drain {
 public:
  explicit fill_drain(std::size_t n) : s_(std::make_unique<Subject>(n, 0)) {}
  [[nodiscard]] bool good() const noexcept { return s_->good; }
  [[nodiscard]] bool operator()() noexcept {
    bool good = true;
    for (std::size_t i = 0; i < s_->all.size(); ++i)
      good = add(s_->device, s_->all[i]) == errc::ok && good;
    for (std::size_t i = 0; i < s_->all.size(); ++i)
      good = del(s_->device, s_->all[i]) == errc::ok && good;
    return good;
  }

 private:
  std::unique_ptr<Subject> s_;
};

/// A device is made, gets n files and goes with them.
template <class Subject>
class life {
 public:
  explicit life(std::size_t n) : s_(std::make_unique<Subject>(n, 0)) {}
  [[nodiscard]] bool good() const noexcept { return s_->good; }
  [[nodiscard]] bool operator()() noexcept {
    bool good = true;
    typename Subject::device_type device{s_->vfio, s_->backend, 1};
    escape(&device);
    for (std::size_t i = 0; i < s_->all.size(); ++i)
      good = add(device, s_->all[i]) == errc::ok && good;
    escape(&device);
    return good;
  }

 private:
  std::unique_ptr<Subject> s_;
};

}  // namespace bench::patterns
