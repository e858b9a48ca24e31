// SPDX-License-Identifier: BSL-1.0
#include "log.hpp"

#include "requests.hpp"

#include <kvm_vfio/errc.hpp>

#include <nlohmann/json.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>

namespace kvm_vfio_sim {
namespace {

using kvm_vfio::errc;
using kvm_vfio::trace::call;
using kvm_vfio::trace::call_kind;
using kvm_vfio::trace::file_type;

double now() {
  timespec t{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

std::string hex(std::uint64_t number) {
  char text[24];
  (void)std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
  return text;
}

std::string error_name(errc e) {
  const char* const name = ::strerrorname_np(static_cast<int>(e));
  return name ? name : std::to_string(static_cast<int>(e));
}

constexpr const char* attributes[] = {"", "KVM_DEV_VFIO_FILE_ADD", "KVM_DEV_VFIO_FILE_DEL",
                                      "KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE"};

}  // namespace

call_log::call_log(int file, std::function<file_type(int, int)> type_of)
    : file_(file), type_of_(std::move(type_of)), start_(now()) {}

void call_log::called(const call& c, const call_circumstances& more) {
  ++calls_;
  if (file_ < 0) return;
  nlohmann::ordered_json line;
  line["n"] = calls_;
  line["time"] = time();
  line["pid"] = c.process;
  if (!more.program.empty()) line["program"] = more.program;
  line["call"] = call_name(c.kind);
  if (c.kind == call_kind::open) line["path"] = c.text;
  if (c.fd >= 0) line["fd"] = c.fd;
  if (c.kind == call_kind::ioctl) {
    line["request"] = request_name(c.request, type_of_(c.process, c.fd));
    line["argument"] = hex(c.argument);
    if (!c.text.empty()) line["name"] = c.text;
    if (c.attribute > 0 && c.attribute < 4) line["attribute"] = attributes[c.attribute];
    if (c.subject >= 0) line["subject"] = c.subject;
    if (c.number != 0) line["number"] = c.number;
    if (c.flags != 0) line["flags"] = hex(c.flags);
    if (c.count != 0) line["count"] = c.count;
    if (c.size != 0) {
      line["iova"] = hex(c.iova);
      line["size"] = hex(c.size);
    }
    if (c.unmapped != 0) line["unmapped"] = hex(c.unmapped);
  } else if (c.kind == call_kind::install) {
    line["name"] = c.text;
    if (c.owner != 0) line["owner"] = c.owner;
  } else if (c.size != 0) {
    line[c.kind == call_kind::munmap ? "address" : "offset"] = hex(c.argument);
    line["size"] = hex(c.size);
  }
  if (c.error != errc::ok) {
    line["error"] = error_name(c.error);
    if (more.injected) line["injected"] = true;
  } else if (c.kind == call_kind::exit) {
    if (more.status && WIFSIGNALED(*more.status)) line["signal"] = WTERMSIG(*more.status);
    else if (more.status) line["value"] = WEXITSTATUS(*more.status);
  } else {
    if (c.kind == call_kind::mmap) line["value"] = hex(static_cast<std::uint64_t>(c.value));
    else line["value"] = c.value;
    if (c.made >= 0) line["made"] = c.made;
  }
  write(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void call_log::note(int process, const std::string& call, const std::string& error) {
  if (file_ < 0) return;
  nlohmann::ordered_json line;
  line["time"] = time();
  line["pid"] = process;
  line["call"] = call;
  if (!error.empty()) line["error"] = error;
  write(line.dump() + "\n");
}

void call_log::write(const std::string& line) {
  if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) failed_ = true;
}

double call_log::time() const {
  return static_cast<double>(static_cast<long long>((now() - start_) * 1e6)) / 1e6;
}

}  // namespace kvm_vfio_sim
