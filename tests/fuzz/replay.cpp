// SPDX-License-Identifier: BSL-1.0
// Runs a fuzzer's function over its corpus, where there is no libFuzzer. An argument is a directory
// of inputs, or a text file with an input in each line.
#include "conformance/support/hex_lines.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      for (const auto& input : conformance::read_hex_lines(argv[i])) {
        (void)LLVMFuzzerTestOneInput(input.data(), input.size());
        ++files;
      }
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string text(std::istreambuf_iterator<char>(in), {});
      (void)LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
      ++files;
    }
  }
  std::printf("%d inputs\n", files);
  return files > 0 ? 0 : 1;
}
