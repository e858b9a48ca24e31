#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""lspci.py COMMAND...: runs lspci, and looks for what it must say of the devices of topologies/qemu.json."""

import re
import subprocess
import sys

WANTED = {
    "0000:aa:00.0": [r"\[1234:aa01\]", r"Interrupt: pin A", r"Region 0: Memory at \S+ \(32-bit, non-prefetchable\).*\[size=4K\]"],
    "0000:ab:00.0": [
        r"\[1234:aa02\]", r"Region 0: Memory at \S+ \(64-bit, prefetchable\).*\[size=64K\]", r"Express \(",
        r"MSI-X: Enable- Count=8", r"Vector table: BAR=2 offset=00000000", r"PBA: BAR=2 offset=00000800",
    ],
    "0000:ac:00.0": [r"\[1234:aa03\]", r"MSI: Enable- Count=1/4"],
    "0000:ac:00.1": [r"\[1234:aa04\]"],
    "0000:ad:00.0": [r"\[1234:aa05\]"],
}
GROUPS = {"0000:aa:00.0": 10, "0000:ab:00.0": 11, "0000:ac:00.0": 12, "0000:ac:00.1": 12, "0000:ad:00.0": 13}


def main():
    done = subprocess.run(
        sys.argv[1:] + ["-D", "-nn", "-vv", "-k"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
        check=False, text=True, errors="replace",
    )
    sys.stdout.write(done.stdout)
    missing = []
    devices = {block.split(" ", 1)[0]: block for block in re.split(r"\n\n|\n(?=\S)", done.stdout) if block.strip()}
    for name, patterns in WANTED.items():
        if name not in devices:
            missing.append(f"{name} is not listed")
            continue
        patterns = patterns + [rf"IOMMU group: {GROUPS[name]}\b", r"Kernel driver in use: vfio-pci"]
        missing += [f"{name} lacks '{pattern}'" for pattern in patterns if not re.search(pattern, devices[name])]
    for line in missing:
        print(line)
    if done.returncode != 0 or missing:
        print(f"lspci ended with {done.returncode}; {len(missing)} missing: {missing[0] if missing else ''}")
        sys.exit(1)


if __name__ == "__main__":
    main()
