// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Requests of iommufds, and of character devices about their iommufd.

#include "container.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

namespace vfio_lockstep {

namespace u = kvm_vfio::uapi;

/// Requests of iommufds, and of character devices about their iommufd.
class iommufd_steps : public container_steps {
 protected:
  using container_steps::container_steps;

  void vfio_ioas(ref on) {
    const u::iommu_vfio_ioas v{
        .size = argsz(sizeof v),
        .ioas_id = id(),
        .op = static_cast<std::uint16_t>(r_.percent(90) ? r_.below(3) : r_.below(100)),
        .reserved = static_cast<std::uint16_t>(flags(0))};
    call(on, "VFIO_IOAS", u::request_vfio_ioas, bytes(v));
  }

  void ioas_alloc(ref on) {
    const u::iommu_ioas_alloc a{.size = argsz(sizeof a), .flags = flags(0), .out_ioas_id = 0};
    call(on, "IOAS_ALLOC", u::request_ioas_alloc, bytes(a));
  }
  // Mostly the number of an address space.
  std::uint32_t some_space(ref on) {
    std::vector<std::uint32_t> spaces;
    if (const kvm_vfio::sim::iommufd_file* const f = now_.iommufd(on))
      for (const auto& [number, o] : f->objects())
        if (o.kind == kvm_vfio::sim::iommufd_object::type::ioas) spaces.push_back(number);
    if (spaces.empty() || r_.percent(20)) return id();
    return spaces[static_cast<std::size_t>(r_.below(static_cast<int>(spaces.size())))];
  }
  // Mostly the range of a mapping, a part of it, or the range from a mapping to the end of the
  // next.
  void ioas_copy(ref on) {
    u::iommu_ioas_copy c{};
    c.size = argsz(sizeof c);
    c.flags = r_.percent(60)   ? u::map_fixed_iova | u::map_readable | u::map_writeable
              : r_.percent(80) ? static_cast<std::uint32_t>(r_.below(8))
                               : flags(8);
    c.dst_ioas_id = some_space(on);
    c.src_ioas_id = r_.percent(20) ? c.dst_ioas_id : some_space(on);
    c.length = length();
    c.src_iova = iova();
    c.dst_iova =
        r_.percent(50)
            ? iova()
            : r_.of<std::uint64_t>({0x100000 + m_.page / 2, 0xfee00000, std::uint64_t{1} << 40,
                                    ~std::uint64_t{0} - m_.page + 1});
    const kvm_vfio::sim::dma_map* const mapped = now_.mappings(on, c.src_ioas_id);
    if (mapped && mapped->size() != 0 && r_.percent(85)) {
      auto m = mapped->all().begin();
      std::advance(m, r_.below(static_cast<int>(mapped->size())));
      c.src_iova = m->second.iova;
      c.length = m->second.size;
      if (r_.percent(25)) c.length = std::max<std::uint64_t>(c.length / 2, m_.page);
      else if (std::next(m) != mapped->all().end() && r_.percent(50))
        c.length = std::next(m)->second.last() - c.src_iova + 1;
    }
    wrap(r_.percent(50) ? c.dst_iova : c.src_iova, c.length);
    call(on, "IOAS_COPY", u::request_ioas_copy, bytes(c));
  }
  void iommufd_call() {
    const ref on = mostly(kind::iommufd);
    if (r_.percent(10)) return vfio_ioas(on);
    if (r_.percent(15)) return ioas_copy(on);
    switch (r_.below(10)) {
      case 0: return ioas_alloc(on);
      case 1: {
        const u::iommu_destroy d{.size = argsz(sizeof d), .id = id()};
        call(on, "DESTROY", u::request_destroy, bytes(d));
        return;
      }
      case 2: {
        u::iommu_ioas_iova_ranges g{};
        g.size = argsz(sizeof g);
        g.ioas_id = id();
        g.num_iovas = r_.of({0U, 1U, 8U, 8U});
        g.reserved = flags(0);
        call(on, "IOVA_RANGES", u::request_ioas_iova_ranges, bytes(g), {{16, {kind::out_memory}}});
        return;
      }
      case 3: {
        u::iommu_hwpt_alloc h{};
        h.size = argsz(sizeof h, {20, 24, 28, 32});
        h.flags = r_.percent(90) ? 0 : 1U << 31;
        h.dev_id = id();
        h.pt_id = id();
        call(on, "HWPT_ALLOC", u::request_hwpt_alloc, bytes(h));
        return;
      }
      case 4:
      case 5:
      case 6: {
        u::iommu_ioas_map m{};
        m.size = argsz(sizeof m);
        m.flags = r_.percent(60)   ? u::map_fixed_iova | u::map_readable | u::map_writeable
                  : r_.percent(80) ? static_cast<std::uint32_t>(r_.below(8))
                                   : flags(8);
        m.ioas_id = some_space(on);
        m.reserved = flags(0);
        m.user_va = m_.page * static_cast<unsigned>(r_.below(4));
        if (!careful_ && r_.percent(10)) m.user_va += r_.of<std::uint64_t>({1, m_.page / 2});
        m.length = length();
        m.iova = iova();
        wrap(m.iova, m.length);
        call(on, "IOAS_MAP", u::request_ioas_map, bytes(m), {{16, {kind::dma_memory}}});
        if (r_.percent(6)) odd_memory(steps_.back(), offsetof(decltype(m), user_va));
        return;
      }
      case 7:
      case 8: {
        u::iommu_ioas_unmap un{};
        un.size = argsz(sizeof un);
        un.ioas_id = some_space(on);
        un.iova = r_.percent(90) ? iova() : 0;
        un.length = r_.percent(90) ? length() : ~std::uint64_t{0};
        wrap(un.iova, un.length);
        if (r_.percent(3)) {
          un.iova = 0;
          un.length = ~std::uint64_t{0};
        }
        call(on, "IOAS_UNMAP", u::request_ioas_unmap, bytes(un));
        return;
      }
      default: {
        u::iommu_hw_info h{};
        h.size = argsz(sizeof h);
        h.flags = flags(0);
        h.dev_id = id();
        call(on, "GET_HW_INFO", u::request_get_hw_info, bytes(h));
      }
    }
  }
  void bind(ref on, ref to) {
    const u::device_bind_iommufd b{
        .argsz = argsz(sizeof b), .flags = flags(0), .iommufd = -1, .out_devid = 0};
    call(on, "BIND_IOMMUFD", u::request_bind_iommufd, bytes(b), {{8, to}});
  }
  void attach(ref on, std::uint32_t to) {
    const u::device_attach_iommufd_pt a{.argsz = argsz(sizeof a), .flags = flags(0), .pt_id = to};
    call(on, "ATTACH", u::request_attach_iommufd_pt, bytes(a));
  }
  void cdev_call(ref on) {
    switch (r_.below(6)) {
      case 0:
      case 1: return bind(on, mostly(kind::iommufd));
      case 2:
      case 3:
      case 4: return attach(on, id());
      default: {
        const u::device_detach_iommufd_pt d{.argsz = argsz(sizeof d), .flags = flags(0)};
        call(on, "DETACH", u::request_detach_iommufd_pt, bytes(d));
      }
    }
  }
};

}  // namespace vfio_lockstep
