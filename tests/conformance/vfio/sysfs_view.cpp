// SPDX-License-Identifier: BSL-1.0
#include "sysfs_view.hpp"

#include "sysfs_rows.hpp"

#include <kvm_vfio/sim/sysfs_view.hpp>
#include <kvm_vfio/sim/topology_json.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace vfio_lockstep {

namespace fs = std::filesystem;
namespace sim = kvm_vfio::sim;

namespace {

/// A new folder, which is removed in the end.
class new_folder {
 public:
  new_folder() {
    std::error_code none;
    fs::create_directory("/tmp", none);  // the guest may have none
    std::string name = "/tmp/sysfs-XXXXXX";
    if (!::mkdtemp(name.data())) throw std::runtime_error("no folder can be made in /tmp");
    path_ = name;
  }
  new_folder(const new_folder&) = delete;
  new_folder& operator=(const new_folder&) = delete;
  ~new_folder() {
    std::error_code none;
    fs::remove_all(path_, none);
  }
  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

 private:
  fs::path path_;
};

/// A file, a link or a folder. Files have their text, links have what they lead to.
struct entry {
  std::string kind;
  std::string content;
};
using entries = std::map<std::string, entry>;

bool is_address(std::string_view name) {
  return fnmatch("[0-9a-f]*:[0-9a-f][0-9a-f]:[01][0-9a-f].[0-7]", std::string(name).c_str(), 0) ==
         0;
}

/// The path of a folder of the host, without what a topology does not know: the bus and the bridges
/// in front of a PCI function, the number of an IOMMU, and the parent of a mediated device, which
/// is that of a sample driver on the booted kernels.
std::string without_place(const std::string& path) {
  constexpr std::string_view iommus = "/devices/virtual/iommu/",
                             mtty = "/devices/virtual/mtty/mtty";
  if (path.starts_with(mtty)) return "/devices/virtual/mdev" + path.substr(mtty.size());
  if (path.starts_with(iommus)) {
    const std::size_t number = path.find_first_of("0123456789", iommus.size());
    return path.substr(0, number) + "N";
  }
  if (!path.starts_with("/devices/pci")) return path;
  std::string out = "/devices/pci", last;
  std::istringstream parts(path.substr(out.size()));
  std::string part;
  std::getline(parts, part, '/');
  while (std::getline(parts, part, '/')) {
    if (is_address(part)) {
      last = "/" + part;
      continue;
    }
    out += last + "/" + part;
    last.clear();
  }
  return out + last;
}

/// Linux gives out the numbers of devices as they come. Only the node of a container has fixed
/// ones.
std::string without_numbers(const std::string& text) {
  std::string major, minor, rest;
  std::istringstream in(text);
  const auto number = [&in](const char* name, std::string& to) {
    std::getline(in, to);
    if (to.starts_with(name)) to.erase(0, std::strlen(name));
  };
  number("MAJOR=", major);
  number("MINOR=", minor);
  std::getline(in, rest, '\0');
  if (major == "10") return "MAJOR=10\nMINOR=" + (minor == "196" ? minor : "N") + "\n" + rest;
  return "MAJOR=M\nMINOR=N\n" + rest;
}
/// What both trees must have in common in a file.
std::string comparable(const std::string& name, const std::string& text) {
  const std::string last = name.substr(name.rfind('/') + 1);
  if (last == "dev") {
    if (text == "10:196\n") return text;
    return text.starts_with("10:") ? "10:N\n" : "M:N\n";
  }
  if (last == "uevent" && text.starts_with("MAJOR=")) return without_numbers(text);
  // A kernel without SR-IOV has no lines for virtual functions. These lines are zeros.
  if (last == "resource") {
    constexpr std::size_t line = 57, lines = 7;
    const std::string more = text.substr(std::min(text.size(), line * lines));
    return more.find_first_not_of("0x \n") == more.npos ? text.substr(0, line * lines) : text;
  }
  // The bits that a program reads of an IOMMU: whether it enforces coherency; how many domains and
  // levels of page tables it has, the width of addresses, and the sizes of pages.
  if (name.ends_with("intel-iommu/ecap"))
    return std::to_string(std::strtoull(text.c_str(), nullptr, 16) & 0x80);
  if (name.ends_with("intel-iommu/cap"))
    return std::to_string(std::strtoull(text.c_str(), nullptr, 16) & 0x3c003f1f07);
  // Without the bit of the status, the pointer to the capabilities means nothing.
  if (last == "config" && text.size() > 64 && (text[6] & 0x10) == 0) {
    std::string config = text;
    config[0x34] = 0;
    return config;
  }
  return text;
}

/// The text of a file. Linux refuses to read some that it shows.
std::string text_of(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::string("cannot be opened: ") + std::strerror(errno);
  std::string text;
  char part[4096];
  ssize_t n = 0;
  while ((n = ::read(fd, part, sizeof part)) > 0) text.append(part, static_cast<std::size_t>(n));
  if (n < 0) text = std::string("cannot be read: ") + std::strerror(errno);
  ::close(fd);
  return text;
}

/// One of the two trees.
class tree {
 public:
  explicit tree(fs::path root) : root_(fs::canonical(root)) {}

