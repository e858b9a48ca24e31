// SPDX-License-Identifier: BSL-1.0
#include "kernel_world.hpp"

#include <kvm_vfio/uapi/kvm.hpp>

#include "conformance/support/arena.hpp"
#include "support/attribute.hpp"
#include "support/child.hpp"

#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <system_error>

namespace conformance {

namespace fs = std::filesystem;
namespace kv = kvm_vfio;

namespace {

constexpr int sentinel = 0x5ead;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}
int checked(int answer, const char* what) {
  if (answer < 0) fail(what);
  return answer;
}
kv::errc errc_of(long answer) { return answer < 0 ? kv::to_errc(errno) : kv::errc::ok; }

/// Memory of every kind for a call's two arguments.
class memory : public arena {
 public:
  /// Returns an address of this kind that holds the object, where it can.
  /// \param second the object is the second argument
  template <class T>
  unsigned char* put(place p, const T& object, bool second = false) const {
    const std::size_t offset = second ? page / 2 : 0;
    switch (p) {
      case place::value:
      case place::tight:
      case place::good:
        std::memcpy(good() + offset, &object, sizeof object);
        return good() + offset;
      case place::null: return nullptr;
      case place::unmapped: return absent() + offset;
      case place::read_only:
        std::memcpy(read_only_alias() + offset, &object, sizeof object);
        return read_only() + offset;
      case place::straddling: return absent() - sizeof object / 2;
      case place::high: break;
    }
    return high();
  }
};

/// Makes the n-th allocation of the next call fail (/proc/thread-self/fail-nth).
class failing_allocation {
 public:
  failing_allocation() {
    // Allocations that may wait, which is what an ioctl makes, fail only if told so.
    if (!write_to("ignore-gfp-wait", "N") || !write_to("verbose", "0")) return;
    fd_ = ::open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
  }
  failing_allocation(const failing_allocation&) = delete;
  failing_allocation& operator=(const failing_allocation&) = delete;
  ~failing_allocation() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] bool available() const { return fd_ >= 0; }
  void arm(int nth) const {
    const std::string text = std::to_string(nth);
    if (::pwrite(fd_, text.data(), text.size(), 0) < 0) fail("fail-nth");
  }
  /// Whether it struck; no allocation fails from now on.
  [[nodiscard]] bool disarm() const {
    char left[16] = {};
    if (::pread(fd_, left, sizeof left - 1, 0) < 0) fail("fail-nth");
    if (::pwrite(fd_, "0", 1, 0) < 0) fail("fail-nth");
    return std::strtol(left, nullptr, 10) == 0;
  }

 private:
  static bool write_to(const char* file, const char* text) {
    const std::string path = std::string("/sys/kernel/debug/failslab/") + file;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool good = ::write(fd, text, std::strlen(text)) > 0;
    ::close(fd);
    return good;
  }
  int fd_ = -1;
};

