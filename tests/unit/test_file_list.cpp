// SPDX-License-Identifier: BSL-1.0
// The list of a device's files: order, and what is in it.

#include <kvm_vfio/file_list.hpp>
#include <kvm_vfio/heap_storage.hpp>
#include <kvm_vfio/inline_storage.hpp>

#include <cstddef>
#include <vector>

#include "support/catch.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;

using list = file_list<int, std::nullptr_t, heap_storage>;

std::vector<int> order(const list& files) {
  std::vector<int> seen;
  for (const list::entry* e = files.first(); e; e = list::next(*e)) seen.push_back(e->file);
  return seen;
}

// Also that the links back are right: unlinking from the tail follows them.
TEST_CASE("file_list keeps insertion order through unlink and relink, anywhere") {
  for (int size = 1; size <= 4; ++size) {
    for (int gone = 0; gone < size; ++gone) {
      INFO("entry " << gone << " of " << size);
      list files{heap_storage{}};
      std::vector<list::entry*> entries;
      std::vector<int> all, rest;
      for (int f = 0; f < size; ++f) {
        entries.push_back(files.make(f));
        files.append(*entries.back());
        all.push_back(f);
        if (f != gone) rest.push_back(f);
      }
      list::entry& e = *entries[static_cast<std::size_t>(gone)];
      CHECK(order(files) == all);
      CHECK(files.find(gone) == &e);
      files.unlink(e);
      CHECK(order(files) == rest);
      CHECK(files.size() == rest.size());
      CHECK(files.find(gone) == nullptr);
      files.relink(e);
      CHECK(order(files) == all);
      CHECK(files.size() == all.size());
      CHECK(files.find(gone) == &e);
      // Unlinked and appended again, it is the last.
      files.unlink(e);
      files.append(e);
      rest.push_back(gone);
      CHECK(order(files) == rest);
      for (auto i = entries.rbegin(); i != entries.rend(); ++i) {
        files.unlink(**i);
        CHECK(files.find((*i)->file) == nullptr);
        files.destroy(**i);
      }
      CHECK(files.size() == 0);
      CHECK(files.first() == nullptr);
    }
  }
}

TEST_CASE("file_list: an entry that is made is not in the list yet") {
  file_list<int, std::nullptr_t, inline_storage<1>> files{inline_storage<1>{}};
  auto* const e = files.make(1);
  REQUIRE(e);
  CHECK(files.size() == 0);
  CHECK(files.find(1) == nullptr);
  CHECK(files.make(2) == nullptr);
  files.destroy(*e);
  auto* const again = files.make(2);
  REQUIRE(again);
  CHECK(again->file == 2);
  files.destroy(*again);
}

}  // namespace
}  // namespace tests
