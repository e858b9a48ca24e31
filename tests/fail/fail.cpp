// SPDX-License-Identifier: BSL-1.0
// A good archetype minus one thing, by macros: GOOD is the archetype (or a part of it), WITH what
// takes the one thing away, REQUIRES a condition that no longer holds, STATEMENT one that must not
// compile. Without macros the file compiles.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/native/vfio_symbols.hpp>
#include <kvm_vfio/testing/archetypes.hpp>

#include <cstddef>
#include <cstdint>

using namespace kvm_vfio;
namespace good = kvm_vfio::testing::archetypes;

#define AND ;  // which CMake would take for the end of a list's item
#ifndef GOOD
#define GOOD good::lockable
#endif
#ifndef WITH
#define WITH bad() = default
#endif
#ifndef REQUIRES
#define REQUIRES true
#endif
#ifndef STATEMENT
#define STATEMENT (void)0
#endif

struct wrong {};
struct bad : GOOD {
  using base = GOOD;
  WITH;
};
static_assert(REQUIRES);

using symbols = good::spapr_symbol_provider;
using tce_tables = good::spapr_backend;
using device_type_used = device<symbols, good::lockable, tce_tables>;
using machine = vm<good::vm_caller, good::vm_handle>;

void function(device_type_used& dev, good::lockable& lock, good::endpoint& end, null_lock& free);
void function([[maybe_unused]] device_type_used& dev, [[maybe_unused]] good::lockable& lock,
              [[maybe_unused]] good::endpoint& end, [[maybe_unused]] null_lock& free) {
  STATEMENT;
}
