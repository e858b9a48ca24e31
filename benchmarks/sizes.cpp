// SPDX-License-Identifier: BSL-1.0
// The memory that devices and tracked files take, as JSON.

#include <cstddef>
#include <cstdio>

#include "subjects.hpp"

namespace {

using namespace bench;

struct no_group {};
template <class File, class Storage>
using entry = typename file_list<File, no_group, Storage>::entry;
template <class Symbols, class Storage = heap_storage>
using one = device<Symbols, null_lock, iommu, linux_7_3, Storage>;

void line(const char* what, std::size_t bytes, bool last = false) {
  std::printf("  \"%s\": %zu%s\n", what, bytes, last ? "" : ",");
}

}  // namespace

int main() {
  std::puts("{");
  line("plain list", sizeof(plain_list<symbols, null_lock>));
  line("device, files without a hash", sizeof(one<unhashed_symbols>));
  line("device", sizeof(one<symbols>));
  line("device with an epoch", sizeof(one<epoch_symbols>));
  line("device with an epoch and room for 16 files inside",
       sizeof(one<epoch_symbols, inline_storage<16>>));
  line("device with an epoch and room for 1024 files inside",
       sizeof(one<epoch_symbols, inline_storage<1024>>));
  line("entry, file without a hash", sizeof(entry<unhashed, heap_storage>));
  line("entry, file named by a pointer", sizeof(entry<vfio_file*, heap_storage>));
  line("entry, file named by an int", sizeof(entry<int, heap_storage>), true);
  std::puts("}");
}
