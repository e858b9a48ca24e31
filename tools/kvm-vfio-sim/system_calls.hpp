// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The numbers of system calls that older headers of Linux lack. They are the same on every
/// architecture.

#include <sys/syscall.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