  [[nodiscard]] bool has(const std::string& path) const {
    std::error_code none;
    return fs::exists(real(path), none);
  }
  /// All that is in a folder, and in the folders in it. A link counts as a link.
  [[nodiscard]] entries all(const std::string& path, bool deep) const {
    entries out;
    std::error_code none;
    const fs::path at = fs::canonical(real(path), none);
    if (none) return out;
    add(at, "", deep, out);
    return out;
  }
  /// The path of a folder in the tree, without links.
  [[nodiscard]] std::string where(const fs::path& path) const {
    std::error_code error;
    const std::string at = fs::canonical(path, error).string();
    if (error) return "nothing";
    return at.starts_with(root_.string() + "/") ? at.substr(root_.string().size()) : at;
  }
  [[nodiscard]] fs::path real(const std::string& path) const {
    return fs::path(root_).concat(path);
  }

 private:
  void add(const fs::path& at, const std::string& before, bool deep, entries& out) const {
    std::error_code none;
    for (const fs::directory_entry& e : fs::directory_iterator(at, none)) {
      const std::string last = e.path().filename().string(), name = before + last;
      struct stat status{};
      if (::lstat(e.path().c_str(), &status) != 0) continue;
      if (S_ISLNK(status.st_mode)) {
        out[name] = {"link", without_place(where(e.path()))};
      } else if (S_ISDIR(status.st_mode)) {
        if (is_address(last)) continue;  // a device behind a bridge
        out[name] = {"folder", ""};
        if (deep) add(e.path(), name + "/", deep, out);
      } else {
        char mode[16];
        std::snprintf(mode, sizeof mode, "file %04o", status.st_mode & 07777U);
        out[name] = {mode, content_of(e.path(), last, name, status)};
      }
    }
  }
  [[nodiscard]] static std::string content_of(const fs::path& file, const std::string& last,
                                              const std::string& name, const struct stat& status) {
    // To read the memory of a device has effects.
    if (last == "rom" || fnmatch("resource[0-9]*", last.c_str(), 0) == 0)
      return std::to_string(status.st_size) + " bytes";
    if ((status.st_mode & 0400U) == 0) return "";
    const std::string text = comparable(name, text_of(file));
    return last == "config" ? std::to_string(status.st_size) + " bytes:" + text : text;
  }

  fs::path root_;
};

/// A text for a message: bytes that cannot be printed become numbers.
std::string shown(const std::string& text) {
  std::string out;
  for (const char c : text) {
    char number[8];
    std::snprintf(number, sizeof number, "\\x%02x", static_cast<unsigned char>(c));
    if (c == '\n') out += "\\n";
    else out += c < ' ' || c > '~' ? std::string(number) : std::string(1, c);
  }
  return out.size() > 300 ? out.substr(0, 300) + "..." : out;
}
/// How two contents differ. Long ones are shown from the first byte that differs.
std::string both(const std::string& kernel, const std::string& view) {
  const auto from = [&](const std::string& text, std::size_t at) {
    return "'" + shown(text.substr(std::min(at, text.size()), 40)) + "'";
  };
  if (kernel.size() < 600) return "kernel '" + shown(kernel) + "', view '" + shown(view) + "'";
  std::size_t at = 0;
  while (at < kernel.size() && at < view.size() && kernel[at] == view[at]) ++at;
  return "from byte " + std::to_string(at) + " kernel " + from(kernel, at) + ", view " +
         from(view, at);
}

class comparer {
 public:
  comparer(const tree& kernel, const tree& view, std::string name, bool complete)
      : kernel_(kernel), view_(view), name_(std::move(name)), complete_(complete) {}

