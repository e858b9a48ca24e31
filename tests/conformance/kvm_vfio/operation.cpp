// SPDX-License-Identifier: BSL-1.0
#include "operation.hpp"

#include <kvm_vfio/uapi/kvm.hpp>

#include <cstring>

namespace conformance {

namespace u = kvm_vfio::uapi;

namespace {

/// splitmix64: the same numbers everywhere, which the standard distributions do not promise.
class random {
 public:
  explicit random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  bool percent(int p) { return below(100) < p; }
  template <class T, std::size_t N>
  T of(const T (&choices)[N]) {
    return choices[below(static_cast<int>(N))];
  }

 private:
  std::uint64_t state_;
};

struct weighted {
  verb what;
  int weight;
};

verb choose(random& r, const machine& m) {
  const bool vfio = m.groups + m.mediated > 0;
  const weighted all[] = {{verb::create_vm, 2},
                          {verb::close_vm, 1},
                          {verb::create_device, 4},
                          {verb::close_device, 1},
                          {verb::close_leaked, 1},
                          {verb::set_attr, 60},
                          {verb::has_attr, 3},
                          {verb::get_attr, 2},
                          {verb::device_ioctl, 2},
                          {verb::vm_ioctl, 1},
                          {verb::read, 1},
                          {verb::write, 1},
                          {verb::lseek, 1},
                          {verb::mmap, 1},
                          {verb::open_group, vfio ? 9 : 0},
                          {verb::open_device, vfio ? 2 : 0},
                          {verb::open_cdev, m.cdevs ? 6 : 0},
                          {verb::dup_file, vfio ? 3 : 0},
                          {verb::close_file, vfio ? 4 : 0},
                          {verb::create_table, m.spapr ? 3 : 0},
                          {verb::close_table, m.spapr ? 1 : 0}};
  int sum = 0;
  for (const weighted& w : all) sum += w.weight;
  int at = r.below(sum);
  for (const weighted& w : all)
    if ((at -= w.weight) < 0) return w.what;
  return verb::set_attr;
}

place any_place(random& r, int bad_percent) {
  constexpr place bad[] = {place::null, place::unmapped, place::read_only, place::straddling,
                           place::high};
  return r.percent(bad_percent) ? r.of(bad) : place::good;
}

target any_file(random& r) {
  constexpr target odd[] = {target::vm,     target::device,    target::null_device,
                            target::o_path, target::container, target::minus_one,
                            target::closed};
  return r.percent(85) ? target::slot : r.of(odd);
}

// POWER's containers take groups with TCE tables only, which mediated devices do not have.
bool has_no_container(const machine& m, int group) { return m.spapr && group >= m.groups; }

operation any(random& r, const machine& m) {
  operation o;
  o.what = choose(r, m);
  o.vm = r.below(vm_slots);
  o.device = r.below(device_slots);
  o.slot = r.below(file_slots);
  o.table = r.below(table_slots);
  o.in_child = r.percent(2);
  switch (o.what) {
    case verb::create_device: {
      constexpr std::uint32_t odd[] = {0, 63, 4711, ~0U};
      o.number = r.percent(85) ? u::dev_type_vfio : r.of(odd);
      constexpr std::uint32_t flags[] = {1, 2, ~0U, 0x80};
      o.flags = r.percent(70) ? 0 : r.of(flags);
      o.outer = any_place(r, 20);
      o.no_descriptors = r.percent(10);
      if (m.fail_nth && !o.no_descriptors && !o.in_child && r.percent(25))
        o.fail_nth = 1 + r.below(4);
      break;
    }
    case verb::set_attr: {
      constexpr std::uint64_t odd[] = {0, 4, ~0ULL, (1ULL << 32) + 1};
      o.number = r.percent(97) ? u::dev_vfio_file : static_cast<std::uint32_t>(r.below(4) * 2);
      o.attr = r.percent(55)              ? u::dev_vfio_file_add
               : m.spapr && r.percent(45) ? u::dev_vfio_group_set_spapr_tce
               : r.percent(94)            ? u::dev_vfio_file_del
               : r.percent(50)            ? u::dev_vfio_group_set_spapr_tce
                                          : r.of(odd);
      o.flags = r.percent(10) ? ~0U : 0;
      o.file = any_file(r);
      constexpr target tables[] = {target::minus_one, target::closed, target::null_device,
                                   target::slot};
      o.table_file = r.percent(75) ? target::table : r.of(tables);
      o.outer = any_place(r, 3);
      // What is refused before memory is read must be seen with memory that cannot be.
      o.inner = any_place(
          r, o.number == u::dev_vfio_file && o.attr <= u::dev_vfio_group_set_spapr_tce ? 6 : 60);
      if (m.fail_nth && !o.in_child && r.percent(10)) o.fail_nth = 1;
      break;
    }
    case verb::has_attr:
      o.number = static_cast<std::uint32_t>(r.below(3));
      o.attr = static_cast<std::uint64_t>(r.below(6));
      o.outer = any_place(r, 10);
      o.inner = any_place(r, 50);
      break;
    case verb::get_attr: o.outer = any_place(r, 50); break;
    case verb::device_ioctl:
    case verb::vm_ioctl: {
      constexpr std::uint32_t requests[] = {0, 1, 0xaefe, 0x5401, 0xffffffff};
      o.number = r.of(requests);
      break;
    }
    case verb::open_group:
      o.other = r.below(m.groups + m.mediated);
      o.with = static_cast<container>(r.percent(60) ? 2 : r.below(m.spapr ? 1 : 2));
      if (has_no_container(m, o.other)) o.with = container::none;
      break;
    case verb::open_cdev: o.other = r.below(m.cdevs); break;
    case verb::open_device:
    case verb::dup_file: o.other = r.below(file_slots); break;
    case verb::create_table: o.other = r.below(2); break;
    default: break;
  }
  return o;
}

}  // namespace

std::vector<operation> generate(std::uint64_t seed, int length, const machine& m) {
  random r(seed);
  std::vector<operation> steps;
  // Most of the time there is a VM and a device, and files to add.
  steps.push_back({.what = verb::create_vm});
  steps.push_back({.what = verb::create_device, .number = u::dev_type_vfio});
  for (int g = 0; g < m.groups + m.mediated && g < file_slots / 2; ++g)
    if (r.percent(60))
      steps.push_back({.what = verb::open_group,
                       .slot = g,
                       .other = g,
                       .with = r.percent(70) && !has_no_container(m, g) ? container::with_iommu
                                                                        : container::none});
  for (int i = 0; i < length; ++i) steps.push_back(any(r, m));
  for (int i = 0; i < device_slots; ++i) steps.push_back({.what = verb::close_device, .device = i});
  steps.push_back({.what = verb::close_leaked});
  for (int i = 0; i < file_slots; ++i) steps.push_back({.what = verb::close_file, .slot = i});
  for (int i = 0; i < table_slots; ++i) steps.push_back({.what = verb::close_table, .table = i});
  for (int i = 0; i < vm_slots; ++i) steps.push_back({.what = verb::close_vm, .vm = i});
  return steps;
}

std::string to_string(const operation& o) {
  constexpr const char* verbs[] = {
      "create_vm",  "close_vm",     "create_device", "close_device", "close_leaked", "set_attr",
      "has_attr",   "get_attr",     "device_ioctl",  "vm_ioctl",     "read",         "write",
      "lseek",      "mmap",         "open_group",    "open_device",  "open_cdev",    "dup_file",
      "close_file", "create_table", "close_table"};
  constexpr const char* targets[] = {"slot",   "vm",        "device",    "table", "/dev/null",
                                     "O_PATH", "container", "minus one", "closed"};
  constexpr const char* containers[] = {"no container", "container without IOMMU",
                                        "container with IOMMU"};
  const auto n = [](auto number) { return std::to_string(number); };
  std::string text = verbs[static_cast<int>(o.what)];
  const auto at = [&](const char* what, place p) {
    if (p != place::good) text += std::string(", ") + what + " " + name(p);
  };
  switch (o.what) {
    case verb::create_vm:
    case verb::close_vm: text += " vm " + n(o.vm); break;
    case verb::vm_ioctl: text += " vm " + n(o.vm) + ", request " + n(o.number); break;
    case verb::create_device:
      text += " vm " + n(o.vm) + ", device " + n(o.device) + ", type " + n(o.number) + ", flags " +
              n(o.flags);
      at("argument", o.outer);
      break;
    case verb::set_attr:
    case verb::has_attr:
      text += " device " + n(o.device) + ", group " + n(o.number) + ", attribute " + n(o.attr);
      if (o.what == verb::set_attr) {
        text += std::string(", ") + targets[static_cast<int>(o.file)];
        if (o.file == target::slot) text += " " + n(o.slot);
        if (o.file == target::vm) text += " " + n(o.vm);
        if (o.attr == u::dev_vfio_group_set_spapr_tce)
          text +=
              std::string(", table: ") + targets[static_cast<int>(o.table_file)] + " " + n(o.table);
      }
      at("structure", o.outer);
      at("argument", o.inner);
      break;
    case verb::open_group:
      text += " slot " + n(o.slot) + ", group " + n(o.other) + ", " +
              containers[static_cast<int>(o.with)];
      break;
    case verb::open_device: text += " slot " + n(o.slot) + ", of slot " + n(o.other); break;
    case verb::dup_file: text += " slot " + n(o.slot) + ", of slot " + n(o.other); break;
    case verb::open_cdev: text += " slot " + n(o.slot) + ", device " + n(o.other); break;
    case verb::close_file: text += " slot " + n(o.slot); break;
    case verb::create_table:
      text += " table " + n(o.table) + ", vm " + n(o.vm) + (o.other ? ", with offset" : "");
      break;
    case verb::close_table: text += " table " + n(o.table); break;
    case verb::close_leaked: break;
    default:
      text += " device " + n(o.device) + (o.number ? ", request " + n(o.number) : "");
      at("argument", o.outer);
      break;
  }
  if (o.in_child) text += ", from a forked child";
  if (o.no_descriptors) text += ", no descriptor left";
  if (o.fail_nth) text += ", allocation " + n(o.fail_nth) + " fails";
  return text;
}

std::string to_string(const outcome& o) {
  if (!o.done) return "nothing";
  std::string text =
      has_name(o.answer) ? name(o.answer) : "error " + std::to_string(static_cast<int>(o.answer));
  return o.detail ? text + ", detail " + std::to_string(o.detail) : text;
}

}  // namespace conformance
