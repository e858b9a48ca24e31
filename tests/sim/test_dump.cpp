// SPDX-License-Identifier: BSL-1.0
// The world at one moment as text, JSON and Graphviz.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/sim/topology/quotes.hpp>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>

#include <string>
#include <vector>
#endif

TEST_CASE("the dumps say what is there, and why") {
  machine_under_test<> m(two_groups(/*snoop_control=*/false));
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  REQUIRE(m.device_fd(g, "0000:00:04.0"));
  const sim::snapshot s = m.kernel.look();
  CHECK(to_text(s) ==
        "Linux 7.3\n"
        "vm0: 3 users, noncoherent DMA\n"
        "  /dev/vfio/1 (vm0): noncoherent, a device of the group cannot be enforced coherent\n"
        "container 0: groups 1, type1v2, 0 mappings\n"
        "  domain of groups 1: not enforced\n"
        "group 1: open, in container 0, of vm0\n"
        "  0000:00:04.0: opened 1 times, of vm0, holds it\n");
  const std::string dot = to_dot(s);
  CHECK(dot.find("\"vm0\" -> \"/dev/vfio/1\" [label=1, color=red];") != std::string::npos);
  CHECK(dot.find("\"/dev/vfio/1\" -> \"container 0\";") != std::string::npos);
#if __has_include(<nlohmann/json.hpp>)
  const auto json = nlohmann::json::parse(to_json(s));
  CHECK(json["vms"][0]["tracked"][0]["coherent"] == false);
  CHECK(json["groups"][0]["devices"][0]["holds_vm"] == true);
  CHECK(json["groups"][1]["container"] == -1);
  CHECK(json["containers"][0]["domains"][0]["groups"] == std::vector{1});
#endif
}

TEST_CASE("names with quotes and control characters stay valid JSON") {
  CHECK(sim::detail::in_quotes("a\"b\\c\n") == "\"a\\\"b\\\\c\\u000a\"");
}
