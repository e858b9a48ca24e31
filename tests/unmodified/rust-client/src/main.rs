// SPDX-License-Identifier: BSL-1.0
//! A client of Debian's crate pci-driver: uses the devices of topologies/qemu.json as a driver in user space does.
//! Prints what it does. Ends with 1 if a step fails or gives something wrong.

use pci_driver::backends::vfio::{VfioContainer, VfioPciDevice};
use pci_driver::config::caps::Capability;
use pci_driver::device::PciDevice;
use pci_driver::interrupts::PciInterruptMechanism;
use pci_driver::regions::{PciRegion, Permissions};
use std::error::Error;
use std::os::unix::io::RawFd;
use std::sync::Arc;

extern "C" {
    fn eventfd(value: u32, flags: i32) -> i32;
    fn close(fd: i32) -> i32;
    fn mmap(address: *mut u8, size: usize, protection: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
    fn munmap(address: *mut u8, size: usize) -> i32;
}

type Outcome = Result<(), Box<dyn Error>>;

fn check(condition: bool, what: &str) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(what.into())
    }
}

/// Sets eventfds for all vectors, and takes them away.
fn interrupts(name: &str, mechanism: PciInterruptMechanism, wanted: usize) -> Outcome {
    println!("{}: {} vectors", name, mechanism.max());
    check(mechanism.max() == wanted, "the number of vectors is wrong")?;
    if wanted == 0 {
        return check(mechanism.enable(&[0]).is_err(), "an interrupt that is not there can be enabled");
    }
    let fds: Vec<RawFd> = (0..wanted).map(|_| unsafe { eventfd(0, 0) }).collect();
    mechanism.enable(&fds)?;
    mechanism.disable()?;
    mechanism.enable(&fds[..1])?;
    mechanism.disable()?;
    for fd in fds {
        unsafe { close(fd) };
    }
    Ok(())
}

/// Maps memory for DMA, looks that the same place is refused, and takes the memory away.
fn dma(device: &VfioPciDevice) -> Outcome {
    const SIZE: usize = 1 << 20;
    let iommu = device.iommu();
    println!("iommu: alignment {}, ranges {:x?}", iommu.alignment(), iommu.valid_iova_ranges());
    println!("iommu: at most {} mappings", iommu.max_num_mappings());
    let memory = unsafe { mmap(std::ptr::null_mut(), SIZE, 3, 0x22, -1, 0) };
    check(memory as isize != -1, "no memory")?;
    for round in 0..20_u64 {
        let iova = round * SIZE as u64;
        unsafe { iommu.map(iova, SIZE, memory, Permissions::ReadWrite)? };
        check(unsafe { iommu.map(iova, SIZE, memory, Permissions::Read) }.is_err(), "a place is mapped twice")?;
    }
    for round in 0..20_u64 {
        iommu.unmap(round * SIZE as u64, SIZE)?;
    }
    // The close of the container takes away what is left.
    unsafe { iommu.map(0, SIZE, memory, Permissions::Read)? };
    iommu.unmap(0, SIZE)?;
    unsafe { munmap(memory, SIZE) };
    Ok(())
}

fn config(device: &VfioPciDevice, id: u16) -> Outcome {
    let config = device.config();
    check(config.vendor_id().read()? == 0x1234 && config.device_id().read()? == id, "the identity is wrong")?;
    config.command().memory_space_enable().write(true)?;
    config.command().bus_master_enable().write(true)?;
    check(config.command().bus_master_enable().read()?, "bus mastering is not on")?;
    for capability in config.capabilities()? {
        println!("config: capability {:#x}", capability.header().capability_id().read()?);
    }
    Ok(())
}

fn bar(device: &VfioPciDevice, size: u64) -> Outcome {
    let bar = device.bar(0).ok_or("no BAR 0")?;
    check(bar.len() == size, "the size of BAR 0 is wrong")?;
    bar.write_le_u32(0x20, 0x1234_5678)?;
    check(bar.read_le_u32(0x20)? == 0x1234_5678, "BAR 0 does not hold what is written")?;
    check(bar.is_mappable(), "BAR 0 cannot be mapped")?;
    let mapped = bar.map(..4096, Permissions::ReadWrite)?;
    check(mapped.read_le_u32(0x20)? == 0x1234_5678, "the mapping shows other bytes than read")?;
    mapped.write_le_u32(0x24, 0x9abc_def0)?;
    check(bar.read_le_u32(0x24)? == 0x9abc_def0, "read shows other bytes than the mapping")
}

fn alone() -> Outcome {
    let device = VfioPciDevice::open("/sys/bus/pci/devices/0000:ab:00.0")?;
    config(&device, 0xaa02)?;
    bar(&device, 65536)?;
    dma(&device)?;
    interrupts("intx", device.interrupts().intx(), 1)?;
    interrupts("msi", device.interrupts().msi(), 0)?;
    interrupts("msi-x", device.interrupts().msi_x(), 8)?;
    device.reset()?;
    check(VfioPciDevice::open("/sys/bus/pci/devices/0000:ab:00.0").is_err(), "the group can be opened twice")
}

fn two_of_a_group() -> Outcome {
    let container = Arc::new(VfioContainer::new(&[12, 10])?);
    let first = VfioPciDevice::open_in_container("/sys/bus/pci/devices/0000:ac:00.0", Arc::clone(&container))?;
    let second = VfioPciDevice::open_in_container("/sys/bus/pci/devices/0000:ac:00.1", Arc::clone(&container))?;
    let other = VfioPciDevice::open_in_container("/sys/bus/pci/devices/0000:aa:00.0", Arc::clone(&container))?;
    config(&first, 0xaa03)?;
    config(&second, 0xaa04)?;
    config(&other, 0xaa01)?;
    interrupts("msi", first.interrupts().msi(), 4)?;
    drop(first);
    dma(&second)?;
    bar(&other, 4096)
}

fn main() {
    for round in 0..3 {
        println!("round {}", round);
        for (name, step) in [("alone", alone as fn() -> Outcome), ("two of a group", two_of_a_group)].iter() {
            if let Err(error) = step() {
                println!("{}: {}", name, error);
                std::process::exit(1);
            }
        }
    }
}
