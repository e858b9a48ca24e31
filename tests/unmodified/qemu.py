#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Scenarios of QEMU with VFIO devices. One run is one scenario.

It prints what QEMU printed, and ends with the status 0 (ok), 1 (failed, the reason is on the last line) or 77 (the
scenario cannot run here, the reason is on the last line). The host that it runs on must have the devices of
topologies/qemu.json.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

from qmp import Failed, Qemu

# The devices of topologies/qemu.json.
PLAIN = "0000:aa:00.0"  # alone in its group; a pin interrupt
MSIX = "0000:ab:00.0"  # alone in its group; MSI-X
FIRST, SECOND = "0000:ac:00.0", "0000:ac:00.1"  # one group
NO_SNOOP = "0000:ad:00.0"  # behind an IOMMU without snoop control

# Lines that QEMU prints without a fault of the host.
HARMLESS = re.compile(
    r"TCG doesn't support requested feature|host doesn't support requested feature|terminating on signal"
    # QEMU says so if TCG runs the VM: there is no kvm-vfio then.
    r"|KVM VFIO device isn't created yet"
    # The kernel may lack CONFIG_VFIO_PCI_DMABUF.
    r"|VFIO dma-buf not supported in kernel"
)
# An iommufd refuses memory that is a BAR. QEMU tries it and goes on.
REFUSED_BAR = re.compile(
    r"IOMMU_IOAS_MAP failed: Bad address, PCI BAR|vfio_container_dma_map\(.*\) = -14 \(Bad address\)"
    r"|PCI peer-to-peer transactions on BARs are not supported"
)


class Machine:
    """Starts QEMU, and plugs devices into its root ports."""

    ports = 3

    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.qemus = []
        self.last = None  # the last line of the output

    def command(self, *more, accel=None):
        accel = accel or self.options.accel
        words = self.options.qemu + ["-accel", accel, "-nodefaults", "-nographic", "-M", "q35"]
        # With the native hot-plug of PCI Express, a device in a slot without power is unplugged at once.
        words += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
        for port in range(self.ports):
            words += ["-device", f"pcie-root-port,id=rp{port},chassis={port + 1},slot={port + 1}"]
        if self.options.iommufd:
            words += ["-object", "iommufd,id=iommufd0"]
        return words + list(more)

    def start(self, *more, **keywords):
        qemu = Qemu(self.command(*more, **keywords), self.work, self.options.limit)
        self.qemus.append(qemu)
        return qemu

    def device(self, address, number):
        """The properties of a device for device_add."""
        properties = {"driver": self.options.driver, "id": f"dev{number}", "bus": f"rp{number}"}
        if self.options.driver == "vfio-pci":
            properties["host"] = address
            if self.options.iommufd:
                properties["iommufd"] = "iommufd0"
        return properties

    def cold(self, address, number):
        """The arguments of the command line for a device."""
        properties = self.device(address, number)
        driver = properties.pop("driver")
        return ["-device", ",".join([driver] + [f"{k}={v}" for k, v in properties.items()])]

    def plug(self, qemu, address, number):
        qemu.call("device_add", **self.device(address, number))

    def unplug(self, qemu, number):
        qemu.call("device_del", id=f"dev{number}")
        qemu.wait_event("DEVICE_DELETED", device=f"dev{number}")

    def present(self, qemu, *numbers):
        """Fails unless the VM has exactly these devices."""
        listed = qemu.call("qom-list", path="/machine/peripheral")
        found = {entry["name"] for entry in listed if entry["name"].startswith("dev")}
        wanted = {f"dev{number}" for number in numbers}
        if found != wanted:
            raise Failed(f"the VM has the devices {sorted(found)}, not {sorted(wanted)}")


    def mapped(self, qemu, count):
        """Waits until the firmware has set the BARs of so many devices."""
        end = time.monotonic() + self.options.limit
        while True:
            found = 0
            for bus in qemu.call("query-pci"):
                for bridge in bus["devices"]:
                    for device in bridge.get("pci_bridge", {}).get("devices", []):
                        found += any(region["address"] > 0 for region in device["regions"])
            if found >= count:
                return
            if time.monotonic() > end:
                raise Failed(f"the firmware set the BARs of {found} devices, not of {count}")
            time.sleep(0.1)


def steady(qemu, before, what):
    """Fails if QEMU has more open descriptors than before. Freed objects are closed a moment later."""
    end = time.monotonic() + 2
    while True:
        now = qemu.descriptors()
        if len(now) <= len(before):
            return
        if time.monotonic() > end:
            more = [name for number, name in now if number not in {n for n, _ in before}]
            raise Failed(f"{len(now) - len(before)} more descriptors {what}: {', '.join(more[:8])}")
        time.sleep(0.01)


def plug(machine, address=PLAIN):
    """Many times: plug a device and unplug it."""
    qemu = machine.start("-S")
    before = []
    for cycle in range(machine.options.cycles):
        machine.plug(qemu, address, 0)
        machine.unplug(qemu, 0)
        # The first cycle opens what QEMU keeps.
        if cycle == 0:
            time.sleep(0.2)
            before = qemu.descriptors()
    steady(qemu, before, f"after {machine.options.cycles} cycles")
    qemu.quit()


