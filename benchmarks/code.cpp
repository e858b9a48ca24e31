// SPDX-License-Identifier: BSL-1.0
// The code that ADD, DEL and the release of one device add to a program: of the plain list, of a
// device with the default policies, and of a device with an epoch.
#include "subjects.hpp"

namespace bench {
using subject_type = decltype(KVM_VFIO_BENCH_SUBJECT::device);

errc add(subject_type& d, vfio_file* f) { return d.add(f); }
errc del(subject_type& d, vfio_file* f) { return d.del(f); }
void release(subject_type& d) { d.~subject_type(); }
}  // namespace bench
