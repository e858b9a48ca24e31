// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A mock of the system calls that a VMM makes. A test says what each ioctl answers, which call
/// fails, and reads afterwards which calls were made.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::testing {

/// A system call that a mock has seen.
struct mock_call {
  std::string name;           ///< the name of the call, for example "ioctl"
  int fd = -1;                ///< the descriptor that the call was made on
  unsigned long request = 0;  ///< the request of an ioctl
  std::string path{};         ///< the path of open
  errc error = errc::ok;      ///< the answer
  /// Compares all members.
  friend bool operator==(const mock_call&, const mock_call&) = default;
};

/// The state behind a `mock_system`. By default every path opens, and every ioctl answers 0 and
/// changes nothing. It has no lock: one thread may use a mock.
class mock_state {
 public:
  /// Answers an ioctl. Gets the descriptor and the third argument of ioctl(2).
  using ioctl_handler = std::function<result<int>(int fd, std::uintptr_t argument)>;

  /// Lets `handler` answer an ioctl. The handler may fill the object at the argument.
  void on_ioctl(unsigned long request, ioctl_handler handler) {
    ioctls_[request] = std::move(handler);
  }
  /// Lets open(2) of a path fail.
  void on_open(const std::string& path, errc error) { paths_[path] = error; }
  /// Lets the n-th call from now on fail, counted from 1, whatever call it is. The call does
  /// nothing else, but close(2) closes the descriptor.
  void fail(std::size_t nth, errc error) {
    fails_at_ = calls_.size() + nth;
    fails_with_ = error;
  }
  /// The bytes that pread(2) and pwrite(2) access, by their offset in the file. Other bytes are 0.
  /// All files have the same bytes.
  std::map<std::uint64_t, unsigned char> bytes;
  /// Makes a new descriptor, for the answer of an ioctl that makes one. A number is used once.
  [[nodiscard]] int make_descriptor() {
    open_[next_] = 0;
    return next_++;
  }
  /// Adds to the count of an eventfd, as its device would.
  void signal(int fd) { ++open_.at(fd); }

  /// All calls, in their order.
  [[nodiscard]] const std::vector<mock_call>& calls() const noexcept { return calls_; }
  /// The number of open descriptors.
  [[nodiscard]] std::size_t descriptors() const noexcept { return open_.size(); }
  /// The number of mappings of mmap(2) that were not removed.
  [[nodiscard]] std::size_t mappings() const noexcept { return mapped_.size(); }

 private:
  friend class mock_system;

  // Notes a call. Returns the error with which it must fail, or ok.
  errc begin(mock_call c) {
    calls_.push_back(std::move(c));
    const bool fails = calls_.size() == fails_at_;
    return answer(fails ? fails_with_ : errc::ok);
  }
  errc answer(errc e) { return calls_.back().error = e; }
  template <class T>
  result<T> answer(result<T> r) {
    (void)answer(r.error());
    return r;
  }
  [[nodiscard]] errc begin_on(const char* name, int fd) {
    const errc e = begin({.name = name, .fd = fd});
    return e != errc::ok ? e : answer(open_.contains(fd) ? errc::ok : errc::badf);
  }

  std::map<unsigned long, ioctl_handler> ioctls_;
  std::map<std::string, errc> paths_;
  std::map<int, std::uint64_t> open_;  // the descriptors, with the counts of the eventfds
  std::map<void*, std::vector<unsigned char>> mapped_;
  std::vector<mock_call> calls_;
  std::size_t fails_at_ = 0;
  errc fails_with_ = errc::ok;
  int next_ = 3;
};

/// A handle of a mock. Models `system`. The functions do what `system` says. A call that runs out
/// of memory ends the program.
class mock_system {
 public:
  mock_system() = default;
  /// Refers to a mock, which must outlive this handle and its copies.
  explicit mock_system(mock_state& state) noexcept : state_(&state) {}

