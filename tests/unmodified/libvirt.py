#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""libvirt.py MODULES DAEMON... -- VIRSH...: starts libvirtd for one user in a directory of its own, and looks with
virsh that it knows the devices of topologies/qemu.json.

MODULES is the directory of the daemon's drivers. Ends with 77 if the daemon cannot run here.
"""

import os
import re
import subprocess
import sys
import tempfile
import time

GROUPS = {"0000_aa_00_0": 10, "0000_ab_00_0": 11, "0000_ac_00_0": 12, "0000_ac_00_1": 12, "0000_ad_00_0": 13}
DEVICES = {"0000_aa_00_0": "0xaa01", "0000_ab_00_0": "0xaa02", "0000_ac_00_0": "0xaa03", "0000_ac_00_1": "0xaa04",
           "0000_ad_00_0": "0xaa05"}


def missing_of(virsh):
    """What virsh does not say as it must."""
    listed = virsh("nodedev-list", "--cap", "pci").split()
    missing = [f"pci_{name} is not listed" for name in GROUPS if f"pci_{name}" not in listed]
    for name, group in GROUPS.items():
        if f"pci_{name}" not in listed:
            continue
        xml = virsh("nodedev-dumpxml", f"pci_{name}")
        for pattern in (r"<name>vfio-pci</name>", rf"<iommuGroup number='{group}'>", rf"<product id='{DEVICES[name]}'",
                        r"<vendor id='0x1234'"):
            if not re.search(pattern, xml):
                missing.append(f"pci_{name} lacks '{pattern}'")
    both = virsh("nodedev-dumpxml", "pci_0000_ac_00_0") if "pci_0000_ac_00_0" in listed else ""
    if both.count("<address domain='0x0000' bus='0xac' slot='0x00'") != 2:
        missing.append("the group of pci_0000_ac_00_0 has not two devices")
    return missing


def main():
    words = sys.argv[2:]
    daemon, client = words[: words.index("--")], words[words.index("--") + 1 :]
    if os.geteuid() == 0:
        # Root's daemon would use the machine's own directories.
        as_user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
        if subprocess.run(as_user + ["true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            print("this machine permits no user namespace")
            sys.exit(77)
        daemon, client = as_user + daemon, as_user + client
    with tempfile.TemporaryDirectory() as work:
        environment = dict(os.environ, HOME=work, XDG_RUNTIME_DIR=work, XDG_CONFIG_HOME=work, XDG_CACHE_HOME=work,
                           LIBVIRT_DRIVER_DIR=sys.argv[1], LIBVIRT_LOG_OUTPUTS="3:stderr")
        config = os.path.join(work, "libvirtd.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write('auth_unix_ro = "none"\nauth_unix_rw = "none"\n')
        uri = f"nodedev+unix:///session?socket={work}/libvirt/libvirt-sock"

        def virsh(*more):
            done = subprocess.run(
                client + ["-c", uri, *more], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=20, check=False, text=True, errors="replace",
            )
            sys.stdout.write(done.stdout)
            return done.stdout

        with subprocess.Popen(daemon + ["-f", config], env=environment, stdin=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + 10
                missing = ["nothing was asked"]
                # The daemon looks for devices after it has opened its socket.
                while missing and time.monotonic() < end and process.poll() is None:
                    time.sleep(0.3)
                    if os.path.exists(f"{work}/libvirt/libvirt-sock"):
                        missing = missing_of(virsh)
            finally:
                ended = process.poll()
                process.kill()
    for line in missing:
        print(line)
    if ended is not None or missing:
        print(f"libvirtd ended with {ended}" if ended is not None else f"{len(missing)} missing: {missing[0]}")
        sys.exit(1)


if __name__ == "__main__":
    main()
