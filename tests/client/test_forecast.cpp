// SPDX-License-Identifier: BSL-1.0
// The prediction whether a device makes the VM's DMA noncoherent. Each prediction is compared with
// what KVM then learns at FILE_ADD: none may be wrong, and the unknown ones are listed.
#include "machine.hpp"
#include "support/catch.hpp"

#include <string_view>

using client::coherency_forecast;
using client::coherency_reason;
using client::dma_coherency;
namespace uapi = kvm_vfio::uapi;

namespace {

// Groups, and their device files in the same order: 1 and 5 have snoop control, 2 has not, 3 and 4
// are mediated. The kernel does not describe the IOMMU of group 6, which has snoop control.
constexpr int snoops = 1;
constexpr int plain = 2;
constexpr int mediated = 3;
constexpr int mediated_plain = 4;
constexpr int snoops_too = 5;
constexpr int nameless = 6;
constexpr int groups = 6;

sim::topology mixed() {
  sim::topology t;
  t.iommus = {{.name = "dmar0"}, {.name = "dmar1", .snoop_control = false}, {.name = "iommu0"}};
  const auto add = [&t](int number, const char* iommu, bool is_mediated = false) {
    t.groups.push_back({.number = number,
                        .iommu = iommu,
                        .devices = {{.name = "d" + std::to_string(number),
                                     .mediated = is_mediated,
                                     .file_number = number}}});
  };
  add(snoops, "dmar0");
  add(plain, "dmar1");
  add(mediated, "dmar0", true);
  add(mediated_plain, "dmar1", true);
  add(snoops_too, "dmar0");
  add(nameless, "iommu0");
  return t;
}

template <class Profile>
struct machine : vmm_machine<Profile> {
  machine() : vmm_machine<Profile>(mixed()) {}

  // Whether the only VM is registered for noncoherent DMA.
  bool noncoherent() { return this->look().vms.at(0).noncoherent != 0; }
};

// Whether a prediction agrees with what KVM learnt. An unknown one always does.
bool agrees(const coherency_forecast& f, bool noncoherent) {
  if (f.answer() == dma_coherency::unknown) return true;
  return (f.answer() == dma_coherency::noncoherent) == noncoherent;
}

struct outcome {
  coherency_forecast predicted;
  bool noncoherent = false;  // KVM learnt it
};

// A group joins a container with others, of which the VM tracks none.
template <class Profile>
outcome add_group(int which, const std::vector<int>& others) {
  machine<Profile> m;
  auto c = must(container::open(m.system));
  std::vector<group_with_iommu> there;
  for (const int n : others) there.push_back(m.with_iommu(n, c));
  auto ready = m.with_iommu(which, c);
  auto files = m.make_files();
  const auto predicted = must(ready.forecast());
  const auto attached = must(std::move(ready).attach(files));
  return {predicted, m.noncoherent()};
}

struct row {
  int which;
  std::vector<int> others;
  coherency_reason reason;
  bool noncoherent_6_1;  // what KVM learns
  bool noncoherent_later;
};

using enum coherency_reason;
const std::vector<row> rows{
    {snoops, {}, iommu_enforces, false, false},
    {plain, {}, iommu_does_not_enforce, true, true},
    {nameless, {}, iommu_enforces, false, false},
    {snoops, {snoops_too}, iommu_enforces, false, false},
    {snoops, {snoops_too, nameless}, iommu_enforces, false, false},
    // Unknown.
    {snoops, {plain}, other_groups, true, false},
    {plain, {snoops}, other_groups, true, true},
    {mediated, {plain}, other_groups, true, true},
    {mediated, {}, perhaps_mediated, false, true},
    {mediated_plain, {}, perhaps_mediated, false, true},
    {mediated, {snoops}, perhaps_mediated, false, true},
    {snoops, {mediated}, perhaps_mediated, false, false},
    {snoops, {mediated, plain}, other_groups, true, false},
};

// A system whose IOMMU_GET_HW_INFO says Intel, and gives too few bytes of its registers.
struct cut_short : sys {
  using sys::sys;
  cut_short() noexcept = default;

