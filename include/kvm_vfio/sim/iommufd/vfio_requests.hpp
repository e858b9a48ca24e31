// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The requests of a VFIO container that an iommufd answers: its compatibility mode (the kernel's
/// drivers/iommu/iommufd/vfio_compat.c). They work on one address space of the iommufd, the address
/// space for VFIO.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/system/file.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// The address space of an iommufd as VFIO's requests see it.
struct vfio_space {
  /// The address space for VFIO. Null: the iommufd has none.
  ioas* space = nullptr;
  /// Whether every page table of the address space enforces coherency. True if there is none.
  bool coherent = true;
  /// The page sizes as a bitmap: bit n stands for pages of 2^n bytes.
  std::uint64_t page_sizes = 0;
  /// How many bytes the calling process can still lock, if it does not have CAP_IPC_LOCK.
  std::uint64_t room = ~std::uint64_t{0};
  /// Whether the process is charged for locked memory, and not its user.
  bool charges_process = false;
  /// Whether groups without an IOMMU use the iommufd.
  bool no_iommu = false;
  /// Whether the kernel knows VFIO's no-IOMMU mode.
  bool knows_no_iommu = false;
};

/// Returns whether iommufd can pin memory of a process: the memory is no mapped BAR, and
/// `memory::pinnable` agrees.
[[nodiscard]] bool can_pin(process& task, std::uint64_t address, std::uint64_t size,
                           bool write) noexcept;

/// Adds a mapping of a process to an address space, and charges the process for the memory.
/// \param task the process that asks for the mapping
/// \param room how many bytes the process can still lock, if it does not have CAP_IPC_LOCK
/// \param to   the address space
/// \param m    the mapping. This function sets all members about the account.
/// \par Errors
/// - each error of `ioas::map`
[[nodiscard]] errc map_for(process& task, std::uint64_t room, ioas& to, dma_mapping m);

/// Answers a request of a VFIO container on an iommufd: VFIO_GET_API_VERSION, CHECK_EXTENSION,
/// SET_IOMMU, VFIO_IOMMU_GET_INFO, MAP_DMA and UNMAP_DMA. The caller holds the world's lock.
/// \par Errors
/// - `errc::notty`: the request is another one
/// - `errc::nodev`: the iommufd has no address space for VFIO
/// - `errc::fault`: the struct cannot be read or written
/// - `errc::inval`: argsz or flags are wrong. SET_IOMMU: the type is not a version of type 1.
///   UNMAP_DMA: the size is 0, or version 1 would have to cut a mapping inside of a page
/// - `errc::addrinuse`: SET_IOMMU with version 1: a mapping is not aligned to pages
/// - `errc::noent`: UNMAP_DMA: a mapping reaches over an end of the range. The mappings before that
///   one are removed.
/// - `errc::overflow`: UNMAP_DMA: the address and the size wrap around
/// - further errors: MAP_DMA: those of `ioas::map`
answer vfio_request(process& task, std::uint32_t request, std::uint64_t argument,
                    const vfio_space& on);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommufd/impl/vfio_requests.hpp>
#endif
