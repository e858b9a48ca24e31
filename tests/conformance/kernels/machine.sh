# shellcheck shell=bash
# SPDX-License-Identifier: BSL-1.0
# Sourced: machine NAME SNOOP CLOCK sets qemu, an array, and append, for a machine with KVM, an IOMMU and six VFIO groups.

machine() {
  local n devices=(edu pci-testdev edu edu pci-testdev edu)
  append=
  qemu=()
  case $1 in
    q35)
      # AMD's nested virtualisation beside Intel's IOMMU: only this pair has both, and snoop control.
      qemu=(qemu-system-x86_64 -M "q35,kernel-irqchip=off" -cpu "max,+svm,-la57"
        -device "intel-iommu,intremap=off,snoop-control=$2")
      append="console=ttyS0 intel_iommu=on tsc=unstable vfio_iommu_type1.allow_unsafe_interrupts=1"
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
  case $3 in
    time) qemu+=(-accel "tcg,thread=multi") ;;
    instructions) qemu+=(-accel "tcg,thread=single" -icount "shift=0,sleep=off") ;;
  esac
  qemu+=(-nodefaults -nographic -serial stdio -no-reboot)
  append="$append quiet loglevel=4 panic=-1 oops=panic"
}
