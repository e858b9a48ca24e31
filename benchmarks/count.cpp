// SPDX-License-Identifier: BSL-1.0
// count SUBJECT FILES ROUNDS: so many rounds of ADD and DEL with so many files, for a tool that
// counts instructions. Two runs that differ in the rounds give the cost of one.

#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "subjects.hpp"

namespace {

using namespace bench;

template <class Subject>
bool rounds(std::size_t n, std::size_t count) {
  const auto s = std::make_unique<Subject>(n, n - 1);
  vfio_file* const f = s->all[n - 1];
  bool good = s->good;
  for (std::size_t i = 0; i < count; ++i)
    good = s->device.add(f) == errc::ok && s->device.del(f) == errc::ok && good;
  return good;
}

std::size_t number(const char* text) {
  std::size_t n = 0;
  std::from_chars(text, text + std::strlen(text), n);
  return n;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 || number(argv[2]) == 0) {
    std::fputs("usage: count plain|linear|walk|epoch|same_heap|fixed FILES ROUNDS\n", stderr);
    return 2;
  }
  const std::string_view subject = argv[1];
  const std::size_t n = number(argv[2]);
  const std::size_t count = number(argv[3]);
  if (subject == "plain") return rounds<plain>(n, count) ? 0 : 1;
  if (subject == "linear") return rounds<linear>(n, count) ? 0 : 1;
  if (subject == "walk") return rounds<walk>(n, count) ? 0 : 1;
  if (subject == "epoch") return rounds<epoch>(n, count) ? 0 : 1;
  if (subject == "same_heap") return rounds<same_heap>(n, count) ? 0 : 1;
  if (subject == "fixed") return rounds<fixed>(n, count) ? 0 : 1;
  std::fprintf(stderr, "count: no subject is called %s\n", argv[1]);
  return 2;
}