  result<int> ioctl(int fd, unsigned long request, std::uintptr_t argument) const noexcept {
    if (request != uapi::request_get_hw_info) return sys::ioctl(fd, request, argument);
    auto* const info = reinterpret_cast<uapi::iommu_hw_info*>(argument);
    info->out_data_type = uapi::hw_info_type_intel_vtd;
    info->data_len = sizeof(uapi::iommu_hw_info_vtd) - 1;
    return 0;
  }
};
// A system whose container is an iommufd, which never has the extension VFIO_UPDATE_VADDR.
struct like_iommufd : sys {
  using sys::sys;
  like_iommufd() noexcept = default;

  result<int> ioctl(int fd, unsigned long request, std::uintptr_t argument) const noexcept {
    if (request == VFIO_CHECK_EXTENSION && argument == uapi::update_vaddr_extension) return 0;
    return sys::ioctl(fd, request, argument);
  }
};
static_assert(kvm_vfio::system<cut_short> && kvm_vfio::system<like_iommufd>);

TEMPLATE_TEST_CASE("A group's prediction and what KVM learns at FILE_ADD", "[client]",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  constexpr bool old = std::is_same_v<TestType, kvm_vfio::linux_6_1>;
  for (const row& r : rows) {
    const outcome o = add_group<TestType>(r.which, r.others);
    INFO("group " << r.which << " beside " << r.others.size() << ": " << o.predicted.explain());
    CHECK(o.predicted == coherency_forecast{r.reason});
    CHECK(o.noncoherent == (old ? r.noncoherent_6_1 : r.noncoherent_later));
    CHECK(agrees(o.predicted, o.noncoherent));
  }
}

TEMPLATE_TEST_CASE("No prediction of a group is wrong, whatever the container has", "[client]",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  for (int which = 1; which <= groups; ++which)
    for (unsigned set = 0; set < 1U << groups; ++set) {
      std::vector<int> others;
      for (int n = 1; n <= groups; ++n)
        if (n != which && (set >> (n - 1) & 1) != 0) others.push_back(n);
      if ((set >> (which - 1) & 1) != 0) continue;
      const outcome o = add_group<TestType>(which, others);
      INFO("group " << which << " beside the set " << set << ": " << o.predicted.explain());
      CHECK(agrees(o.predicted, o.noncoherent));
    }
}

TEST_CASE("A group that could not leave its container counts as one of its groups") {
  machine<kvm_vfio::linux_7_3> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto d = must(m.attach(plain, c, files).open_device("d2"));
  const int elsewhere = must(m.system.dup(d.view().fd()));
  CHECK(d.close() == errc::busy);
  CHECK(c.groups() == 0);
  auto ready = m.with_iommu(snoops, c);
  CHECK(c.groups() == 1);
  CHECK(must(ready.forecast()) == coherency_forecast{other_groups});
  CHECK(m.system.close(elsewhere) == errc::ok);
}

TEST_CASE("A mediated group that took the place of a real one is still perhaps mediated") {
  machine<kvm_vfio::linux_7_3> m;
  auto c = must(container::open(m.system));
  auto real = m.with_iommu(snoops, c);
  auto ready = m.with_iommu(mediated, c);
  real = {};  // the driver goes on telling which IOVAs may be used: all of them
  CHECK(must(ready.forecast()) == coherency_forecast{perhaps_mediated});
}

TEST_CASE("An iommufd in the place of a container: the IOVAs tell of a mediated group") {
  machine<kvm_vfio::linux_7_3> m;
  const like_iommufd system(m.process());
  auto c = must(client::container<like_iommufd>::open(system));
  const auto with_iommu = [&c, &system](int n) {
    auto joined = must(must(client::group_file<like_iommufd>::open(n, system)).join(c));
    return must(std::move(joined).set_iommu());
  };
  {
    const auto alone = with_iommu(snoops);
    CHECK(must(alone.forecast()) == coherency_forecast{iommu_enforces});
    const auto beside = with_iommu(snoops_too);
    CHECK(must(beside.forecast()) == coherency_forecast{perhaps_mediated});
  }
  CHECK(must(with_iommu(mediated).forecast()) == coherency_forecast{perhaps_mediated});
  CHECK(must(with_iommu(plain).forecast()) == coherency_forecast{iommu_does_not_enforce});
}

TEMPLATE_TEST_CASE("A device file's prediction, before there is a VM and after FILE_ADD",
                   "[client]", kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  struct file_row {
    int which;
    coherency_reason reason;
    bool noncoherent;
  };
  for (const file_row& r :
       {file_row{snoops, iommu_enforces, false}, file_row{plain, iommu_does_not_enforce, true},
        file_row{mediated, no_iommu, true}, file_row{mediated_plain, no_iommu, true},
        file_row{nameless, iommu_not_described, false}}) {  // unknown
    machine<TestType> m;
    const auto unopened = must(device_file::forecast(r.which, m.system));
    CHECK(m.process().descriptors() == 0);
    auto s = must(address_space::open(m.system));
    const auto open = [&m, &r] { return must(device_file::open(r.which, m.system)); };
    const auto before = must(must(open().without_kvm().bind(s)).forecast());
    INFO("vfio" << r.which << ": " << before.explain());
    CHECK(before == coherency_forecast{r.reason});
    CHECK(unopened == before);

    auto files = m.make_files();
    auto attached = must(open().attach(files));
    CHECK(m.noncoherent() == r.noncoherent);
    CHECK(agrees(before, m.noncoherent()));
    auto bound = must(std::move(attached).bind(s));
    CHECK(must(bound.forecast()) == before);
    {
      const auto d = must(std::move(bound).attach_to_space());
      CHECK(bound.forecast().error() == errc::badf);
    }
    files = {};
    s = {};
    CHECK(m.finish() == "");
  }
}

TEST_CASE("A device file's prediction from sysfs: what it reads, and its errors") {
  machine<kvm_vfio::linux_7_3> m;
  const auto forecast = [&m](int n) { return device_file::forecast(n, m.system); };
  CHECK(must(forecast(snoops)).reason == iommu_enforces);
  CHECK(m.calls() ==
        "open(\"/sys/class/vfio-dev/vfio1/device/iommu/intel-iommu/ecap\") = 0\n"
        "read(0) = 3\n"
        "close(0) = 0\n");
  CHECK(must(forecast(mediated)).reason == no_iommu);
  CHECK(m.calls() ==
        "open(\"/sys/class/vfio-dev/vfio3/device/iommu/intel-iommu/ecap\") = ENOENT\n"
        "open(\"/sys/class/vfio-dev/vfio3/device/mdev_type\") = 0\n"
        "close(0) = 0\n");
  CHECK(must(forecast(99)).reason == iommu_not_described);
  CHECK(must(forecast(-1)).reason == iommu_not_described);
  for (const std::size_t nth : {1U, 2U}) {
    m.process().fail({.kind = trace::call_kind::open, .nth = nth, .error = errc::access});
    CHECK(forecast(nameless).error() == errc::access);
  }
  m.process().fail({.kind = trace::call_kind::read, .error = errc::io});
  CHECK(forecast(plain).error() == errc::io);
  CHECK(m.finish() == "");

  machine<kvm_vfio::linux_6_1> old;  // no device files
  CHECK(must(device_file::forecast(snoops, old.system)).reason == iommu_not_described);
}

TEST_CASE("A register in sysfs is a hexadecimal number and a line break") {
  const auto read = [](std::string_view text) {
    return native::hexadecimal(text.data(), text.size());
  };
  CHECK(must(read("0\n")) == 0);
  CHECK(must(read("f050da\n")) == 0xf050da);
  CHECK(must(read("ffffffffffffffff\n")) == ~std::uint64_t{0});
  for (const char* wrong : {"", "\n", "80", "0x80\n", "-1\n", "8 \n", "10000000000000000\n"})
    CHECK(read(wrong).error() == errc::proto);
}

TEST_CASE("The simulator's sysfs files are read like files") {
  machine<kvm_vfio::linux_7_3> m;
  const auto path = [](int n, const std::string& entry) {
    return "/sys/class/vfio-dev/vfio" + std::to_string(n) + entry;
  };
  const std::string ecap = "/device/iommu/intel-iommu/ecap";
  const auto open = [&m](const std::string& at) { return m.system.open(at.c_str(), 0); };
  const int fd = must(open(path(plain, ecap)));
  char text[8] = {};
  CHECK(must(m.system.pread(fd, text, 1, 0)) == 1);
  CHECK(must(m.system.read(fd, text, 1)) == 1);
  CHECK(must(m.system.read(fd, text + 1, 7)) == 1);
  CHECK(must(m.system.read(fd, text, 8)) == 0);
  CHECK(std::string_view(text) == "0\n");
  CHECK(m.system.close(fd) == errc::ok);
  for (const std::string& none :
       {path(nameless, ecap), path(mediated, ecap), path(plain, "/device/mdev_type"),
        path(plain, ""), path(plain, "/device"), path(99, ecap),
        "/sys/class/vfio-dev/vfio/" + ecap})
    CHECK(open(none).error() == errc::noent);
}

TEST_CASE("A prediction makes no call but its questions, and each of their errors is returned") {
  machine<kvm_vfio::linux_7_3> m;
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  auto ready = m.with_iommu(mediated, c);
  m.forget_calls();
  CHECK(ready.forecast());
  CHECK(m.calls() ==
        "ioctl(0, CHECK_EXTENSION) = 1\n"
        "ioctl(0, CHECK_EXTENSION) = 0\n"
        "ioctl(0, IOMMU_GET_INFO) = 0\n");
  for (const std::size_t nth : {1U, 2U}) {
    m.fail_ioctl(VFIO_CHECK_EXTENSION, nth, errc::io);
    CHECK(ready.forecast().error() == errc::io);
  }
  m.fail_ioctl(VFIO_IOMMU_GET_INFO, 1, errc::fault);
  CHECK(ready.forecast().error() == errc::fault);
  const auto given = c.release();
  CHECK(ready.forecast().error() == errc::badf);
  CHECK(m.system.close(given.fd()) == errc::ok);

  auto bound = must(must(device_file::open(plain, m.system)).without_kvm().bind(s));
  m.forget_calls();
  CHECK(bound.forecast());
  CHECK(m.calls() == "ioctl(1, GET_HW_INFO) = 0\n");
  m.fail_ioctl(uapi::request_get_hw_info, 1, errc::notty);
  CHECK(bound.forecast().error() == errc::notty);
  CHECK(bound_device().forecast().error() == errc::badf);
  CHECK(group_with_iommu().forecast().error() == errc::badf);
}

TEST_CASE("The IOMMU behind an iommufd: its registers, or why they are missing") {
  machine<kvm_vfio::linux_7_3> m;
  auto s = must(address_space::open(m.system));
  const auto bind = [&m, &s](int n) {
    return must(must(device_file::open(n, m.system)).without_kvm().bind(s));
  };
  const auto with = bind(snoops);
  const auto without = bind(plain);
  const auto other = bind(nameless);
  CHECK(must(s.view().hardware(with.id())).type == uapi::hw_info_type_intel_vtd);
  CHECK(must(s.view().hardware(with.id())).vtd_ecap == uapi::vtd_ecap_snoop_control);
  CHECK(must(s.view().hardware(without.id())).vtd_ecap == 0);
  CHECK(must(s.view().hardware(with.id())).vtd_cap == 0xc002f0406);  // addresses of 48 bits
  CHECK(must(s.view().hardware(other.id())).type == uapi::hw_info_type_none);
  CHECK(s.view().hardware(99).error() == errc::noent);

  const native::vfio::basic_iommufd_ref<cut_short> odd(s.view().fd(), cut_short(m.process()));
  CHECK(odd.hardware(with.id()).error() == errc::proto);
}

TEST_CASE("Each reason has one answer and one sentence") {
  constexpr std::string_view coherent = "Adding this device does not make ";
  constexpr std::string_view noncoherent = "Adding this device makes ";
  constexpr std::string_view unknown = "Nobody can say whether ";
  const auto check = [](coherency_reason reason, dma_coherency answer, std::string_view start) {
    const coherency_forecast f{reason};
    const std::string_view said = f.explain();
    CHECK(f.answer() == answer);
    CHECK(said.substr(0, start.size()) == start);
    CHECK(said.find(". ") == std::string_view::npos);
    CHECK(said.back() == '.');
  };
  check(iommu_enforces, dma_coherency::coherent, coherent);
  check(iommu_does_not_enforce, dma_coherency::noncoherent, noncoherent);
  check(no_iommu, dma_coherency::noncoherent, noncoherent);
  for (const auto reason : {iommu_not_described, other_groups, perhaps_mediated})
    check(reason, dma_coherency::unknown, unknown);
  STATIC_REQUIRE(coherency_forecast{}.answer() == dma_coherency::unknown);
}

}  // namespace
