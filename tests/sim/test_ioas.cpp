// SPDX-License-Identifier: BSL-1.0
// iommufd's choice of an address, at the ends of the address space, and the order of its checks.
#include "support/catch.hpp"

#include <kvm_vfio/sim/iommufd/ioas.hpp>

#include <cstdint>

namespace sim = kvm_vfio::sim;
using kvm_vfio::errc;

TEST_CASE("a full address space has no free address") {
  sim::ioas space;
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  REQUIRE(space.map({.iova = 0, .size = half, .address = 0x1000}) == errc::ok);
  std::uint64_t iova = 0;
  REQUIRE(space.find_free(0x1000, 0x1000, 0x1000, iova) == errc::ok);
  CHECK(iova == half);
  REQUIRE(space.map({.iova = half, .size = half, .address = 0x1000}) == errc::ok);
  CHECK(space.find_free(0x1000, 0x1000, 0x1000, iova) == errc::nospc);
}

TEST_CASE("the search for a free address ends with the addresses, and never takes the first page") {
  sim::ioas space;
  constexpr std::uint64_t page = 0x1000;
  REQUIRE(space.map({.iova = page, .size = ~std::uint64_t{0} - page + 1, .address = page}) ==
          errc::ok);
  std::uint64_t iova = 1;
  CHECK(space.find_free(page, page, page, iova) == errc::nospc);
  CHECK(iova == 1);
}

TEST_CASE("iommufd never chooses the last page") {
  sim::ioas space;
  constexpr std::uint64_t page = 0x1000;
  constexpr std::uint64_t last = ~std::uint64_t{0};
  REQUIRE(space.choose_from({{last - 2 * page + 1, last}}) == errc::ok);
  std::uint64_t iova = 0;
  CHECK(space.find_free(2 * page, page, page, iova) == errc::nospc);
  REQUIRE(space.find_free(page, page, page, iova) == errc::ok);
  CHECK(iova == last - 2 * page + 1);
  REQUIRE(space.map({.iova = iova, .size = page, .address = page}) == errc::ok);
  CHECK(space.find_free(page, page, page, iova) == errc::nospc);
  // A fixed address may be there.
  CHECK(space.map({.iova = last - page + 1, .size = page, .address = page}) == errc::ok);
}

TEST_CASE("a free address has the offset of the memory in its page") {
  sim::ioas space;
  constexpr std::uint64_t page = 0x1000;
  std::uint64_t iova = 0;
  REQUIRE(space.find_free(2 * page, 7 * page + 1, page, iova) == errc::ok);
  CHECK(iova == page + 1);
  REQUIRE(space.map({.iova = page, .size = page, .address = page}) == errc::ok);
  REQUIRE(space.find_free(page, 7 * page + 0x800, page, iova) == errc::ok);
  CHECK(iova == 2 * page + 0x800);
  REQUIRE(space.map({.iova = 2 * page, .size = 3, .address = page}) == errc::ok);
  REQUIRE(space.find_free(page, 7 * page + 6, page, iova) == errc::ok);
  CHECK(iova == 2 * page + 6);
  REQUIRE(space.find_free(page, 7 * page + 1, page, iova) == errc::ok);
  CHECK(iova == 2 * page + 3);
}

TEST_CASE("memory that is not aligned is refused only where the addresses are free") {
  sim::ioas space;
  constexpr std::uint64_t page = 0x1000;
  REQUIRE(space.use_small_pages() == errc::ok);
  REQUIRE(space.map({.iova = 2 * page, .size = page, .address = page}) == errc::ok);
  CHECK(space.map({.iova = page, .size = 2 * page, .address = page + 1}) == errc::exists);
  CHECK(space.map({.iova = 3 * page, .size = page, .address = page + 1}) == errc::inval);
  CHECK(space.map({.iova = 2 * page + 1, .size = page, .address = page}) == errc::inval);
}
