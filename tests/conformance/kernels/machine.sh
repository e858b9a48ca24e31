# shellcheck shell=bash
# SPDX-License-Identifier: BSL-1.0
# Sourced: machine NAME SNOOP CLOCK DEVICES INTREMAP sets qemu, an array, and append, for a machine with KVM, an IOMMU and VFIO
# groups. DEVICES few: six groups of one device each. DEVICES many, functions: on q35 also the devices of other_devices, or those
# of virtual_functions.

# Devices of q35 that differ in what VFIO shows of them: PCI Express, resets, vectors, BARs, and groups of several devices.
other_devices() {
  qemu+=(
    # PCI Express with a function level reset; 5 MSI-X vectors, whose table is alone in BAR 3.
    -netdev user,id=net0,restrict=on -device e1000e,addr=a,netdev=net0,romfile=
    # 16 MSI vectors.
    -device nec-usb-xhci,msi=on,msix=off,addr=b
    # Two functions of one slot are one group.
    -device edu,addr=c.0,multifunction=on -device pci-testdev,addr=c.1
    # A root port has a secondary bus, which can be reset. The drive has its MSI-X table in the middle of BAR 0.
    -device pcie-root-port,id=port0,addr=d,chassis=1,slot=9,x-speed=5 -blockdev null-co,node-name=disk0,size=1048576
    -device nvme,bus=port0,drive=disk0,serial=1
    # Two functions behind a root port, which only their bus resets. Each has 16 MSI vectors.
    -device pcie-root-port,id=port1,addr=10,chassis=2,slot=10,x-speed=5
    -device nec-usb-xhci,bus=port1,addr=0.0,multifunction=on,msi=on,msix=off
    -device nec-usb-xhci,bus=port1,addr=0.1,msi=on,msix=off
    # The devices behind a conventional bridge are one group. The first has a memory BAR of 256 bytes.
    -device pcie-pci-bridge,id=bridge0,addr=e
    -netdev user,id=net1,restrict=on -device rtl8139,bus=bridge0,addr=1,netdev=net1,romfile=
    -device edu,bus=bridge0,addr=2
    # A 64-bit prefetchable BAR of 64 GiB.
    -device pci-testdev,membar=64G,addr=f
    # No IOMMU handles the devices behind this root bus.
    -device pxb-pcie,id=bypass0,bus_nr=128,bypass_iommu=on,addr=11
    -device pcie-root-port,id=port2,bus=bypass0,addr=0,chassis=3,slot=1 -device edu,bus=port2
    -device pcie-root-port,id=port3,bus=bypass0,addr=1,chassis=4,slot=2
    -netdev user,id=net2,restrict=on -device e1000e,bus=port3,netdev=net2,romfile=)
}

# Two devices whose physical function has two virtual functions, and bridges beside devices on buses that can be reset.
virtual_functions() {
  local n
  qemu+=(-device pcie-root-port,id=port2,addr=12.0,chassis=3,slot=11,x-speed=5
    -device edu,bus=port2,addr=0.0,multifunction=on
    -device pcie-pci-bridge,bus=port2,id=bridge0,addr=0.1 -device edu,bus=bridge0,addr=1
    -device pci-bridge,bus=bridge0,id=bridge1,addr=2,chassis_nr=9,shpc=off -device pci-testdev,bus=bridge1,addr=3
    -device edu,bus=bridge0,addr=4)
  for n in 0 1; do
    qemu+=(-device "pcie-root-port,id=port$n,addr=$((n + 10)).0,chassis=$((n + 1)),slot=$((n + 9)),x-speed=5"
      -device "nvme-subsys,id=subsystem$n"
      -device "nvme,bus=port$n,subsys=subsystem$n,serial=$n,max_ioqpairs=8,msix_qsize=9,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2")
  done
}

machine() {
  local n devices=(edu pci-testdev edu edu pci-testdev edu)
  append=
  qemu=()
  case $1 in
    q35)
      # AMD's nested virtualisation beside Intel's IOMMU: only this pair has both, and snoop control.
      qemu=(qemu-system-x86_64 -M "q35,kernel-irqchip=off" -cpu "max,+svm,-la57"
        -device "intel-iommu,intremap=${5:-off},snoop-control=$2")
      append="console=ttyS0 intel_iommu=on tsc=unstable no_timer_check vfio_iommu_type1.allow_unsafe_interrupts=1"
      ;;
    virt)
      qemu=(qemu-system-aarch64 -M "virt,virtualization=on,gic-version=3,iommu=smmuv3" -cpu cortex-a72)
      append="console=ttyAMA0"
      ;;
    pseries)
      qemu=(qemu-system-ppc64 -M "pseries,cap-nested-hv=on,x-vof=on,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off" -cpu power9)
      append="console=hvc0 disable_radix=no"
      ;;
    *) die "no machine is called '$1'" ;;
  esac
  for n in "${!devices[@]}"; do
    case $1 in
      # On POWER a PCI host bridge is one group.
      pseries)
        qemu+=(-device "spapr-pci-host-bridge,index=$((n + 1)),id=phb$n" -device "${devices[n]},bus=phb$n.0,addr=1")
        ;;
      *) qemu+=(-device "${devices[n]},addr=$((n + 4))") ;;
    esac
  done
  [[ $4 != many || $1 != q35 ]] || other_devices
  [[ $4 != functions || $1 != q35 ]] || virtual_functions
  case $3 in
    time) qemu+=(-accel "tcg,thread=multi") ;;
    instructions) qemu+=(-accel "tcg,thread=single" -icount "shift=0,sleep=off") ;;
  esac
  qemu+=(-nodefaults -nographic -serial stdio -no-reboot)
  append="$append quiet loglevel=4 panic=-1 oops=panic"
}
