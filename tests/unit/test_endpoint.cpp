// SPDX-License-Identifier: BSL-1.0
// The guard of an attached file, call by call.

#include <kvm_vfio/attachment.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;

// A device that answers ok and remembers what it was told.
struct told_device {
  using calls = std::vector<std::pair<std::uint64_t, std::int32_t>>;
  calls* told = nullptr;
  [[nodiscard]] errc set_attr(const kvm_device_attr& attr) noexcept {
    CHECK(attr.flags == 0);
    CHECK(attr.group == uapi::dev_vfio_file);
    told->emplace_back(attr.attr, *reinterpret_cast<const std::int32_t*>(attr.addr));
    return errc::ok;
  }
  [[nodiscard]] errc has_attr(const kvm_device_attr&) noexcept { return errc::ok; }
  [[nodiscard]] errc ioctl(unsigned long, void*) noexcept { return errc::notty; }
  [[nodiscard]] told_device borrow() const noexcept { return *this; }
};
static_assert(endpoint<told_device>);
using guard_type = attachment<endpoint_view<told_device>>;

constexpr std::uint64_t add = uapi::dev_vfio_file_add, del = uapi::dev_vfio_file_del;

TEST_CASE("An attachment of descriptor 0 is one, and is undone") {
  for (const int fd : {0, 1, 7}) {
    INFO("descriptor " << fd);
    told_device::calls told;
    told_device device{&told};
    {
      auto attached = attach(device, fd);
      REQUIRE(attached);
      CHECK(*attached);
      CHECK(attached->fd() == fd);
      guard_type moved(std::move(*attached));
      CHECK_FALSE(*attached);
      CHECK(moved);
      CHECK(told == told_device::calls{{add, fd}});
      CHECK(moved.detach() == errc::ok);
      CHECK(told == told_device::calls{{add, fd}, {del, fd}});
      CHECK_FALSE(moved);
      CHECK(moved.fd() == -1);
    }
    CHECK(told.size() == 2);
    {
      const auto attached = attach(device, fd);
    }
    CHECK(told == told_device::calls{{add, fd}, {del, fd}, {add, fd}, {del, fd}});
  }
}

TEST_CASE("Move assignment detaches from the old device") {
  told_device::calls one_told, two_told;
  told_device one{&one_told}, two{&two_told};
  auto first = attach(one, 1);
  auto second = attach(two, 2);
  REQUIRE((first && second));
  *first = std::move(*second);
  CHECK_FALSE(*second);
  CHECK(one_told == told_device::calls{{add, 1}, {del, 1}});
  CHECK(first->detach() == errc::ok);
  CHECK(two_told == told_device::calls{{add, 2}, {del, 2}});
  CHECK(one_told.size() == 2);
}

TEST_CASE("Nothing attached is nothing to undo") {
  told_device::calls told;
  told_device device{&told};
  guard_type none;
  CHECK_FALSE(none);
  CHECK(none.fd() == -1);
  CHECK(none.detach() == errc::ok);
  auto attached = attach(device, 0);
  REQUIRE(attached);
  attached->dismiss();
  CHECK_FALSE(*attached);
  CHECK(attached->detach() == errc::ok);
  CHECK(told == told_device::calls{{add, 0}});
}

}  // namespace
}  // namespace tests
