// SPDX-License-Identifier: BSL-1.0
#include "step.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace vfio_lockstep {

namespace {

std::string to_string(const ref& r) {
  constexpr const char* names[] = {"container", "group",    "device", "cdev",   "iommufd",
                                   "vm",        "kvm-vfio", "event",  "O_PATH", "kvm",
                                   "-1",        "closed",   "memory", "buffer"};
  const auto k = static_cast<int>(r.what);
  return names[k] + (k < kinds_with_slots ? std::to_string(r.slot) : std::string());
}

std::string hex(std::uint64_t n) {
  char text[20];
  std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(n));
  return text;
}

}  // namespace

std::string to_string(const step& s) {
  constexpr const char* verbs[] = {"open",       "open O_PATH", "dup",   "close",
                                   "eventfd",    "ioctl",       "pread", "pwrite",
                                   "read event", "write event", "mmap"};
  std::string text = verbs[static_cast<int>(s.what)];
  if (s.what != verb::open && s.what != verb::open_path && s.what != verb::eventfd)
    text += " " + to_string(s.on);
  if (!s.name.empty()) text += " " + s.name;
  if (s.what == verb::pread || s.what == verb::pwrite || s.what == verb::mmap ||
      s.what == verb::write_event || s.where == place::value)
    text += " 0x" + hex(s.number);
  if (s.what == verb::pread) text += " size " + std::to_string(s.argument.size());
  if (s.what == verb::mmap) text += " size 0x" + hex(s.size);
  if (!s.argument.empty() && s.what != verb::pread) {
    text += " {";
    for (std::size_t i = 0; i < s.argument.size() && i < 64; i += 4) {
      std::uint32_t word = 0;
      for (std::size_t j = 0; j < 4 && i + j < s.argument.size(); ++j)
        word |= std::uint32_t{s.argument[i + j]} << (8 * j);
      text += (i ? " " : "") + hex(word);
    }
    text += "}";
  }
  for (const patch& p : s.patches) text += " [" + std::to_string(p.offset) + "]=" + to_string(p.to);
  if (s.pointee.what != kind::dma_memory) text += " of " + to_string(s.pointee);
  if (s.what == verb::ioctl && s.where != place::value && s.where != place::good)
    text += std::string(" at ") + name(s.where);
  if (!s.only_for.empty()) text += " only for " + s.only_for;
  if (!s.device.empty()) text += " (" + s.device + ")";
  if (s.makes) text += " -> " + to_string(s.made);
  return text;
}

std::string to_string(const outcome& o) {
  if (!o.done) return "nothing";
  std::string text = std::to_string(o.answer);
  if (o.answer < 0) {
    const char* const known = ::strerrorname_np(static_cast<int>(-o.answer));
    if (known) text = known;
  }
  return o.written.empty() ? text : text + " wrote" + o.written;
}

}  // namespace vfio_lockstep