  /// Compares a folder of both trees. \param kind the first part of the entries' names
  void folder(const std::string& kind, const std::string& kernel, const std::string& view,
              bool deep = true) {
    if (!kernel_.has(kernel) && !view_.has(view)) return;
    if (!kernel_.has(kernel)) return differs(kind, sysfs_side::view_only, view);
    if (!view_.has(view)) return differs(kind, sysfs_side::linux_only, kernel);
    const entries k = kernel_.all(kernel, deep), v = view_.all(view, deep);
    std::set<std::string> names;
    for (const auto& [name, e] : k) names.insert(name);
    for (const auto& [name, e] : v) names.insert(name);
    for (const std::string& name : names) {
      const auto of_kernel = k.find(name), of_view = v.find(name);
      const std::string what = kind + "/" + name;
      if (of_kernel == k.end()) {
        // One line for a folder that is missing.
        if (!inside_missing(name, k, v))
          differs(what, sysfs_side::view_only, view, shown(of_view->second.content));
      } else if (of_view == v.end()) {
        if (!inside_missing(name, v, k))
          differs(what, sysfs_side::linux_only, kernel, shown(of_kernel->second.content));
      } else {
        ++result.compared;
        if (of_kernel->second.kind != of_view->second.kind)
          differs(what, sysfs_side::content, kernel,
                  "kernel " + of_kernel->second.kind + ", view " + of_view->second.kind);
        else if (of_kernel->second.content != of_view->second.content)
          differs(what, sysfs_side::content, kernel,
                  both(of_kernel->second.content, of_view->second.content));
      }
    }
  }
  void folder(const std::string& kind, const std::string& path, bool deep = true) {
    folder(kind, path, path, deep);
  }
  /// The node of /sys/dev/char leads to the folder that has the number.
  void number(const std::string& path) {
    for (const tree* t : {&kernel_, &view_}) {
      if (!t->has(path + "/dev")) continue;
      std::string number = text_of(t->real(path + "/dev"));
      number.pop_back();
      if (t->where(t->real("/dev/char/" + number)) != t->where(t->real(path)))
        differs("number", t == &kernel_ ? sysfs_side::linux_only : sysfs_side::view_only, path);
      else ++result.compared;
    }
  }
  /// Adds a line for each difference that no row allows, and for each row that allows nothing.
  void finish() {
    for (const auto& [line, where] : seen_) {
      std::string more;
      if (where.size() > 1) more = " and " + std::to_string(where.size() - 1) + " more";
      result.differences.push_back(line + " (" + where.front() + more + ")");
    }
    if (!complete_) return;
    for (const sysfs_row& row : sysfs_rows)
      if (!std::string_view(row.kernels).starts_with("*") && of_this_kernel(row) &&
          !used_.contains(&row))
        result.differences.push_back(std::string("a row for ") + row.entry + " allows nothing");
  }

  sysfs_result result{};

 private:
  static bool inside_missing(const std::string& name, const entries& without, const entries& with) {
    const std::size_t end = name.rfind('/');
    if (end == name.npos) return false;
    const std::string above = name.substr(0, end);
    return !without.contains(above) && with.contains(above);
  }
  [[nodiscard]] bool of_this_kernel(const sysfs_row& row) const {
    std::istringstream patterns(row.kernels);
    for (std::string pattern; patterns >> pattern;)
      if (fnmatch(pattern.c_str(), name_.c_str(), 0) == 0) return true;
    return false;
  }
  void differs(const std::string& what, sysfs_side side, const std::string& where,
               const std::string& how = {}) {
    for (const sysfs_row& row : sysfs_rows)
      if (row.side == side && of_this_kernel(row) && fnmatch(row.entry, what.c_str(), 0) == 0) {
        used_.insert(&row);
        return;
      }
    std::string line = what;
    if (const std::size_t at = line.find("vfio-dev/vfio"); at != line.npos) {
      const std::size_t end = line.find('/', at + 9);
      line.replace(at, end == line.npos ? end : end - at, "vfio-dev/vfioN");
    }
    line += ": ";
    if (side == sysfs_side::linux_only) line += "only the kernel has it";
    else if (side == sysfs_side::view_only) line += "only the view has it";
    if (!how.empty()) line += (side == sysfs_side::content ? "" : ": ") + how;
    seen_[line].push_back(where);
  }

