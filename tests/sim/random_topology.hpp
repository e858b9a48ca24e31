// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Right topologies made at random, in which every member takes many values.

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <utility>

/// Makes topologies; the same seed makes the same.
class random_topology {
 public:
  explicit random_topology(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] kvm_vfio::sim::topology make() {
    kvm_vfio::sim::topology t;
    t.iommus.clear();
    const std::uint64_t iommus = 1 + below(3);
    for (std::uint64_t i = 0; i < iommus; ++i) t.iommus.push_back(iommu(i));
    const std::uint64_t groups = below(5);
    int number = 0, file_number = 0, device = 0;
    for (std::uint64_t g = 0; g < groups; ++g) {
      number += 1 + static_cast<int>(below(1000));
      kvm_vfio::sim::group_spec spec{
          .number = number,
          .iommu = t.iommus[static_cast<std::size_t>(below(iommus))].name,
          .devices = {}};
      for (std::uint64_t d = 1 + below(3); d > 0; --d) {
        spec.devices.push_back(
            {.name = "0000:0" + std::to_string(below(10)) + ":" + std::to_string(device++) + ".0",
             .bound = static_cast<kvm_vfio::sim::driver>(below(3)),
             .needs_vm = coin(),
             .mediated = coin(),
             .pci = pci()});
        if (coin() && spec.devices.back().bound == kvm_vfio::sim::driver::vfio)
          spec.devices.back().file_number = file_number += 1 + static_cast<int>(below(9));
      }
      t.groups.push_back(std::move(spec));
    }
    return t;
  }
  [[nodiscard]] std::uint64_t below(std::uint64_t n) { return random_() % n; }
  [[nodiscard]] bool coin() { return below(2) != 0; }

 private:
  template <class T>
  T any() {
    return static_cast<T>(random_());
  }
  kvm_vfio::sim::iommu_spec iommu(std::uint64_t i) {
    kvm_vfio::sim::iommu_spec spec{.name = "dmar" + std::to_string(i) + "\"\\,",
                                   .snoop_control = coin(),
                                   .interrupt_remapping = coin(),
                                   .page_sizes = random_() | 0x1000,
                                   .aperture = {below(1000), any<std::uint64_t>() | 1000},
                                   .reserved = {}};
    spec.page_sizes &= ~std::uint64_t{0xfff};
    for (std::uint64_t r = below(4); r > 0; --r) {
      const std::uint64_t first = any<std::uint64_t>() >> 1;
      spec.reserved.push_back(
          {first, first + below(1 << 20), static_cast<kvm_vfio::sim::region_type>(below(4))});
    }
    return spec;
  }
  kvm_vfio::sim::pci_spec pci() {
    using namespace kvm_vfio::sim;
    pci_spec p{.vendor = any<std::uint16_t>(),
               .device = any<std::uint16_t>(),
               .class_code = any<std::uint32_t>() & 0xffffff,
               .revision = any<std::uint8_t>(),
               .subsystem_vendor = any<std::uint16_t>(),
               .subsystem = any<std::uint16_t>(),
               .bars = {},
               .rom_size = coin() ? std::uint64_t{1} << (11 + below(21)) : 0,
               .intx = coin(),
               .msi_vectors = coin() ? 1U << below(6) : 0,
               .command = any<std::uint16_t>(),
               .status = any<std::uint16_t>(),
               .interrupt_line = any<std::uint8_t>(),
               .express = coin(),
               .resets = coin()};
    add_bars(p);
    add_msix(p);
    if (coin()) add_capabilities(p);
    return p;
  }
  void add_bars(kvm_vfio::sim::pci_spec& p) {
    while (p.bars.size() < 6 && coin()) {
      if (coin()) {
        p.bars.emplace_back();
      } else if (coin()) {
        const std::uint64_t size = std::uint64_t{1} << (2 + below(15));
        p.bars.push_back({.size = size, .io = true, .address = below(9) * size});
      } else {
        const bool wide = p.bars.size() < 5 && coin();
        const std::uint64_t size = std::uint64_t{1} << (4 + below(wide ? 37 : 28));
        p.bars.push_back({.size = size,
                          .is_64bit = wide,
                          .prefetchable = coin(),
                          .address = below(wide ? 1000 : 2) * size});
        if (wide && coin()) p.bars.emplace_back();
        else if (wide) break;
      }
    }
  }
  void add_msix(kvm_vfio::sim::pci_spec& p) {
    const auto vectors = 1 + static_cast<std::uint32_t>(below(2048));
    for (unsigned i = 0; i < p.bars.size(); ++i) {
      const std::uint64_t needed = vectors * 16 + (vectors + 63) / 64 * 8;
      if (p.bars[i].io || p.bars[i].size < needed || p.bars[i].size > 1U << 30) continue;
      const auto room = static_cast<std::uint32_t>((p.bars[i].size - needed) / 8);
      const auto skip = static_cast<std::uint32_t>(room == 0 ? 0 : below(room) * 8);
      p.msix_vectors = vectors;
      if (coin()) {
        p.msix_table = {i, skip};
      } else {
        p.msix_table = {i, static_cast<std::uint32_t>(p.bars[i].size - vectors * 16)};
        p.msix_pba = {i, 0};
      }
      return;
    }
  }
  // Those that the function has, and others between them.
  void add_capabilities(kvm_vfio::sim::pci_spec& p) {
    using namespace kvm_vfio::sim;
    std::size_t at = 0x40;
    for (capability_spec c : capabilities_of(p)) {
      const std::size_t size = size_of(c);
      if (coin()) c.bytes.clear();
      if (at < 0x80 && coin()) {
        p.capabilities.push_back({.id = 9, .offset = static_cast<std::uint16_t>(at)});
        for (std::uint64_t n = 1 + below(10); n > 0; --n)
          p.capabilities.back().bytes.push_back(any<std::uint8_t>());
        at += 12;
      }
      c.offset = static_cast<std::uint16_t>(at);
      at += (size + 3) & ~std::size_t{3};
      p.capabilities.push_back(std::move(c));
    }
    if (!p.express || !coin()) return;
    at = 0x100;
    while (at < 0xf00 && coin()) {
      p.capabilities.push_back({.id = any<std::uint16_t>(),
                                .offset = static_cast<std::uint16_t>(at),
                                .version = static_cast<std::uint8_t>(below(16))});
      for (std::uint64_t n = below(40); n > 0; --n)
        p.capabilities.back().bytes.push_back(any<std::uint8_t>());
      at += 44 + 4 * static_cast<std::size_t>(below(20));
    }
  }

  std::mt19937_64 random_;
};
