// SPDX-License-Identifier: BSL-1.0
// Cases that end in each way, for the tests of the exit status.
#include <stdexcept>

#include "support/catch.hpp"

namespace {

TEST_CASE("passes") { CHECK(true); }
TEST_CASE("skips") { skipping::skip("it is to"); }
TEST_CASE("fails") { CHECK(false); }
// As many as the status of a skipped case.
TEST_CASE("fails four times") {
  for (int i = 0; i < skipping::exit_status; ++i) CHECK(i < 0);
}
TEST_CASE("skips and fails") {
  skipping::skip("it is to");
  CHECK(false);
}
TEST_CASE("fails and skips") {
  CHECK(false);
  skipping::skip("it is to");
}
TEST_CASE("skips and throws") {
  skipping::skip("it is to");
  throw std::runtime_error("it is to");
}

}  // namespace
