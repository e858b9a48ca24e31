// SPDX-License-Identifier: BSL-1.0
// Catch2's main function with an exit status that tells a skipped case from a failed one, which
// the number of failures, Catch2's own status, does not. To run no case is to fail, as in Catch2 3:
// CMake's list of cases may have a name that is none (of a case that has a semicolon in its name).
#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"

int main(int argc, char** argv) {
  Catch::Session session;
#if CATCH_VERSION_MAJOR < 3
  session.configData().warnings = Catch::WarnAbout::NoTests;
#endif
  if (session.run(argc, argv) != 0) return 1;
  return skipping::skipped ? skipping::exit_status : 0;
}
