// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The command line of the lock-step programs: option=value, and --help.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

namespace command_line {

/// One option, split.
class option {
 public:
  /// Throws what is wrong.
  explicit option(const std::string& argument) {
    const std::size_t equals = argument.find('=');
    if (equals == std::string::npos) throw std::runtime_error("no value: " + argument);
    key = argument.substr(0, equals);
    value = argument.substr(equals + 1);
  }
  /// The value as a number, not negative; throws when it is none.
  [[nodiscard]] long number() const {
    char* end = nullptr;
    errno = 0;
    const long n = std::strtol(value.c_str(), &end, 10);
    if (value.empty() || *end != '\0' || errno != 0 || n < 0)
      throw std::runtime_error(key + ": '" + value + "' is not a number");
    return n;
  }

  std::string key, value;
};

/// What main() does: prints the usage, or runs; an exception is 2.
template <class Run>
int main(const char* name, const char* usage, int argc, char** argv, Run run) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) {
    std::fputs(usage, stdout);
    return 0;
  }
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", name, e.what());
    return 2;
  }
}

}  // namespace command_line
