// SPDX-License-Identifier: BSL-1.0
// The races, and their outcomes in words.
#include "race.hpp"

#include <kvm_vfio/errc.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace races {

namespace {

using enum slot;

constexpr op open_kvm{verb::open, kvm, kvm};
constexpr op create_vm{verb::create_vm, vm};
constexpr op create_device{verb::create_kvm_vfio, kvm_vfio};
constexpr op create_other{verb::create_kvm_vfio, other_kvm_vfio};
constexpr op open_group{verb::open, group, group};
constexpr op open_again{verb::open, again, group};
constexpr op open_container{verb::open, container, container};
constexpr op open_iommufd{verb::open, iommufd, iommufd};
constexpr op open_cdev{verb::open, cdev, cdev};
constexpr op open_other_cdev{verb::open, other_cdev, cdev};
constexpr op add{verb::add, kvm_vfio, group};
constexpr op del{verb::del, kvm_vfio, group};
constexpr op has_add{verb::has_add, kvm_vfio};
constexpr op set_container{verb::set_container, group, container};
constexpr op unset_container{verb::unset_container, group};
constexpr op set_iommu{verb::set_iommu, container};
constexpr op status{verb::group_status, group};
constexpr op get_device{verb::get_device, group, device};
constexpr op get_other_device{verb::get_device, group, other_device};
constexpr op bind{verb::bind, cdev, iommufd};
constexpr op bind_other{verb::bind, other_cdev, iommufd};
constexpr op ioas_alloc{verb::ioas_alloc, iommufd};
constexpr op attach{verb::attach, cdev, iommufd};
constexpr op detach{verb::detach, cdev};
constexpr op eventfd{verb::eventfd, event};
constexpr op set_irqs{verb::set_irqs, device, event};
constexpr op close(slot s) { return {verb::close, s}; }

// A group in a container with an IOMMU, and a kvm-vfio device. VFIO of Linux 6.1 calls a group
// without an IOMMU coherent.
const ops noncoherent_group{open_group, open_container, set_container, set_iommu, create_device};
const ops with_iommu{open_group, open_container, set_container, set_iommu};
const ops with_device{open_group, open_container, set_container, set_iommu, eventfd, get_device};
const ops one_vm{open_kvm, create_vm};
const ops one_vm_with_iommu{open_kvm,       create_vm,     open_group,
                            open_container, set_container, set_iommu};
// A file that is tracked is deleted once. Then the device does not track it any more.
const ops tracked_once{del, del};

std::vector<race> of_kvm_vfio() {
  const source from = source::explorer;
  return {
      {"ADD | ADD", from, one_vm_with_iommu, {create_device}, {{add}, {add}}, tracked_once, true},
      {"ADD | DEL", from, one_vm_with_iommu, {create_device}, {{add}, {del}}, tracked_once, true},
      {"DEL | DEL",
       from,
       one_vm_with_iommu,
       {create_device, add},
       {{del}, {del}},
       tracked_once,
       true},
      {"ADD, DEL | ADD, DEL",
       from,
       one_vm_with_iommu,
       {create_device},
       {{add, del}, {add, del}},
       tracked_once,
       true},
      {"ADD | ADD | DEL",
       from,
       one_vm_with_iommu,
       {create_device},
       {{add}, {add}, {del}},
       tracked_once,
       true},
      {"ADD | close group",
       from,
       one_vm,
       {open_group, create_device},
       {{add}, {close(group)}},
       {del, open_again, close(again), close(kvm_vfio), open_again}},
      {"ADD | DEL | close group",
       from,
       one_vm,
       {open_group, create_device},
       {{add}, {del}, {close(group)}},
       {open_again, close(again), close(kvm_vfio), open_again}},
      {"DEL | close group, open group",
       from,
       one_vm,
       {open_group, create_device, add},
       {{del}, {close(group), open_again}},
       {close(again), open_again}},
      {"ADD | close kvm-vfio",
       from,
       one_vm,
       {open_group, create_device},
       {{add}, {close(kvm_vfio)}},
       {create_other, close(group), open_again}},
      {"DEL | close kvm-vfio, CREATE_DEVICE",
       from,
       one_vm,
       {open_group, create_device, add},
       {{del}, {close(kvm_vfio), create_other}},
       {close(group), open_again}},
      {"CREATE_DEVICE | CREATE_DEVICE",
       from,
       one_vm,
       {},
       {{create_device}, {create_other}},
       {close(kvm_vfio), close(other_kvm_vfio)}},
      {"CREATE_DEVICE | close kvm-vfio",
       from,
       one_vm,
       {create_device},
       {{create_other}, {close(kvm_vfio)}},
       {close(other_kvm_vfio), create_device}},
      {"HAS, ADD | close VM, close kvm-vfio",
       from,
       {open_kvm},
       {create_vm, open_group, create_device},
       {{has_add, add}, {close(vm), close(kvm_vfio)}},
       {del, close(group), open_again}},
      {"CREATE_DEVICE | close VM",
       from,
       {open_kvm},
       {create_vm},
       {{create_device}, {close(vm)}},
       {has_add, close(kvm_vfio)}},
  };
}

std::vector<race> of_vfio() {
  const source from = source::sequential;
  return {
      {"open group | open group",
       from,
       {},
       {},
       {{open_group}, {open_again}},
       {close(group), close(again), open_group}},
      {"open group | close group",
       from,
       {},
       {open_group},
       {{open_again}, {close(group)}},
       {close(again), open_group}},
      {"SET_CONTAINER | SET_CONTAINER",
       from,
       {},
       {open_group, open_container},
       {{set_container}, {set_container}},
       {status, unset_container, status, unset_container}},
      {"SET_CONTAINER | ADD",
       from,
       one_vm,
       {open_group, open_container, create_device},
       {{set_container}, {add}},
       {status, del, unset_container}},
      {"UNSET_CONTAINER | ADD, DEL",
       from,
       one_vm,
       noncoherent_group,
       {{unset_container}, {add, del}},
       {status, set_container}},
      {"SET_CONTAINER, UNSET_CONTAINER | ADD | DEL",
       from,
       one_vm,
       {open_group, open_container, create_device},
       {{set_container, unset_container}, {add}, {del}},
       {status, del, set_container}},
      {"SET_IOMMU | UNSET_CONTAINER",
       from,
       {},
       {open_group, open_container, set_container},
       {{set_iommu}, {unset_container}},
       {status, set_container, set_iommu}},
      {"GET_DEVICE_FD | UNSET_CONTAINER",
       from,
       {},
       with_iommu,
       {{get_device}, {unset_container}},
       {status, close(device), unset_container}},
      {"GET_DEVICE_FD, close device | UNSET_CONTAINER, SET_CONTAINER",
       from,
       {},
       with_iommu,
       {{get_device, close(device)}, {unset_container, set_container}},
       {status, get_device}},
      {"GET_DEVICE_FD | GET_DEVICE_FD",
       from,
       {},
       with_iommu,
       {{get_device}, {get_other_device}},
       {unset_container, close(device), unset_container, close(other_device), unset_container}},
      {"GET_DEVICE_FD | ADD | close group",
       from,
       one_vm,
       noncoherent_group,
       {{get_device}, {add}, {close(group)}},
       {open_again, close(device), close(kvm_vfio), open_again}},
      {"SET_IRQS | close device",
       from,
       {},
       with_device,
       {{set_irqs}, {close(device)}},
       {unset_container, set_container}},
      {"SET_IRQS | close eventfd",
       from,
       {},
       with_device,
       {{set_irqs}, {close(event)}},
       {close(device), unset_container}},
  };
}

std::vector<race> of_iommufd() {
  const source from = source::sequential;
  std::vector<race> all{
      {"BIND | BIND of two descriptors",
       from,
       {},
       {open_iommufd, open_cdev, open_other_cdev, ioas_alloc},
       {{bind}, {bind_other}},
       {attach, detach, close(cdev), bind_other}},
      {"BIND | BIND of one descriptor",
       from,
       {},
       {open_iommufd, open_cdev, ioas_alloc},
       {{bind}, {bind}},
       {attach, detach}},
      {"BIND | open group",
       from,
       {},
       {open_iommufd, open_cdev},
       {{bind}, {open_group}},
       {bind, close(group), bind}},
      {"ATTACH | DETACH",
       from,
       {},
       {open_iommufd, open_cdev, bind, ioas_alloc},
       {{attach}, {detach}},
       {attach, detach}},
      {"ATTACH, DETACH | close cdev",
       from,
       {},
       {open_iommufd, open_cdev, open_other_cdev, bind, ioas_alloc},
       {{attach, detach}, {close(cdev)}},
       {bind_other}},
      {"BIND, ATTACH | close cdev, BIND of another | ADD",
       from,
       one_vm,
       {open_iommufd, open_cdev, open_other_cdev, create_device, ioas_alloc},
       {{bind, attach}, {close(cdev), bind_other}, {{verb::add, kvm_vfio, other_cdev}}},
       {bind_other, {verb::del, kvm_vfio, other_cdev}}},
  };
  for (race& r : all) r.needs_iommufd = true;
  return all;
}

const char* word(const op& o) {
  switch (o.what) {
    case verb::open: return "open";
    case verb::close: return "close";
    case verb::create_vm: return "CREATE_VM";
    case verb::create_kvm_vfio: return "CREATE_DEVICE";
    case verb::add: return "ADD";
    case verb::del: return "DEL";
    case verb::has_add: return "HAS";
    case verb::set_container: return "SET_CONTAINER";
    case verb::unset_container: return "UNSET_CONTAINER";
    case verb::set_iommu: return "SET_IOMMU";
    case verb::group_status: return "GET_STATUS";
    case verb::get_device: return "GET_DEVICE_FD";
    case verb::bind: return "BIND";
    case verb::ioas_alloc: return "IOAS_ALLOC";
    case verb::attach: return "ATTACH";
    case verb::detach: return "DETACH";
    case verb::eventfd: return "eventfd";
    case verb::set_irqs: return "SET_IRQS";
  }
  return "";
}

}  // namespace

const std::vector<race>& all_races() {
  static const std::vector<race> all = [] {
    std::vector<race> made = of_kvm_vfio();
    for (const auto& more : {of_vfio(), of_iommufd()})
      made.insert(made.end(), more.begin(), more.end());
    return made;
  }();
  return all;
}

std::string to_string(const race& r, const outcome& o) {
  std::string text;
  std::size_t at = 0;
  const auto answers = [&](const ops& calls) {
    for (const op& call : calls) {
      const int a = o.at(at++);
      text += std::string(" ") + word(call) + "=" +
              (a < 0 ? std::string(kvm_vfio::name(kvm_vfio::to_errc(-a))) : std::to_string(a));
    }
  };
  for (const ops& calls : r.threads) {
    answers(calls);
    text += " |";
  }
  text += " then";
  answers(r.probe);
  if (at < o.size())
    text += ", registered " + std::to_string(o[at]) + ", unregistered " + std::to_string(o[at + 1]);
  return text;
}

}  // namespace races
