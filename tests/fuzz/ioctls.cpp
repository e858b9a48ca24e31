// SPDX-License-Identifier: BSL-1.0
// Fuzzes the simulated host with system calls of two processes. Most arguments of ioctls have the
// layout of their request, and some are wild. A checker and a timeline watch the calls. An error is
// one of Linux's, the state can always be written as text, and nothing is left after the processes.
#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/trace/checker.hpp>
#include <kvm_vfio/trace/timeline.hpp>

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "input.hpp"
#include "requests.hpp"
#include "user_memory.hpp"

namespace {

namespace sim = kvm_vfio::sim;
namespace trace = kvm_vfio::trace;
using fuzz::asked;
using fuzz::input;
using fuzz::require;
using fuzz::user_memory;
using kvm_vfio::errc;

constexpr std::uint64_t page = user_memory::page;
constexpr std::string_view names[] = {"0000:00:04.0", "0000:00:05.0", "0000:00:05.1",
                                      "0000:01:00.0", "0000:02:00.0", "0000:03:00.0"};

// Groups whose devices differ in all that the answers of ioctls depend on.
sim::topology make_host() {
  sim::topology t;
  t.iommus = {{.name = "snoops"},
              {.name = "plain",
               .snoop_control = false,
               .interrupt_remapping = false,
               .page_sizes = 0x10000,
               .aperture = {0x10000, 0xffffffff}}};
  const sim::pci_spec pci{.bars = {{0x4000, true, true}, {}, {0x100}, {0x20, false, false, true}},
                          .rom_size = 0x800,
                          .msi_vectors = 4,
                          .msix_vectors = 8,
                          .msix_table = {0, 0x1000},
                          .bus_resets = true};
  t.groups = {
      {.number = 1, .iommu = "snoops", .devices = {{.name = std::string(names[0]), .pci = pci}}},
      {.number = 2,
       .iommu = "plain",
       .devices = {{.name = std::string(names[1]), .pci = pci},
                   {.name = std::string(names[2]), .pci = {.bus_resets = true}}}},
      {.number = 3,
       .iommu = "snoops",
       .devices = {{.name = std::string(names[3]), .mediated = true}}},
      {.number = 4,
       .iommu = "snoops",
       .devices = {{.name = std::string(names[4]), .needs_vm = true}}},
      {.number = 5,
       .iommu = "snoops",
       .devices = {{.name = std::string(names[5]), .bound = sim::driver::other}}}};
  return t;
}
const sim::checked_topology& host() {
  static const sim::checked_topology made(make_host());
  return made;
}

constexpr const char* paths[] = {"/dev/vfio/vfio",
                                 "/dev/iommu",
                                 "/dev/kvm",
                                 "/dev/vfio/1",
                                 "/dev/vfio/2",
                                 "/dev/vfio/3",
                                 "/dev/vfio/4",
                                 "/dev/vfio/5",
                                 "/dev/vfio/devices/vfio0",
                                 "/dev/vfio/devices/vfio1",
                                 "/dev/vfio/devices/vfio2",
                                 "/dev/vfio/devices/vfio3",
                                 "/dev/vfio/devices/vfio4",
                                 "/sys/class/vfio-dev/vfio0/dev",
                                 "/sys/class/vfio-dev/vfio9/dev",
                                 "/dev/vfio/01"};

struct task {
  task(sim::filesystem& files, int space) : process(files, memory, space) {}
  user_memory memory;
  sim::process process;
};

template <class Profile, class Iommu>
class session {
 public:
  session(input& in, const sim::world_options& options) : in_(in), kernel_(host(), options) {
    for (task& t : tasks_) {
      t.process.observe(checker_);
      t.process.observe(timeline_);
    }
  }

