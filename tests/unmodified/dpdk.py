#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""dpdk.py COMMAND...: runs DPDK's testpmd with the device of topologies/dpdk.json.

There is no network card behind the registers, so that the driver of the card gives up after the whole set-up of VFIO.
The set-up must succeed, and nothing of VFIO may fail.
"""

import re
import subprocess
import sys

DEVICE = "0000:ae:00.0"


def main():
    command = sys.argv[1:] + [
        "--no-huge", "-m", "100", "--iova-mode=va", "--in-memory", "-a", DEVICE, "--log-level=lib.eal:debug",
        "--log-level=bus.pci:debug", "--log-level=pmd.net.e1000.*:debug", "--", "--total-num-mbufs=2048",
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
        status, output = done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        status, output = "no end in 60 s", (late.stdout or b"").decode(errors="replace")
    sys.stdout.write(output)
    wrong = [
        line
        for line in output.splitlines()
        if re.search(r"vfio|container|iommu|bar|interrupt", line, re.I) and re.search(r"fail|error|cannot|unable", line, re.I)
    ]
    if not re.search(rf"[Pp]robe PCI driver: net_e1000_em \(8086:100e\) device: {DEVICE}", output):
        wrong.append("the driver was not tried")
    print(f"testpmd ended with {status}")
    if wrong:
        print(wrong[0])
        sys.exit(1)


if __name__ == "__main__":
    main()
