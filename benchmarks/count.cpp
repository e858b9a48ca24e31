// SPDX-License-Identifier: BSL-1.0
// count PATTERN SUBJECT FILES ROUNDS: runs ROUNDS rounds of a pattern with FILES files, for a tool
// that counts instructions. Two runs with different ROUNDS give the cost of one round.

#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "patterns.hpp"

namespace {

using namespace bench;

template <class Pattern>
int rounds(std::size_t n, std::size_t count) {
  Pattern round(n);
  bool good = round.good();
  for (std::size_t i = 0; i < count; ++i) good = round() && good;
  return good ? 0 : 1;
}

template <class Subject>
int pattern(std::string_view name, std::size_t n, std::size_t count) {
  if (name == "add_del") return rounds<patterns::add_del<Subject>>(n, count);
  if (name == "shrunk") return rounds<patterns::shrunk<Subject>>(n, count);
  if (name == "fill_drain") return rounds<patterns::fill_drain<Subject>>(n, count);
  if (name == "life") return rounds<patterns::life<Subject>>(n, count);
  return 2;
}

int measure(std::string_view name, std::string_view of, std::size_t n, std::size_t count) {
  if (name == "plain") return pattern<plain>(of, n, count);
  if (name == "linear") return pattern<linear>(of, n, count);
  if (name == "walk") return pattern<walk>(of, n, count);
  if (name == "epoch") return pattern<epoch>(of, n, count);
  if (name == "same_heap") return pattern<same_heap>(of, n, count);
  if (name == "fixed") return pattern<fixed>(of, n, count);
  return 2;
}

std::size_t number(const char* text) {
  std::size_t n = 0;
  std::from_chars(text, text + std::strlen(text), n);
  return n;
}

}  // namespace

int main(int argc, char** argv) {
  int status = 2;
  if (argc == 5 && number(argv[3]) != 0)
    status = measure(argv[2], argv[1], number(argv[3]), number(argv[4]));
  if (status == 2)
    std::fputs(
        "usage: count add_del|shrunk|fill_drain|life plain|linear|walk|epoch|same_heap|fixed "
        "FILES ROUNDS\n",
        stderr);
  if (status == 1) std::fputs("count: an ADD or DEL failed\n", stderr);
  return status;
}