  void run() {
    const sim::snapshot fresh = kernel_.look();
    const std::uint8_t start = in_.byte();
    strict_ = start & 0x80;
    begin(start % 5);
    for (int calls = 0; calls < 100 && !in_.empty(); ++calls) step();
    const sim::snapshot now = kernel_.look();
    require(!to_text(now).empty() && !to_json(now).empty() && !to_dot(now).empty(),
            "the state has no text");
    require(now == now && difference(now, now).empty(), "a state differs from itself");
    for (task& t : tasks_) t.process.clear_faults();
    for (task& t : tasks_) t.process.exit();
    const std::string left = difference(fresh, kernel_.look());
    if (!left.empty()) std::fprintf(stderr, "%s", left.c_str());
    // Without the module nobody takes the VM from a file. Linux keeps the module while files are
    // open.
    require(left.empty() || unloaded_, "something is left after the processes");
    (void)checker_.text();
    (void)timeline_.text();
  }

 private:
  sim::process& process() { return task_->process; }

  // What programs do first, so that the input need not find it.
  void begin(unsigned what) {
    if (what == 0) return;
    open_and_attach(what);
    process().fork_into(tasks_[1].process);  // so that both processes can make calls
  }
  void open_and_attach(unsigned what) {
    constexpr bool spapr = std::is_same_v<Iommu, sim::kvm_spapr_tce>;
    sim::process& p = process();
    (void)p.open_path("/dev/kvm");
    (void)call(0, KVM_CREATE_VM, {});
    (void)call(1, KVM_CREATE_DEVICE, {4, 0, 0});
    (void)p.eventfd();  // 3
    (void)p.open_path(what == 1 ? "/dev/vfio/vfio" : "/dev/iommu");
    const auto container = static_cast<std::uint32_t>(4);
    if (what < 3) {
      (void)p.open_path("/dev/vfio/1");
      (void)p.open_path("/dev/vfio/2");
      (void)call(5, VFIO_GROUP_SET_CONTAINER, {container});
      (void)p.ioctl(4, VFIO_SET_IOMMU, spapr ? VFIO_SPAPR_TCE_IOMMU : VFIO_TYPE1v2_IOMMU);
      if (spapr) (void)p.ioctl(4, VFIO_IOMMU_ENABLE, 0);
      std::vector<std::uint32_t> name(10);
      std::memcpy(name.data(), names[0].data(), names[0].size());
      (void)call(5, VFIO_GROUP_GET_DEVICE_FD, name);
      add_file(5);
      return;
    }
    const char* const path = what == 3 ? "/dev/vfio/devices/vfio0" : "/dev/vfio/devices/vfio3";
    (void)call(4, fuzz::u::request_ioas_alloc, {12, 0, 0});
    (void)p.open_path(path);
    add_file(5);
    (void)call(5, fuzz::u::request_bind_iommufd, {16, 0, container, 0});
    (void)call(5, fuzz::u::request_attach_iommufd_pt, {12, 0, 1});
  }
  void add_file(std::uint32_t fd) {
    const std::uint64_t at = user_memory::first + 0x800;
    task_->memory.place(at, reinterpret_cast<const unsigned char*>(&fd), sizeof fd);
    (void)call(2, KVM_SET_DEVICE_ATTR, {0, 1, 1, 0, static_cast<std::uint32_t>(at), 0});
  }
  sim::answer call(int fd, std::uint32_t request, const std::vector<std::uint32_t>& words) {
    const std::uint64_t at = words.empty() ? 0 : user_memory::first;
    task_->memory.place(at, reinterpret_cast<const unsigned char*>(words.data()), 4 * words.size());
    return process().ioctl(fd, request, at);
  }

