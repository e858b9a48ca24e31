// SPDX-License-Identifier: BSL-1.0
#include "tracer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>

namespace conformance {

namespace {

namespace kt = kvm_vfio::testing;
using kt::call;

const std::string tracing = "/sys/kernel/tracing/";

bool write_to(const std::string& file, std::string_view text, int flags = 0) {
  const int fd = ::open((tracing + file).c_str(), O_WRONLY | flags);
  if (fd < 0) return false;
  const bool good = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return good;
}
void must_write(const std::string& file, std::string_view text, int flags = 0) {
  if (!write_to(file, text, flags))
    throw std::runtime_error("tracefs " + file + ": " + std::strerror(errno));
}

/// The number after "key=" in a trace line.
std::uint64_t field(std::string_view line, std::string_view key) {
  const std::string wanted = " " + std::string(key) + "=";
  const std::size_t at = line.find(wanted);
  if (at == std::string_view::npos) return 0;
  return std::strtoull(std::string(line.substr(at + wanted.size(), 24)).c_str(), nullptr, 0);
}
int signed_field(std::string_view line, std::string_view key) {
  const std::string wanted = " " + std::string(key) + "=";
  const std::size_t at = line.find(wanted);
  if (at == std::string_view::npos) return 0;
  return static_cast<int>(
      std::strtoll(std::string(line.substr(at + wanted.size(), 24)).c_str(), nullptr, 0));
}

struct known {
  const char* event;
  call what;
};
constexpr known entries[] = {
    {"is_valid", call::is_valid},
    {"is_group", call::is_group},
    {"set_kvm", call::set_kvm},
    {"coherent", call::enforced_coherent},
    {"register", call::register_noncoherent},
    {"unregister", call::unregister_noncoherent},
    {"start", call::start_assignment},
    {"end", call::end_assignment},
    {"attach", call::spapr_tce_attach},
    {"release", call::spapr_tce_release},
    {"iommu_group", call::iommu_group},
    {"group_put", call::iommu_group_put},
    {"fget", call::fget},
    {"fput", call::fput},
    {"lock_acquire", call::lock},
    {"lock_release", call::unlock},
};

// A line begins with the task's name, a dash and its number, then " [" and the processor's.
long thread_of(std::string_view line) {
  const std::string_view task = line.substr(0, line.find(" ["));
  const std::size_t dash = task.rfind('-');
  if (dash == std::string_view::npos) throw std::runtime_error("the trace names no task");
  return std::strtol(std::string(task.substr(dash + 1)).c_str(), nullptr, 10);
}

// Notes the answer of the thread's last call of that name. What the thread did before it was
// answered was the call's own affair: a look-up of an O_PATH descriptor takes a reference and gives
// it back. What others did meanwhile was theirs.
void answer(std::vector<kernel_call>& calls, std::string_view of, std::string_view line) {
  const auto* const found = std::find_if(std::begin(entries), std::end(entries),
                                         [&](const known& k) { return of == k.event; });
  if (found == std::end(entries)) return;
  const long thread = thread_of(line);
  const auto last = std::find_if(calls.rbegin(), calls.rend(), [&](const kernel_call& c) {
    return c.what == found->what && c.thread == thread;
  });
  if (last == calls.rend()) return;
  kernel_call& answered = *last;
  calls.erase(std::remove_if(last.base(), calls.end(),
                             [&](const kernel_call& c) { return c.thread == thread; }),
              calls.end());
  switch (found->what) {
    case call::iommu_group: answered.group = field(line, "group"); break;
    case call::fget: answered.file = field(line, "file"); break;
    case call::spapr_tce_attach: break;
    default: answered.value = signed_field(line, "ret") != 0; break;
  }
}

}  // namespace

tracer::tracer(const std::vector<std::string>& events_files, bool all_processes) {
  must_write("tracing_on", "0");
  // The names of tasks are not needed. To note them, Linux changes the code of its scheduler while
  // the other processor runs it. Under QEMU this can end in an int3 that nobody handles.
  write_to("options/record-cmd", "0");
  must_write("kprobe_events", "", O_TRUNC);
  for (const std::string& file : events_files) {
    std::ifstream definitions(file);
    if (!definitions) throw std::runtime_error(file + ": cannot be read");
    for (std::string line; std::getline(definitions, line);) {
      if (line.empty() || line[0] == '#') continue;
      // What the kernel does not have is not called either.
      const bool has = write_to("kprobe_events", line + "\n", O_APPEND);
      events_ += has;
      sees_references_ = sees_references_ || (has && line.find("/fput ") != std::string::npos);
    }
  }
  if (events_ == 0) throw std::runtime_error("this kernel has none of the events");
  const std::string filter = "name ~ \"*kv->lock*\"";
  sees_locks_ = write_to("events/lock/lock_acquire/filter", filter) &&
                write_to("events/lock/lock_release/filter", filter) &&
                write_to("events/lock/lock_acquire/enable", "1") &&
                write_to("events/lock/lock_release/enable", "1");
  must_write("trace_clock", "counter");
  // This process, the threads it will start, and its children.
  if (!all_processes) {
    must_write("options/event-fork", "1");
    must_write("set_event_pid", std::to_string(::getpid()));
  }
  must_write("events/kvmvfio/enable", "1");
  must_write("trace", "", O_TRUNC);
  pipe_ = ::open((tracing + "trace_pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (pipe_ < 0) throw std::runtime_error("trace_pipe: " + std::string(std::strerror(errno)));
  messages_ = ::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (messages_ < 0 || ::lseek(messages_, 0, SEEK_END) < 0)
    throw std::runtime_error("/dev/kmsg: " + std::string(std::strerror(errno)));
  must_write("tracing_on", "1");
}

tracer::~tracer() {
  write_to("tracing_on", "0");
  write_to("events/kvmvfio/enable", "0");
  if (pipe_ >= 0) ::close(pipe_);
  if (messages_ >= 0) ::close(messages_);
}

int tracer::take_warnings() {
  int warnings = 0;
  char record[8192];
  for (;;) {
    // EPIPE: records were overwritten before they were read; the next read goes on.
    const ssize_t n = ::read(messages_, record, sizeof record - 1);
    if (n < 0 && (errno == EPIPE || errno == EINTR)) continue;
    if (n <= 0) break;
    const std::string_view text(record, static_cast<std::size_t>(n));
    warnings += text.find("WARNING: ") != std::string_view::npos &&
                text.find("virt/kvm/vfio.c") != std::string_view::npos;
  }
  if (warnings > 0) {
    const int fd = ::open("/sys/kernel/debug/clear_warn_once", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, "1", 1) != 1) throw std::runtime_error("clear_warn_once");
    ::close(fd);
  }
  return warnings;
}

std::vector<kernel_call> tracer::take() {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(pipe_, buffer, sizeof buffer);
    if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    else if (n < 0 && errno == EINTR) continue;
    else break;
  }
  return parse(text);
}

std::vector<kernel_call> tracer::parse(const std::string& text) {
  std::vector<kernel_call> calls;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t line_end = text.find('\n', at);
    if (line_end == std::string::npos) line_end = text.size();
    const std::string_view line(text.data() + at, line_end - at);
    at = line_end + 1;
    if (line.find("LOST") != std::string_view::npos)
      throw std::runtime_error("the trace lost events");
    const std::size_t name_at = line.find(": ");
    const std::size_t name_end = line.find(':', name_at + 2);
    if (name_at == std::string_view::npos || name_end == std::string_view::npos) continue;
    const std::string_view event = line.substr(name_at + 2, name_end - name_at - 2);
    if (event.ends_with("_ret")) {
      answer(calls, event.substr(0, event.size() - 4), line);
      continue;
    }
    for (const known& k : entries) {
      if (event != k.event) continue;
      kernel_call c{k.what, field(line, "file"), field(line, "kvm"), field(line, "group"),
                    0,      thread_of(line)};
      if (k.what == call::spapr_tce_attach) c.value = signed_field(line, "tablefd") < 0 ? -1 : 0;
      // Others put groups too; kvm-vfio's own put follows its release.
      if (k.what == call::iommu_group_put &&
          (calls.empty() || calls.back().what != call::spapr_tce_release))
        continue;
      calls.push_back(c);
    }
  }
  return calls;
}

std::string to_string(const kernel_call& c) {
  char text[160];
  std::snprintf(text, sizeof text, "%s(file %llx, vm %llx, group %llx, %d)", name(c.what),
                static_cast<unsigned long long>(c.file), static_cast<unsigned long long>(c.vm),
                static_cast<unsigned long long>(c.group), c.value);
  return text;
}

}  // namespace conformance
