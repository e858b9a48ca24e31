// SPDX-License-Identifier: BSL-1.0
// A value or an error.

#include <kvm_vfio/result.hpp>
#include <kvm_vfio/testing/catch2.hpp>

#include <utility>

#include "support/catch.hpp"
#include "support/child.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;

// A value that can be moved and not copied.
struct token {
  int value = 0;
  token() = default;
  explicit token(int v) noexcept : value(v) {}
  token(token&& other) noexcept : value(std::exchange(other.value, 0)) {}
  token& operator=(token&&) = delete;
};

TEST_CASE("result carries a value or an error") {
  result<int> good = 7;
  CHECK(good);
  CHECK(good.has_value());
  CHECK(good.error() == errc::ok);
  CHECK(*good == 7);
  good.value() = 8;
  CHECK(std::as_const(good).value() == 8);
  CHECK(*std::as_const(good) == 8);
  CHECK(std::move(good).value() == 8);
  CHECK(*result<int>(9) == 9);
  const result<int> bad = errc::busy;
  CHECK_FALSE(bad);
  CHECK_FALSE(bad.has_value());
  CHECK(bad.error() == errc::busy);
  struct point {
    int x = 0;
  };
  result<point> p = point{3};
  CHECK(p->x == 3);
  CHECK(std::as_const(p)->x == 3);
}

TEST_CASE("result moves what cannot be copied") {
  result<token> made = token(5);
  token taken = *std::move(made);
  CHECK(taken.value == 5);
  CHECK(made.value().value == 0);
}

TEST_CASE("value_or: the value, or another one after an error") {
  struct row {
    result<int> from;
    int other;
    int want;
  };
  constexpr row rows[] = {
      {7, 1, 7},
      {0, 1, 0},
      {errc::busy, 1, 1},
      {errc::noent, -1, -1},
  };
  for (const row& r : rows) {
    INFO("row " << &r - rows);
    CHECK(r.from.value_or(r.other) == r.want);
    CHECK(result<int>(r.from).value_or(r.other) == r.want);
  }
  static_assert(result<int>(7).value_or(1) == 7);
  static_assert(result<int>(errc::busy).value_or(1) == 1);
  static_assert(noexcept(result<int>(7).value_or(1)));

  CHECK(result<token>(token(5)).value_or(token(6)).value == 5);
  CHECK(result<token>(errc::busy).value_or(token(6)).value == 6);
}

// A value that counts its copies.
struct copied {
  static inline int copies = 0;
  copied() = default;
  copied(const copied&) noexcept { ++copies; }
  copied(copied&&) noexcept {}
  copied& operator=(const copied&) = delete;
};

TEST_CASE("A value is not copied where it can be moved") {
  // NOLINTNEXTLINE(performance-unnecessary-value-param): a parameter by value shows a copy
  const auto take = [](copied) -> result<int> { return 1; };
  const result<copied> failure = errc::busy;
  (void)failure.value_or(copied());
  (void)result<copied>(copied()).value_or(copied());
  (void)result<copied>(copied()).value();
  (void)*result<copied>(copied());
  (void)result<copied>(copied()).and_then(take);
  CHECK(copied::copies == 0);
}

template <class T>
constexpr bool has_copied_value_or =
    requires(const result<T>& r, T (*other)()) { r.value_or(other()); };
static_assert(has_copied_value_or<int> && !has_copied_value_or<token>);

template <class A, class B>
constexpr bool comparable = requires(const A& a, const B& b) { a == b; };

TEST_CASE("A result equals its value or its error") {
  struct row {
    result<int> from;
    int value;
    errc error;
    bool equals_value;
    bool equals_error;
  };
  constexpr row rows[] = {
      {7, 7, errc::ok, true, true},
      {7, 8, errc::busy, false, false},
      {0, 0, errc::ok, true, true},
      {errc::busy, 0, errc::busy, false, true},  // no value, although there is a default one
      {errc::busy, 7, errc::ok, false, false},
      {errc::busy, 7, errc::noent, false, false},
  };
  for (const row& r : rows) {
    INFO("row " << &r - rows);
    CHECK((r.from == r.value) == r.equals_value);
    CHECK((r.value == r.from) == r.equals_value);
    CHECK((r.from != r.value) == !r.equals_value);
    CHECK((r.from == r.error) == r.equals_error);
    CHECK((r.error == r.from) == r.equals_error);
    CHECK((r.from != r.error) == !r.equals_error);
  }
  static_assert(result<long>(7) == 7);
  static_assert(result<int>(errc::busy) == errc::busy);
  struct without {};
  CHECK(result<without>(errc::busy) == errc::busy);
  static_assert(comparable<result<int>, int> && !comparable<result<without>, without>);
  struct throwing {
    bool operator==(const throwing&) const { return true; }
  };
  static_assert(!comparable<result<throwing>, throwing>);
}

constexpr result<long> half(int of) noexcept {
  if (of % 2 != 0) return errc::inval;
  return of / 2;
}
static_assert(*result<int>(8).and_then(half) == 4);
static_assert(result<int>(7).and_then(half).error() == errc::inval);
static_assert(result<int>(errc::busy).and_then(half).error() == errc::busy);
static_assert(noexcept(result<int>(8).and_then(half)));
// Calls its function as an rvalue if it was given as one.
struct tells_value_category {
  constexpr result<int> operator()(int) & noexcept { return 1; }
  constexpr result<int> operator()(int) && noexcept { return 2; }
};
static_assert(*result<int>(0).and_then(tells_value_category{}) == 2);

TEST_CASE("and_then calls the next function only after a success, and moves the value into it") {
  int calls = 0;
  const auto next = [&](token t) -> result<int> { return ++calls, t.value; };
  CHECK(result<token>(token(5)).and_then(next).value() == 5);
  CHECK(calls == 1);
  CHECK(result<token>(errc::nodev).and_then(next).error() == errc::nodev);
  CHECK(calls == 1);
}

using support::signal_that_ends;

TEST_CASE("The value of a failure, and a failure without an error, trap") {
  result<int> failure = errc::busy;
  const result<int>& seen = failure;
  const result<int> success = 1;
  CHECK(signal_that_ends([&] { (void)success.value(); }) == 0);
  CHECK(signal_that_ends([&] { (void)failure.value(); }) != 0);
  CHECK(signal_that_ends([&] { (void)*seen; }) != 0);
  CHECK(signal_that_ends([&] { (void)seen.operator->(); }) != 0);
  errc none = errc::ok;
  CHECK(signal_that_ends([&] { (void)result<int>(none); }) != 0);
}

}  // namespace
}  // namespace tests