  void step() {
    sim::process& p = process();
    switch (in_.below(32)) {
      case 0:
        check(p.open_path(paths[in_.below(std::size(paths))], in_.one_of(8) ? O_PATH : O_RDWR));
        break;
      case 1: check(p.open(pointer<char>(address()))); break;
      case 2: check(p.eventfd()); break;
      case 3: check(p.close(fd())); break;
      case 4: check(p.dup(fd())); break;
      case 5: check(p.dup(fd(), static_cast<int>(in_.below(16)) - 1)); break;
      case 6: check(p.read(fd(), pointer<void>(address()), length())); break;
      case 7: check(p.write(fd(), pointer<void>(address()), length())); break;
      case 8: check(p.pread(fd(), pointer<void>(address()), length(), offset())); break;
      case 9: fill(), check(p.pwrite(fd(), pointer<void>(address()), length(), offset())); break;
      case 10: map(); break;
      case 11: unmap(); break;
      case 12: task_ = &tasks_[in_.below(2)]; break;
      case 13: pass(); break;
      case 14: raise(); break;
      case 15: setting(); break;
      default: ioctl();
    }
  }

  void check(const sim::answer& a) {
    const auto error = static_cast<int>(a.error());
    require(a ? error == 0 : error > 0 && error < 4096, "an error that Linux has not");
  }
  template <class T>
  static T* pointer(std::uint64_t at) {
    return reinterpret_cast<T*>(static_cast<std::uintptr_t>(at));
  }

  void ioctl() {
    const int on = fd();
    const sim::file* const f = process().file_of(on);
    const fuzz::request& r = choose(f);
    std::uint64_t argument = 0;
    if (r.layout.empty()) argument = small64();
    else argument = place(r);
    if (in_.one_of(32)) argument = address();
    const std::uint64_t request = in_.one_of(64) ? in_.number() : r.number;
    if (!strict_) return check(process().ioctl(on, request, argument));
    const sim::snapshot before = kernel_.look();
    const sim::answer a = process().ioctl(on, request, argument);
    check(a);
    if (a || changes_before_error(r.number)) return;
    const std::string changed = difference(before, kernel_.look());
    if (!changed.empty())
      std::fprintf(stderr, "request 0x%x, error %d: %s", r.number, static_cast<int>(a.error()),
                   changed.c_str());
    require(changed.empty(), "an ioctl that failed has changed something");
  }
  // Linux has done a part of the work of these requests when some errors come.
  static bool changes_before_error(std::uint32_t request) {
    return request == VFIO_DEVICE_SET_IRQS || request == VFIO_IOMMU_UNMAP_DMA ||
           request == VFIO_IOMMU_MAP_DMA;
  }
  const fuzz::request& choose(const sim::file* f) {
    const unsigned wanted = in_.byte();
    if (f && wanted < 0xf0) {
      std::vector<const fuzz::request*> fit;
      for (const fuzz::request& r : fuzz::requests)
        if (answers(*f, r.of)) fit.push_back(&r);
      if (!fit.empty()) return *fit[wanted % fit.size()];
    }
    return fuzz::requests[wanted % std::size(fuzz::requests)];
  }