  /// Answers open(2). `state.on_open` makes it fail.
  /// \par Errors
  /// - `errc::nosys`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<int> open(const char* path, int) const noexcept {
    if (!state_) return errc::nosys;
    if (const errc e = state_->begin({.name = "open", .path = path}); e != errc::ok) return e;
    const auto refused = state_->paths_.find(path);
    if (refused != state_->paths_.end()) return state_->answer(refused->second);
    return state_->make_descriptor();
  }
  /// Answers close(2).
  /// \par Errors
  /// - `errc::badf`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  errc close(int fd) const noexcept {
    if (!state_) return errc::badf;
    const errc e = state_->begin_on("close", fd);
    state_->open_.erase(fd);
    return e;
  }
  /// Answers fcntl(2) with F_DUPFD_CLOEXEC.
  /// \par Errors
  /// - `errc::badf`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<int> dup(int fd) const noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->begin_on("dup", fd); e != errc::ok) return e;
    return state_->make_descriptor();
  }
  /// Answers ioctl(2), with the handler of `state.on_ioctl` or with 0.
  /// \par Errors
  /// - `errc::badf`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<int> ioctl(int fd, unsigned long request,
                                  std::uintptr_t argument) const noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->begin({.name = "ioctl", .fd = fd, .request = request});
        e != errc::ok)
      return e;
    if (!state_->open_.contains(fd)) return state_->answer(errc::badf);
    const auto found = state_->ioctls_.find(request);
    if (found == state_->ioctls_.end()) return 0;
    return state_->answer(found->second(fd, argument));
  }
  /// Answers read(2) of an eventfd.
  /// \par Errors
  /// - `errc::badf`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<std::size_t> read(int fd, void* to, std::size_t size) const noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->begin_on("read", fd); e != errc::ok) return e;
    std::uint64_t& count = state_->open_[fd];
    if (size < sizeof count) return state_->answer(errc::inval);
    if (count == 0) return state_->answer(errc::again);
    std::memcpy(to, &count, sizeof count);
    count = 0;
    return sizeof count;
  }
  /// Answers write(2) to an eventfd.
  /// \par Errors
  /// - `errc::badf`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<std::size_t> write(int fd, const void* from,
                                          std::size_t size) const noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->begin_on("write", fd); e != errc::ok) return e;
    std::uint64_t more = 0;
    if (size < sizeof more) return state_->answer(errc::inval);
    std::memcpy(&more, from, sizeof more);
    state_->open_[fd] += more;
    return sizeof more;
  }
  /// Answers pread(2) with the bytes of the state.
  /// \par Errors
  /// - `errc::badf`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<std::size_t> pread(int fd, void* to, std::size_t size,
                                          std::uint64_t offset) const noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->begin_on("pread", fd); e != errc::ok) return e;
    for (std::size_t i = 0; i < size; ++i) {
      const auto byte = state_->bytes.find(offset + i);
      static_cast<unsigned char*>(to)[i] = byte == state_->bytes.end() ? 0 : byte->second;
    }
    return size;
  }
  /// Answers pwrite(2), which changes the bytes of the state.
  /// \par Errors
  /// - `errc::badf`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<std::size_t> pwrite(int fd, const void* from, std::size_t size,
                                           std::uint64_t offset) const noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->begin_on("pwrite", fd); e != errc::ok) return e;
    for (std::size_t i = 0; i < size; ++i)
      state_->bytes[offset + i] = static_cast<const unsigned char*>(from)[i];
    return size;
  }
  /// Answers mmap(2) with zeroed memory.
  /// \par Errors
  /// - `errc::badf`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<void*> mmap(std::size_t size, int, int fd, std::uint64_t) const noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->begin_on("mmap", fd); e != errc::ok) return e;
    if (size == 0) return state_->answer(errc::inval);
    std::vector<unsigned char> memory(size);
    void* const at = memory.data();
    state_->mapped_[at] = std::move(memory);
    return at;
  }
  /// Answers munmap(2).
  /// \par Errors
  /// - `errc::nosys`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  errc munmap(void* at, std::size_t) const noexcept {
    if (!state_) return errc::nosys;
    const errc e = state_->begin({.name = "munmap"});
    if (e != errc::ok) return e;
    return state_->answer(state_->mapped_.erase(at) ? errc::ok : errc::inval);
  }
  /// Answers eventfd(2).
  /// \par Errors
  /// - `errc::nosys`: the handle refers to no mock
  /// - the error of `mock_state::fail`, and each error that the test asks for
  [[nodiscard]] result<int> eventfd() const noexcept {
    if (!state_) return errc::nosys;
    if (const errc e = state_->begin({.name = "eventfd"}); e != errc::ok) return e;
    return state_->make_descriptor();
  }

 private:
  mock_state* state_ = nullptr;
};
static_assert(system<mock_system>);

}  // namespace kvm_vfio::testing
