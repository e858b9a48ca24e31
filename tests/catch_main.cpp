// SPDX-License-Identifier: BSL-1.0
// Catch2's main function with an exit status that tells a skipped case from a failed one, which
// the number of failures, Catch2's own status, does not.
#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

int main(int argc, char** argv) {
  if (Catch::Session().run(argc, argv) != 0) return 1;
  return skipping::skipped ? skipping::exit_status : 0;
}