  // Writes the argument of a request into the memory of the process, and returns its address.
  std::uint64_t place(const fuzz::request& r) {
    std::vector<unsigned char> bytes;
    const auto put = [&](std::uint64_t value, std::size_t size) {
      const auto* const raw = reinterpret_cast<const unsigned char*>(&value);
      bytes.insert(bytes.end(), raw, raw + size);
    };
    std::size_t sized = bytes.size();
    bool has_size = false;
    for (const char c : r.layout) switch (c) {
        case 'a':
          sized = bytes.size(), has_size = true;
          put(0, 4);
          break;
        case 'f': put(flags(), 4); break;
        case 'i': put(small32(), 4); break;
        case 'o': put(in_.below(6), 4); break;
        case 'd': put(static_cast<std::uint64_t>(static_cast<std::int64_t>(fd())), 4); break;
        case 'S': put(in_.one_of(8) ? in_.below(64) : 12, 4); break;
        case 'h': put(in_.below(4), 2); break;
        case 'k': put(small64(), 8); break;
        case 'v': put(iova(), 8); break;
        case 's': put(size64(), 8); break;
        case 'p': put(address(), 8); break;
        case 'P': put(descriptors(), 8); break;
        case 'n': {
          char name[40] = {};
          const auto chosen = names[in_.below(std::size(names))];
          std::memcpy(name, chosen.data(), chosen.size());
          if (in_.one_of(16)) name[in_.below(sizeof name)] = static_cast<char>(in_.byte());
          bytes.insert(bytes.end(), name, name + sizeof name);
          break;
        }
        default: put(in_.one_of(16) ? in_.number() : 0, 8); break;
      }
    std::uint32_t size = static_cast<std::uint32_t>(bytes.size());
    const unsigned form = in_.byte();
    if (form >= 0xc0) size = form >= 0xf0 ? static_cast<std::uint32_t>(in_.number(4)) : form & 0x3f;
    if (has_size) std::memcpy(bytes.data() + sized, &size, sizeof size);
    // At the end of readable memory, or in the middle of it.
    const std::uint64_t at = in_.one_of(8)
                                 ? user_memory::first + user_memory::hidden * page - in_.below(256)
                                 : user_memory::first + 0x400 + 8 * in_.below(32);
    task_->memory.place(at, bytes.data(), bytes.size());
    return at;
  }
  // Places two descriptors, and returns their address.
  std::uint64_t descriptors() {
    if (in_.one_of(16)) return address();
    const std::int32_t both[] = {fd(), fd()};
    const std::uint64_t at = user_memory::first + 0x3000;
    task_->memory.place(at, reinterpret_cast<const unsigned char*>(both), sizeof both);
    return at;
  }
  // Writes bytes where the calls that write to files read them.
  void fill() {
    const std::uint64_t bytes = in_.number(4);
    task_->memory.place(user_memory::first, reinterpret_cast<const unsigned char*>(&bytes), 8);
  }

  // A descriptor, which mostly is open.
  int fd() {
    const unsigned n = in_.byte();
    if (n < 0xe0) {
      int open[32], count = 0;
      for (int i = 0; i < 32; ++i)
        if (process().file_of(i)) open[count++] = i;
      if (count != 0) return open[n % static_cast<unsigned>(count)];
    }
    if (n < 0xf8) return static_cast<int>(n % 20);
    return n == 0xff ? -1 : n == 0xfe ? static_cast<int>(in_.number(4)) : 1 << (n - 0xf0);
  }
  // Most numbers in arguments are small: an index, a kind, a count.
  std::uint64_t small64() {
    const unsigned n = in_.byte();
    return n < 0xe0 ? n % 5 : n < 0xf8 ? n % 32 : in_.number();
  }
  std::uint64_t small32() { return small64() & 0xffffffff; }
  std::uint64_t flags() {
    // One kind of data and one action of VFIO_DEVICE_SET_IRQS.
    constexpr unsigned interrupts[] = {0x21, 0x22, 0x24, 0x09, 0x11, 0x0a, 0x12, 0x14};
    const unsigned n = in_.byte();
    return n < 0x90 ? n % 8 : n < 0xe0 ? interrupts[n % 8] : n < 0xf8 ? n % 64 : in_.number(4);
  }
  std::uint64_t iova() {
    const unsigned n = in_.byte();
    if (n < 0xc0) return 0x10000 * (n / 16) + page * (n % 16);
    if (n < 0xe0) return 0xfee00000 + page * (n - 0xd0U);
    if (n < 0xf0) return ~std::uint64_t{0} - page * (n - 0xe0U) - (page - 1);
    return n < 0xf8 ? std::uint64_t{1} << (in_.byte() % 64) : in_.number();
  }
  std::uint64_t size64() {
    const unsigned n = in_.byte();
    if (n < 0xc0) return (n & 0x20 ? 0x10000 : page) * (n % 4);
    if (n < 0xd0) return page * (n - 0xc0U);
    if (n < 0xf0) return (std::uint64_t{1} << (in_.byte() % 64)) - (n % 2 ? page : 0);
    return in_.number();
  }
  // An address in the process, which may be anything.
  std::uint64_t address() {
    const unsigned n = in_.byte();
    if (n < 0xe0) return user_memory::first + page * (n % 16);
    if (n < 0xf0) return user_memory::first + page * (n % 16) - in_.below(16);
    return n < 0xf4 ? 0 : n < 0xf8 ? ~std::uint64_t{0} - in_.byte() : in_.number();
  }
  // More bytes than the memory has are as good as 2 GiB, and quick.
  std::size_t length() {
    const unsigned n = in_.byte();
    return n < 0xf0   ? n % 32
           : n < 0xf8 ? page * (n - 0xefU)
                      : static_cast<std::size_t>(in_.number(3)) % 0x20000;
  }
  // A position in a device file: a region and a place in it.
  std::uint64_t offset() {
    const unsigned n = in_.byte();
    if (n >= 0xf8) return in_.number();
    return (std::uint64_t{n % 16} << 40) + (n & 0x80 ? in_.number(2) : in_.byte());
  }