class kernel final : public world {
 public:
  explicit kernel(const host& h) : host_(h) {
    kvm_ = checked(::open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    null_device_ = checked(::open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    o_path_ = checked(::open("/dev/kvm", O_PATH | O_CLOEXEC), "/dev/kvm");
    // Any file that is not VFIO's will do where there is no VFIO.
    container_ = ::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (container_ < 0) container_ = checked(::dup(null_device_), "dup");
  }
  ~kernel() override {
    for (int& fd : devices_) close(fd);
    for (int& fd : leaked_) close(fd);
    for (slot& s : slots_) close(s.fd), close(s.container);
    for (int& fd : tables_) close(fd);
    for (int& fd : vms_) close(fd);
    for (int* fd : {&kvm_, &null_device_, &o_path_, &container_}) close(*fd);
  }

  outcome run(const operation& o) override {
    switch (o.what) {
      case verb::create_vm: return create_vm(o);
      case verb::close_vm: return close_slot(vms_[o.vm]);
      case verb::create_device: return create_device(o);
      case verb::close_device: return close_slot(devices_[o.device]);
      case verb::close_leaked: return close_leaked();
      case verb::set_attr:
      case verb::has_attr:
      case verb::get_attr: return attribute(o);
      case verb::device_ioctl:
        return on(devices_[o.device], [&](int fd) { return ioctl(o, fd, o.number, nullptr); });
      case verb::vm_ioctl:
        return on(vms_[o.vm], [&](int fd) { return ioctl(o, fd, o.number, nullptr); });
      case verb::read:
        return on(devices_[o.device], [](int fd) {
          char byte = 0;
          return errc_of(::read(fd, &byte, 1));
        });
      case verb::write:
        return on(devices_[o.device], [](int fd) { return errc_of(::write(fd, "x", 1)); });
      case verb::lseek:
        return on(devices_[o.device], [](int fd) { return errc_of(::lseek(fd, 0, SEEK_SET)); });
      case verb::mmap:
        return on(devices_[o.device], [](int fd) {
          void* const at = ::mmap(nullptr, arena::page, PROT_READ, MAP_SHARED, fd, 0);
          return errc_of(at == MAP_FAILED ? -1 : 0);
        });
      case verb::open_group: return open_group(o);
      case verb::open_device: return open_device(o);
      case verb::open_cdev: return open_cdev(o);
      case verb::dup_file: return dup_file(o);
      case verb::close_file: return close_file(o);
      case verb::create_table: return create_table(o);
      case verb::close_table: return close_slot(tables_[o.table]);
    }
    return {};
  }

 private:
  struct slot {
    int fd = -1;
    int container = -1;
    const vfio_device* device = nullptr;  // of a group
  };

  static outcome answer(kv::errc e, int detail = 0) { return {true, e, detail}; }
  static void close(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  template <class Call>
  static outcome on(int fd, Call call) {
    return fd < 0 ? outcome{} : answer(call(fd));
  }
  static outcome close_slot(int& fd) {
    if (fd < 0) return {};
    const kv::errc e = errc_of(::close(fd));
    fd = -1;
    return answer(e);
  }

  static kv::errc ioctl(const operation& o, int fd, unsigned long request, void* argument) {
    if (!o.in_child) return errc_of(::ioctl(fd, request, argument));
    const support::child_end child = support::end_of_child(
        [&] { return static_cast<int>(errc_of(::ioctl(fd, request, argument))); });
    if (!child.exited) throw std::runtime_error("a child died");
    return kv::to_errc(child.number);
  }

  int descriptor_of(target t, const operation& o) const {
    switch (t) {
      case target::slot: return slots_[o.slot].fd;
      case target::vm: return vms_[o.vm];
      case target::device: return devices_[o.device];
      case target::table: return tables_[o.table];
      case target::null_device: return null_device_;
      case target::o_path: return o_path_;
      case target::container: return container_;
      case target::minus_one: return -1;
      case target::closed: break;
    }
    return 9999;
  }

  outcome create_vm(const operation& o) {
    if (vms_[o.vm] >= 0) return {};
    vms_[o.vm] = ::ioctl(kvm_, KVM_CREATE_VM, 0UL);
    const kv::errc e = errc_of(vms_[o.vm]);
    return answer(e);
  }

  outcome create_device(const operation& o) {
    int& d = devices_[o.device];
    if (vms_[o.vm] < 0 || d >= 0) return {};
    const kvm_create_device create{.type = o.number, .fd = sentinel, .flags = o.flags};
    unsigned char* const at = memory_.put(o.outer, create);
    // The descriptor that a successful call would take.
    const int lowest = support::lowest_free_descriptor();
    std::optional<support::descriptor_limit> no_descriptors;
    if (o.no_descriptors) no_descriptors.emplace(0);
    if (o.fail_nth) failing_.arm(o.fail_nth);
    const kv::errc e = ioctl(o, vms_[o.vm], KVM_CREATE_DEVICE, at);
    int detail = o.fail_nth && !failing_.disarm() ? 4 : 0;
    no_descriptors.reset();
    if (o.outer == place::good) {
      kvm_create_device written{};
      std::memcpy(&written, at, sizeof written);
      if (written.fd != sentinel) {
        detail += 1;
        d = static_cast<int>(written.fd);
      }
    } else if (::fcntl(lowest, F_GETFD) >= 0) {
      detail += 2;
      leaked_.push_back(lowest);
    }
    return answer(e, detail);
  }
  outcome close_leaked() {
    if (leaked_.empty()) return {};
    for (int& fd : leaked_) close(fd);
    leaked_.clear();
    return answer(kv::errc::ok);
  }

  outcome attribute(const operation& o) {
    const int device = devices_[o.device];
    if (device < 0) return {};
    const unsigned long request = o.what == verb::set_attr   ? KVM_SET_DEVICE_ATTR
                                  : o.what == verb::has_attr ? KVM_HAS_DEVICE_ATTR
                                                             : KVM_GET_DEVICE_ATTR;
    const int fd = o.what == verb::set_attr ? descriptor_of(o.file, o) : 0;
    if (o.what == verb::set_attr && o.file != target::minus_one && fd < 0) return {};
    unsigned char* argument = nullptr;
    if (o.what == verb::set_attr && o.attr == kv::uapi::dev_vfio_group_set_spapr_tce) {
      const int table = descriptor_of(o.table_file, o);
      if (o.table_file != target::minus_one && table < 0) return {};
      argument = memory_.put(o.inner, kvm_vfio_spapr_tce{.groupfd = fd, .tablefd = table}, true);
    } else {
      argument = memory_.put(o.inner, std::int32_t{fd}, true);
    }
    const kvm_device_attr attr{.flags = o.flags,
                               .group = o.number,
                               .attr = o.attr,
                               .addr = reinterpret_cast<std::uintptr_t>(argument)};
    unsigned char* const at = memory_.put(o.outer, attr);
    if (o.fail_nth) failing_.arm(o.fail_nth);
    const kv::errc e = ioctl(o, device, request, at);
    return answer(e, o.fail_nth && !failing_.disarm() ? 4 : 0);
  }

  outcome open_group(const operation& o) {
    slot& s = slots_[o.slot];
    if (s.fd >= 0) return {};
    const vfio_device& device = host_.devices.at(static_cast<std::size_t>(o.other));
    s.fd = ::open(device.group.c_str(), O_RDWR | O_CLOEXEC);
    if (s.fd < 0) return answer(errc_of(-1));
    s.device = &device;
    if (o.with == container::none) return answer(kv::errc::ok);
    s.container = checked(::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), "/dev/vfio/vfio");
    checked(::ioctl(s.fd, VFIO_GROUP_SET_CONTAINER, &s.container), "VFIO_GROUP_SET_CONTAINER");
    if (o.with == container::with_iommu) {
      const unsigned long type = host_.has.spapr ? VFIO_SPAPR_TCE_IOMMU : VFIO_TYPE1v2_IOMMU;
      checked(::ioctl(s.container, VFIO_SET_IOMMU, type), "VFIO_SET_IOMMU");
    }
    return answer(kv::errc::ok);
  }
  outcome open_device(const operation& o) {
    slot& s = slots_[o.slot];
    const slot& from = slots_[o.other];
    if (s.fd >= 0 || from.fd < 0 || !from.device) return {};
    s.fd = ::ioctl(from.fd, VFIO_GROUP_GET_DEVICE_FD, from.device->name.c_str());
    return answer(errc_of(s.fd));
  }
  outcome open_cdev(const operation& o) {
    slot& s = slots_[o.slot];
    if (s.fd >= 0) return {};
    s.fd = ::open(host_.devices.at(static_cast<std::size_t>(o.other)).cdev.c_str(),
                  O_RDWR | O_CLOEXEC);
    return answer(errc_of(s.fd));
  }
  outcome dup_file(const operation& o) {
    slot& s = slots_[o.slot];
    const slot& from = slots_[o.other];
    if (s.fd >= 0 || from.fd < 0) return {};
    s.fd = ::fcntl(from.fd, F_DUPFD_CLOEXEC, 0);
    s.device = from.device;
    return answer(errc_of(s.fd));
  }
  outcome close_file(const operation& o) {
    slot& s = slots_[o.slot];
    if (s.fd < 0) return {};
    const kv::errc e = errc_of(::close(s.fd));
    close(s.container);
    s = {};
    return answer(e);
  }
  outcome create_table(const operation& o) {
    int& fd = tables_[o.table];
    if (fd >= 0 || vms_[o.vm] < 0) return {};
#ifdef __powerpc64__
    // Pages of 4 KiB from bus address 0 are what the host's default window has.
    kvm_create_spapr_tce_64 table{};
    static unsigned liobn = 0x80000000;
    table.liobn = ++liobn;
    table.page_shift = 12;
    table.offset = o.other ? 0x100000 : 0;
    table.size = 0x40000;
    fd = ::ioctl(vms_[o.vm], KVM_CREATE_SPAPR_TCE_64, &table);
#else
    errno = ENOTTY;
#endif
    return answer(errc_of(fd));
  }

  const host& host_;
  memory memory_;
  failing_allocation failing_;
  int kvm_ = -1, null_device_ = -1, o_path_ = -1, container_ = -1;
  int vms_[vm_slots] = {-1, -1, -1};
  int devices_[device_slots] = {-1, -1, -1, -1};
  slot slots_[file_slots];
  int tables_[table_slots] = {-1, -1, -1};
  std::vector<int> leaked_;
};

void add_devices(host& h, const fs::path& directory, int& count) {
  std::error_code none;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(directory, none))
    if (fs::exists(entry.path() / "iommu_group", none)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  for (const fs::path& device : found) {
    vfio_device d{device.filename(),
                  "/dev/vfio/" + fs::read_symlink(device / "iommu_group", none).filename().string(),
                  {}};
    if (!fs::exists(d.group, none)) continue;
    for (const auto& cdev : fs::directory_iterator(device / "vfio-dev", none)) {
      const fs::path file = fs::path("/dev/vfio/devices") / cdev.path().filename();
      if (fs::exists(file, none)) d.cdev = file;
    }
    h.has.cdevs += !d.cdev.empty();
    ++count;
    h.devices.push_back(d);
  }
}

bool has_attribute_3() {
  const int kvm = checked(::open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
  const int vm = checked(::ioctl(kvm, KVM_CREATE_VM, 0UL), "KVM_CREATE_VM");
  kvm_create_device create = support::create_argument();
  checked(::ioctl(vm, KVM_CREATE_DEVICE, &create), "KVM_CREATE_DEVICE");
  const kvm_device_attr attr = support::file_attribute(kv::uapi::dev_vfio_group_set_spapr_tce);
  const bool has = ::ioctl(static_cast<int>(create.fd), KVM_HAS_DEVICE_ATTR, &attr) == 0;
  for (const int fd : {static_cast<int>(create.fd), vm, kvm}) ::close(fd);
  return has;
}

}  // namespace

host find_host() {
  host h;
  add_devices(h, "/sys/bus/pci/drivers/vfio-pci", h.has.groups);
  add_devices(h, "/sys/bus/mdev/devices", h.has.mediated);
  h.has.spapr = has_attribute_3();
  h.has.fail_nth = failing_allocation().available();
  return h;
}

std::unique_ptr<world> make_kernel(const host& h) { return std::make_unique<kernel>(h); }

}  // namespace conformance