  const tree& kernel_;
  const tree& view_;
  std::string name_;
  bool complete_;
  std::map<std::string, std::vector<std::string>> seen_;
  std::set<const sysfs_row*> used_;
};

std::string kernel_name(const facts& f, const circumstances& c) {
  if (f.has.spapr) return c.profile + "-power";
  return c.profile + (f.has.iommufd ? "-built" : "-modules");
}

/// Reads the topology back. \return the first line that differs in the two texts; empty: none
std::string read_back(const facts& f, const circumstances& c, const fs::path& sys) {
  sim::topology_result read = sim::topology_from_sysfs(sys, c.coherent);
  if (!read) return "the topology of the view is wrong: " + to_text(read.errors);
  for (std::size_t i = 0; i < read.machine.iommus.size() && i < f.topology.iommus.size(); ++i) {
    // sysfs does not tell these (facts_of).
    sim::iommu_spec& mine = read.machine.iommus[i];
    const sim::iommu_spec& of_host = f.topology.iommus[i];
    mine.snoop_control = of_host.snoop_control;
    mine.interrupt_remapping = of_host.interrupt_remapping;
    mine.page_sizes = of_host.page_sizes;
    mine.aperture = of_host.aperture;
  }
  if (read.machine == f.topology) return {};
  std::istringstream written(sim::topology_to_json(f.topology));
  std::istringstream again(sim::topology_to_json(read.machine));
  std::string mine, theirs, device;
  do {
    if (!std::getline(written, mine)) mine = "the end";
    if (!std::getline(again, theirs)) theirs = "the end";
    if (mine.find("\"name\"") != mine.npos) device = mine;
  } while (mine == theirs && mine != "the end");
  return "read back from the view: " + shown(theirs) + ", not " + shown(mine) + " (" +
         shown(device) + ")";
}

bool is_virtual(const target& t) { return !t.physical.empty(); }

void compare_with_kernel(comparer& c, const facts& f) {
  c.folder("buses", "/bus/pci", false);
  c.folder("driver", "/bus/pci/drivers/vfio-pci");
  c.folder("classes", "/class/vfio", false);
  c.folder("classes", "/class/vfio-dev", false);
  c.folder("groups", "/kernel/iommu_groups", false);
  c.folder("misc", "/class/misc/vfio");
  c.number("/class/misc/vfio");
  if (f.has.iommufd) {
    c.folder("misc", "/class/misc/iommu");
    c.number("/class/misc/iommu");
  }
  for (const char* module :
       {"vfio", "vfio_iommu_type1", "vfio_iommu_spapr_tce", "vfio_pci", "vfio_pci_core", "iommufd"})
    c.folder("module", std::string("/module/") + module);
  for (const sim::group_spec& g : f.topology.groups) {
    const std::string number = std::to_string(g.number);
    bool of_vfio = false;
    for (const sim::device_spec& d : g.devices) {
      if (d.bound != sim::driver::vfio) continue;
      of_vfio = true;
      const std::string at =
          std::string("/bus/") + (d.mediated ? "mdev" : "pci") + "/devices/" + d.name;
      c.folder(d.mediated ? "mediated" : "device", at);
      if (!d.mediated && !g.iommu.empty()) c.folder("iommu", at + "/iommu");
      if (d.file_number >= 0) {
        const std::string file = "/class/vfio-dev/vfio" + std::to_string(d.file_number);
        c.number(file);
      }
    }
    c.folder("group", "/kernel/iommu_groups/" + number);
    if (!of_vfio) continue;
    const std::string name = (g.iommu.empty() ? "noiommu-" : "") + number;
    c.folder("class", "/class/vfio/" + name);
    c.number("/class/vfio/" + name);
  }
}

}  // namespace

sysfs_result compare_sysfs(const facts& f, const circumstances& c, bool booted) {
  const new_folder folder;
  const sim::linux_release release = release_of(c.profile);
  const sim::topology_errors errors =
      sim::write_sysfs_view(f.topology, folder.path(), release, f.world);
  if (!errors.empty()) throw std::runtime_error("the view of /sys: " + to_text(errors));
  sysfs_result result;
  // The rows are those of x86. A virtual function stays awake, which a topology does not tell.
  if (booted && f.has.books && std::ranges::none_of(f.has.targets, &is_virtual)) {
    const tree kernel("/sys"), view(folder.path() / "sys");
    // Only a machine with all kinds of devices needs all rows.
    comparer compared(kernel, view, kernel_name(f, c), f.has.several);
    compare_with_kernel(compared, f);
    compared.finish();
    result = std::move(compared.result);
  }
  const std::string differs = read_back(f, c, folder.path() / "sys");
  if (differs.empty()) ++result.compared;
  else result.differences.push_back(differs);
  return result;
}

}  // namespace vfio_lockstep