  void map() {
    const int on = fd();
    const auto made = process().mmap(page * in_.below(6) + in_.below(2), PROT_READ, on,
                                     offset() / page * page + in_.below(2));
    check(made);
    if (made) mapped_.push_back(static_cast<std::uint64_t>(*made));
  }
  void unmap() {
    std::uint64_t at = address();
    if (!mapped_.empty() && !in_.one_of(8)) at = mapped_[in_.below(mapped_.size())];
    check(process().munmap(pointer<void>(at), page * in_.below(6)));
  }
  // Sends a descriptor to the other process, or makes the other process a copy of this one.
  void pass() {
    task& other = task_ == tasks_ ? tasks_[1] : tasks_[0];
    const int from = fd(), to = static_cast<int>(in_.below(20));
    if (in_.one_of(8)) {
      other.process.exit();
      process().fork_into(other.process);
      return;
    }
    const auto f = process().fget(from);
    if (f) check(other.process.install_at(to, *f));
  }
  void raise() {
    sim::vfio_device* const d = kernel_.world().find_device(names[in_.below(std::size(names))]);
    const auto index = static_cast<std::uint32_t>(small64());
    (void)kernel_.world().raise(*d, index, static_cast<std::uint32_t>(small64()));
  }
  void setting() {
    switch (in_.below(8)) {
      case 0: process().memory_lock_limit(page * in_.byte()); break;
      case 1: process().cap_ipc_lock(in_.below(2) != 0); break;
      case 2: process().user(static_cast<int>(in_.below(3))); break;
      case 3: process().limit(in_.below(32)); break;
      case 4: process().fail_call(1 + in_.below(4), errc::nomem); break;
      case 5: process().clear_faults(); break;
      case 6:
        kernel_.vfio.load(in_.below(2) != 0);
        unloaded_ = true;
        break;
      default: process().next_descriptor(static_cast<int>(in_.below(24))); break;
    }
  }

  input& in_;
  sim::kernel<Profile, Iommu> kernel_;
  trace::checker checker_;
  trace::timeline timeline_;
  task tasks_[2] = {{kernel_, 1}, {kernel_, 2}};
  task* task_ = tasks_;
  std::vector<std::uint64_t> mapped_;
  bool strict_ = false;
  bool unloaded_ = false;
};

template <class Profile, class Iommu = sim::iommu>
void run(input& in, const sim::world_options& options) {
  session<Profile, Iommu>(in, options).run();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input in(data, size);
  const unsigned kind = in.byte();
  sim::world_options options;
  options.allow_unsafe_interrupts = kind & 0x80;
  if (kind & 0x40) options.dma_entry_limit = 4;
  if (kind & 0x20) options.huge_page = page;
  switch (kind % 6) {
    case 0: run<kvm_vfio::linux_6_1>(in, options); break;
    case 1: run<kvm_vfio::linux_6_12>(in, options); break;
    case 2:
      options.iommu = sim::iommu_kind::spapr;
      run<kvm_vfio::linux_7_3, sim::kvm_spapr_tce>(in, options);
      break;
    case 3: options.device_files = false; [[fallthrough]];
    default: run<kvm_vfio::linux_7_3>(in, options); break;
  }
  return 0;
}
