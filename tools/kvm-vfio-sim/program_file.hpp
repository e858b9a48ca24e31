// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Which programs an object can be preloaded into. The preloaded object uses this file, too, so
/// nothing here allocates memory.

#include "paths.hpp"
#include "system_calls.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kvm_vfio_sim {

/// Why an object cannot be preloaded into a program, or does not see the program's calls.
enum class obstacle : std::uint32_t {
  none,                ///< the object can be preloaded, or nobody can execute the file
  is_static,           ///< the program is statically linked
  is_go,               ///< Go makes system calls without the C library
  other_architecture,  ///< the program is for another processor
  other_user,  ///< the program gets other rights (set-user-ID), and the loader preloads nothing
  is_32_bit,   ///< the program makes the calls of a 32-bit kernel, which no transport sees
};

/// What a program's file says.
struct program_file {
  obstacle what = obstacle::none;
  unsigned machine = 0;  ///< the processor, as ELF numbers it (EM_X86_64 …); 0: not known
};

namespace impl {

// A file that is open for this file's functions alone.
class program_descriptor {
 public:
  program_descriptor(int at, const char* path) noexcept
      : fd_(static_cast<int>(
            system_call(SYS_openat, at, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0))) {}
  program_descriptor(const program_descriptor&) = delete;
  program_descriptor& operator=(const program_descriptor&) = delete;
  ~program_descriptor() {
    if (fd_ >= 0) (void)system_call(SYS_close, fd_);
  }
  // Reads `size` bytes at an offset, or less at the end of the file. Returns how many.
  std::size_t read(void* to, std::size_t size, std::uint64_t offset) const noexcept {
    const long n = system_call(SYS_pread64, fd_, to, size, static_cast<long>(offset));
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }
  // Whether the file gives its program the rights of another user or group, or capabilities.
  [[nodiscard]] bool changes_user() const noexcept {
    struct stat s{};
    if (system_call(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return false;
    if (::getuid() != 0 &&
        system_call(SYS_fgetxattr, fd_, "security.capability", static_cast<void*>(nullptr), 0) > 0)
      return true;
    if (system_call(SYS_newfstatat, fd_, "", &s, AT_EMPTY_PATH) != 0) return false;
    struct statfs where{};
    if (system_call(SYS_fstatfs, fd_, &where) == 0 && (where.f_flags & ST_NOSUID)) return false;
    return ((s.st_mode & S_ISUID) && s.st_uid != ::getuid()) ||
           ((s.st_mode & S_ISGID) && (s.st_mode & S_IXGRP) && s.st_gid != ::getgid());
  }

 private:
  int fd_;
};

// The processor that this program is for.
#if defined(__x86_64__)
inline constexpr unsigned own_machine = EM_X86_64;
inline constexpr unsigned own_machine_32 = EM_386;
#elif defined(__aarch64__)
inline constexpr unsigned own_machine = EM_AARCH64;
inline constexpr unsigned own_machine_32 = EM_ARM;
#elif defined(__riscv)
inline constexpr unsigned own_machine = EM_RISCV;
inline constexpr unsigned own_machine_32 = EM_RISCV;
#else
inline constexpr unsigned own_machine = 0;  // any
inline constexpr unsigned own_machine_32 = 0;
#endif

// Whether the kernel can run a program, as far as its processor is concerned.
inline obstacle obstacle_of_processor(const unsigned char* identity, unsigned machine) noexcept {
  constexpr unsigned char order =
      __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
  const bool is_32_bit = identity[EI_CLASS] == ELFCLASS32;
  const bool is_own = identity[EI_DATA] == order && (own_machine == 0 || machine == own_machine ||
                                                     (is_32_bit && machine == own_machine_32));
  if (!is_own) return obstacle::other_architecture;
  return is_32_bit ? obstacle::is_32_bit : obstacle::none;
}

// The interpreter that the first line of a script names. Returns false: the file is no script.
inline bool read_interpreter(const char* head, std::size_t size, char* to) noexcept {
  if (size < 3 || head[0] != '#' || head[1] != '!') return false;
  std::size_t from = 2;
  while (from < size && (head[from] == ' ' || head[from] == '\t')) ++from;
  std::size_t n = 0;
  for (; from + n < size; ++n) {
    const char c = head[from + n];
    if (c == ' ' || c == '\t' || c == '\n' || c == 0) break;
    to[n] = c;
  }
  to[n] = 0;
  return n != 0;
}

}  // namespace impl

/// Looks at the file of a program: at an ELF file, or at the interpreter of a script.
/// \param at   the directory that a relative path starts at; AT_FDCWD: the current one
/// \param path the path, which must be readable memory
/// \return what the file says. The default: the file is not there, or is not a program
inline program_file look_at_program(int at, const char* path) noexcept {
  constexpr int most_scripts = 5;  // the kernel follows as many interpreters
  constexpr std::size_t first_line = 256;
  program_file found;
  char interpreter[first_line];
  for (int depth = 0; depth < most_scripts; ++depth) {
    const char* const slash = std::strrchr(path, '/');
    const char* const name = slash ? slash + 1 : path;
    // The loader itself names no loader, but it preloads.
    if (starts(name, "ld-") || starts(name, "ld.so")) return found;
    const impl::program_descriptor f(at, path);
    char text[first_line] = {};
    const std::size_t size = f.read(text, sizeof text - 1, 0);
    if (impl::read_interpreter(text, size, interpreter)) {
      at = AT_FDCWD;
      path = interpreter;
      continue;
    }
    Elf64_Ehdr head{};
    // The head of a 32-bit file is shorter, and begins with the same members.
    if (size < offsetof(Elf64_Ehdr, e_version)) return found;
    std::memcpy(&head, text, sizeof head);
    if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return found;
    found.machine = head.e_machine;
    found.what = impl::obstacle_of_processor(head.e_ident, head.e_machine);
    if (found.what != obstacle::none || size < sizeof head) return found;
    bool has_loader = false;
    bool is_go = false;
    for (unsigned i = 0; i < head.e_phnum; ++i) {
      Elf64_Phdr part{};
      if (f.read(&part, sizeof part, head.e_phoff + std::uint64_t{i} * head.e_phentsize) !=
          sizeof part)
        return found;
      if (part.p_type == PT_INTERP) has_loader = true;
      // Go's linker writes a note with the name "Go", which comes first in its part.
      struct {
        Elf64_Nhdr head;
        char name[4];
      } note{};
      if (part.p_type == PT_NOTE && f.read(&note, sizeof note, part.p_offset) == sizeof note &&
          std::memcmp(note.name, "Go\0", 4) == 0)
        is_go = true;
    }
    found.what = !has_loader        ? obstacle::is_static
                 : is_go            ? obstacle::is_go
                 : f.changes_user() ? obstacle::other_user
                                    : obstacle::none;
    return found;
  }
  return found;
}

}  // namespace kvm_vfio_sim
