// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Patterns of calls that a VMM makes on a device, for measuring time and counting instructions. A
/// pattern is made for a number of files. A call is one round, and returns whether every call in it
/// succeeded.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "subjects.hpp"

namespace bench::patterns {

/// Makes the compiler assume that other code reads the object and changes it.
inline void escape(void* object) noexcept { __asm__ volatile("" : : "r"(object) : "memory"); }

/// ADD and DEL of one more file. With this file there are n, and it is the same file in each round.
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

/// ADD and DEL of one more file, on a device that once had twice as many files as are searched one
/// by one.
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

/// DEL and ADD of a file that is chosen at random among n. It may be anywhere in the list and the
/// caches.
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

/// Adds n files to a device that stays, then deletes them, the oldest first.
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

/// Makes a device, adds n files, and destroys the device with them.
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