def msix(machine):
    """Many times: a device with MSI-X."""
    plug(machine, MSIX)


def resident(pid):
    """The memory of a process, in KiB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def cycles(machine):
    """1,000 times: plug a device and unplug it. Says how long that takes; nothing may grow."""
    qemu = machine.start("-S")
    # kvm-vfio-sim starts this program itself.
    with open(f"/proc/{os.getppid()}/comm", encoding="utf-8") as name:
        processes = {"QEMU": qemu.process.pid}
        if name.read().strip() == "kvm-vfio-sim":
            processes["kvm-vfio-sim"] = os.getppid()
    times = []
    # The first cycles fill what both keep: their heaps, and the checker's memory of what it has seen.
    settled, count = 300, max(machine.options.cycles, 1000)
    open_files, memory = {}, {}
    for cycle in range(count):
        if cycle == settled:
            time.sleep(0.2)
            open_files = {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in processes.items()}
            memory = {name: resident(pid) for name, pid in processes.items()}
        began = time.monotonic()
        machine.plug(qemu, PLAIN, 0)
        machine.unplug(qemu, 0)
        times.append((time.monotonic() - began) * 1000)
    time.sleep(0.5)
    grown = []
    figures = []
    for name, pid in processes.items():
        now = len(os.listdir(f"/proc/{pid}/fd"))
        more = resident(pid) - memory[name]
        figures.append(f"{name} {resident(pid)} KiB, {more:+d} KiB in {count - settled} cycles, {now} files")
        if now > open_files[name]:
            grown.append(f"{name} has {now - open_files[name]} more descriptors")
        # The heap of a process moves by some pages, and not by a page in each cycle.
        if more > (count - settled):
            grown.append(f"{name} has {more} KiB more memory")
    qemu.quit()
    times.sort()
    print(f"cycle: median {times[count // 2]:.1f} ms, 99th percentile {times[count * 99 // 100]:.1f} ms; "
          + "; ".join(figures))
    if grown:
        raise Failed(f"after {count - settled} cycles " + ", ".join(grown))


def cold(machine):
    """A device is there from the start; the firmware runs."""
    qemu = machine.start(*machine.cold(PLAIN, 0), *machine.cold(MSIX, 1))
    for _ in range(2):
        machine.present(qemu, 0, 1)
        machine.mapped(qemu, 2)
        # Before the firmware sets the BARs, they are where they were, or nowhere.
        time.sleep(0.3)
        qemu.call("system_reset")
    qemu.quit()


def same_group(machine):
    """Two devices of one group, unplugged in both orders."""
    qemu = machine.start("-S")
    before = []
    for cycle in range(10):
        machine.plug(qemu, FIRST, 0)
        machine.plug(qemu, SECOND, 1)
        machine.present(qemu, 0, 1)
        order = (0, 1) if cycle % 2 else (1, 0)
        machine.unplug(qemu, order[0])
        machine.present(qemu, order[1])
        machine.unplug(qemu, order[1])
        if cycle == 0:
            time.sleep(0.2)
            before = qemu.descriptors()
    steady(qemu, before, "after 10 cycles")
    qemu.quit()


def two(machine, first, second):
    """Two groups in one container or one iommufd, in both orders."""
    qemu = machine.start("-S")
    before = []
    for cycle in range(12):
        pair = (first, second) if cycle % 2 else (second, first)
        machine.plug(qemu, pair[0], 0)
        machine.plug(qemu, pair[1], 1)
        machine.present(qemu, 0, 1)
        machine.unplug(qemu, cycle // 2 % 2)
        machine.present(qemu, 1 - cycle // 2 % 2)
        # The group that stays is used on.
        machine.plug(qemu, pair[cycle // 2 % 2], cycle // 2 % 2)
        machine.present(qemu, 0, 1)
        machine.unplug(qemu, 0)
        machine.unplug(qemu, 1)
        machine.present(qemu)
        if cycle == 0:
            time.sleep(0.2)
            before = qemu.descriptors()
    steady(qemu, before, "after 12 cycles")
    qemu.quit()


def two_groups(machine):
    """Two groups of which both enforce coherency."""
    two(machine, PLAIN, MSIX)


def mixed_coherency(machine):
    """One device is behind an IOMMU with snoop control, the other one behind an IOMMU without it."""
    two(machine, PLAIN, NO_SNOOP)
    # Both are there from the start.
    qemu = machine.start(*machine.cold(PLAIN, 0), *machine.cold(NO_SNOOP, 1))
    machine.mapped(qemu, 2)
    qemu.quit()


def in_the_middle(machine, end):
    """QEMU ends while it has devices; then the devices can be opened again."""
    for more in (["-S"], []):
        qemu = machine.start(*more)
        for number, address in enumerate((PLAIN, MSIX, FIRST)):
            machine.plug(qemu, address, number)
        machine.present(qemu, 0, 1, 2)
        if not more:
            time.sleep(0.7)
        end(qemu)
    qemu = machine.start("-S")
    for number, address in enumerate((PLAIN, MSIX, SECOND)):
        machine.plug(qemu, address, number)
    machine.present(qemu, 0, 1, 2)
    for number in range(3):
        machine.unplug(qemu, number)
    qemu.quit()


def quit_in_the_middle(machine):
    """The command quit while devices are plugged."""
    in_the_middle(machine, lambda qemu: qemu.quit())


def kill_in_the_middle(machine):
    """SIGKILL while devices are plugged."""
    in_the_middle(machine, lambda qemu: qemu.kill())


def faults(machine):
    """Calls fail, each once (faults/qemu.json); QEMU says so, and then the device can be plugged."""
    qemu = machine.start("-S")
    before = qemu.descriptors()
    refused = 0
    for _ in range(60):
        try:
            machine.plug(qemu, MSIX, 0)
        except Failed as failed:
            if qemu.process.poll() is not None:
                raise
            refused += 1
            print(failed)
            continue
        machine.unplug(qemu, 0)
    machine.plug(qemu, MSIX, 0)
    machine.present(qemu, 0)
    machine.unplug(qemu, 0)
    # QEMU keeps the device of kvm-vfio.
    steady(qemu, before + [(-1, "")] * 1, f"after {refused} failures")
    qemu.quit()
    if refused < 5:
        raise Failed(f"the device was refused {refused} times only")
    machine.last = f"the device was refused {refused} times, then plugged"


def guest(machine):
    """A whole Linux as the guest lists the device, enables it, writes its BAR and reads the BAR again."""
    options = machine.options
    if not options.kernel or not options.initramfs:
        print("no kernel for the guest")
        sys.exit(77)
    console = os.path.join(machine.work, "console")
    command = machine.command(
        "-cpu", "max", "-m", "512", "-no-reboot", "-kernel", options.kernel, "-initrd", options.initramfs,
        "-append", "console=ttyS0 quiet loglevel=4 panic=-1 tsc=unstable no_timer_check",
        "-serial", f"file:{console}", *machine.cold(MSIX, 0), accel="tcg",
    )
    stderr_path = os.path.join(machine.work, "guest.stderr")
    with open(stderr_path, "w", encoding="utf-8") as stderr:
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, timeout=60, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = "no end in 60 s"
    with open(console, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.startswith("GUEST ")]
    with open(stderr_path, encoding="utf-8", errors="replace") as stderr:
        printed = stderr.read()
    print("\n".join(lines))
    sys.stdout.write(printed)
    if options.driver == "vfio-pci" and (code != 0 or "GUEST ok" not in lines):
        raise Failed(f"QEMU ended with {code}, the guest said: {lines[-1] if lines else 'nothing'}; {printed.strip()}")


SCENARIOS = {
    "plug": plug,
    "cycles": cycles,
    "cold": cold,
    "msix": msix,
    "same-group": same_group,
    "two-groups": two_groups,
    "mixed-coherency": mixed_coherency,
    "quit": quit_in_the_middle,
    "kill": kill_in_the_middle,
    "faults": faults,
    "guest": guest,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--iommufd", action="store_true", help="devices by iommufd, not by group and container")
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--limit", type=float, default=20, help="seconds until an answer of QEMU is late")
    # Without KVM, QEMU makes the same calls but for those of kvm-vfio.
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    parser.add_argument("--accel", default="kvm" if kvm else "tcg", help="what runs the VM's processor")
    parser.add_argument("--driver", default="vfio-pci", help="another device of QEMU: tests this program without VFIO")
    parser.add_argument("--kernel", help="the kernel of the guest")
    parser.add_argument("--initramfs", help="the initramfs of the guest")
    parser.add_argument("qemu", nargs="+", help="the words that start QEMU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        machine = Machine(options, work)
        reason = None
        try:
            SCENARIOS[options.scenario](machine)
        except Failed as failed:
            reason = str(failed)
        for qemu in machine.qemus:
            if qemu.process.poll() is None:
                qemu.kill()
        # A host that answers as Linux does gives QEMU no reason to warn.
        warnings = {}
        for qemu in machine.qemus:
            for line in qemu.words().split(" | "):
                if re.search(r"vfio|iommu|assert|abort", line, re.I) and not HARMLESS.search(line) and not (
                    options.iommufd and REFUSED_BAR.search(line)
                ):
                    line = re.sub(r"^[^:]*qemu-system-x86_64: ", "", line)
                    warnings[line] = warnings.get(line, 0) + 1
        for line, times in warnings.items():
            print(f"{times} x {line}")
        if machine.last:
            print(machine.last)
        if reason:
            print(reason)
            sys.exit(1)
        if warnings and options.scenario != "faults":
            print(f"QEMU warned: {next(iter(warnings))}")
            sys.exit(1)


if __name__ == "__main__":
    main()
