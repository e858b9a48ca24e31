# SPDX-License-Identifier: BSL-1.0
"""Compares the calls that QEMU made in a booted kernel with those that it made on the simulator.

order.py topology OUTPUT          prints the topology of the booted kernel's host
order.py compare REAL SIMULATED   compares the outputs of order_steps.cpp, call by call
order.py other REAL SIMULATED     fails if nothing differs in the scenarios of SIMULATED, which is another release
order.py complete LOG SIMULATED   fails if the log of kvm-vfio-sim has other calls than the object logged
order.py sum COMPARISON           prints VERSION/WAY<tab>OUTCOME<tab>TEXT for the scenarios of each QEMU and way

compare prints one line for each scenario, NAME<tab>OUTCOME<tab>CALLS<tab>REASON, and then each difference with its
neighbours. OUTCOME is ok, FAILED or SKIPPED. Descriptors are compared by the file behind them, eventfds and addresses
by the order in which they appear.
"""

import difflib
import json
import re
import struct
import sys

VFIO = 0x3B64  # the first request of VFIO
NAMES = {
    VFIO + 0: "VFIO_GET_API_VERSION",
    VFIO + 1: "VFIO_CHECK_EXTENSION",
    VFIO + 2: "VFIO_SET_IOMMU",
    VFIO + 3: "VFIO_GROUP_GET_STATUS",
    VFIO + 4: "VFIO_GROUP_SET_CONTAINER",
    VFIO + 5: "VFIO_GROUP_UNSET_CONTAINER",
    VFIO + 6: "VFIO_GROUP_GET_DEVICE_FD",
    VFIO + 7: "VFIO_DEVICE_GET_INFO",
    VFIO + 8: "VFIO_DEVICE_GET_REGION_INFO",
    VFIO + 9: "VFIO_DEVICE_GET_IRQ_INFO",
    VFIO + 10: "VFIO_DEVICE_SET_IRQS",
    VFIO + 11: "VFIO_DEVICE_RESET",
    VFIO + 18: "VFIO_DEVICE_BIND_IOMMUFD",
    VFIO + 19: "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
    VFIO + 20: "VFIO_DEVICE_DETACH_IOMMUFD_PT",
    VFIO + 28: "IOMMU_DESTROY",
    VFIO + 29: "IOMMU_IOAS_ALLOC",
    VFIO + 32: "IOMMU_IOAS_IOVA_RANGES",
    VFIO + 33: "IOMMU_IOAS_MAP",
    VFIO + 34: "IOMMU_IOAS_UNMAP",
    VFIO + 35: "IOMMU_OPTION",
    VFIO + 37: "IOMMU_HWPT_ALLOC",
    VFIO + 38: "IOMMU_GET_HW_INFO",
    VFIO + 43: "IOMMU_IOAS_MAP_FILE",
    0xC00CAEE0: "KVM_CREATE_DEVICE",
    0x4018AEE1: "KVM_SET_DEVICE_ATTR",
    0x4018AEE3: "KVM_HAS_DEVICE_ATTR",
    0x4020AE76: "KVM_IRQFD",
}
# These numbers have one name for a device and one for a container.
OF_DEVICE = {VFIO + 12: "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", VFIO + 13: "VFIO_DEVICE_PCI_HOT_RESET",
             VFIO + 17: "VFIO_DEVICE_FEATURE"}
OF_CONTAINER = {VFIO + 12: "VFIO_IOMMU_GET_INFO", VFIO + 13: "VFIO_IOMMU_MAP_DMA", VFIO + 14: "VFIO_IOMMU_UNMAP_DMA",
                VFIO + 17: "VFIO_IOMMU_DIRTY_PAGES"}

# The fields of an argument: name, offset, bytes, and what the number is. Bytes that no field names are compared as
# they are. A length after the fields says how much of the argument the kernel reads.
FIELDS = {
    "VFIO_GROUP_SET_CONTAINER": [("container", 0, 4, "fd")],
    "VFIO_IOMMU_MAP_DMA": [("argsz", 0, 4, ""), ("flags", 4, 4, ""), ("vaddr", 8, 8, "address"), ("iova", 16, 8, "x"),
                           ("size", 24, 8, "x")],
    "VFIO_IOMMU_UNMAP_DMA": [("argsz", 0, 4, ""), ("flags", 4, 4, ""), ("iova", 8, 8, "x"), ("size", 16, 8, "x")],
    "VFIO_IOMMU_GET_INFO": [("argsz", 0, 4, ""), ("flags", 4, 4, "x"), ("pgsizes", 8, 8, "x")],
    "VFIO_GROUP_GET_STATUS": [("argsz", 0, 4, ""), ("flags", 4, 4, "")],
    "VFIO_DEVICE_GET_INFO": [("argsz", 0, 4, ""), ("flags", 4, 4, "x"), ("regions", 8, 4, ""), ("irqs", 12, 4, ""),
                             ("cap", 16, 4, "")],
    "VFIO_DEVICE_GET_REGION_INFO": [("argsz", 0, 4, ""), ("flags", 4, 4, "x"), ("index", 8, 4, ""),
                                    ("cap", 12, 4, ""), ("size", 16, 8, "x"), ("offset", 24, 8, "x")],
    "VFIO_DEVICE_GET_IRQ_INFO": [("argsz", 0, 4, ""), ("flags", 4, 4, "x"), ("index", 8, 4, ""), ("count", 12, 4, "")],
    "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO": [("argsz", 0, 4, ""), ("flags", 4, 4, "x"), ("count", 8, 4, "")],
    "VFIO_DEVICE_BIND_IOMMUFD": [("argsz", 0, 4, ""), ("flags", 4, 4, ""), ("iommufd", 8, 4, "fd"),
                                 ("devid", 12, 4, "")],
    "VFIO_DEVICE_ATTACH_IOMMUFD_PT": [("argsz", 0, 4, ""), ("flags", 4, 4, ""), ("pt", 8, 4, "")],
    "VFIO_DEVICE_DETACH_IOMMUFD_PT": [("argsz", 0, 4, ""), ("flags", 4, 4, "")],
    "VFIO_DEVICE_FEATURE": [("argsz", 0, 4, ""), ("flags", 4, 4, "x")],
    "IOMMU_DESTROY": [("size", 0, 4, ""), ("id", 4, 4, "")],
    "IOMMU_IOAS_ALLOC": [("size", 0, 4, ""), ("flags", 4, 4, ""), ("ioas", 8, 4, "")],
    "IOMMU_IOAS_IOVA_RANGES": [("size", 0, 4, ""), ("ioas", 4, 4, ""), ("count", 8, 4, ""), ("reserved", 12, 4, ""),
                               ("ranges", 16, 8, "pointer"), ("alignment", 24, 8, "x")],
    "IOMMU_IOAS_MAP": [("size", 0, 4, ""), ("flags", 4, 4, ""), ("ioas", 8, 4, ""), ("reserved", 12, 4, ""),
                       ("vaddr", 16, 8, "address"), ("length", 24, 8, "x"), ("iova", 32, 8, "x")],
    "IOMMU_IOAS_UNMAP": [("size", 0, 4, ""), ("ioas", 4, 4, ""), ("iova", 8, 8, "x"), ("length", 16, 8, "x")],
    "IOMMU_GET_HW_INFO": [("size", 0, 4, ""), ("flags", 4, 4, ""), ("device", 8, 4, ""), ("length", 12, 4, ""),
                          ("data", 16, 8, "pointer"), ("type", 24, 4, "")],
    "KVM_CREATE_DEVICE": [("type", 0, 4, ""), ("fd", 4, 4, "fd"), ("flags", 8, 4, "")],
    "KVM_SET_DEVICE_ATTR": [("flags", 0, 4, ""), ("group", 4, 4, ""), ("attr", 8, 8, ""), ("addr", 16, 8, "pointer")],
    "KVM_IRQFD": [("fd", 0, 4, "fd"), ("gsi", 4, 4, ""), ("flags", 8, 4, ""), ("resamplefd", 12, 4, "fd")],
}
# What the kernel reads of arguments that are larger than that: the rest may be anything that the memory had.
READ = {"VFIO_IOMMU_GET_INFO": 4, "VFIO_GROUP_GET_STATUS": 4, "VFIO_DEVICE_GET_INFO": 4, "KVM_CREATE_DEVICE": 4,
        "VFIO_DEVICE_GET_REGION_INFO": 12, "VFIO_DEVICE_GET_IRQ_INFO": 12, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO": 8}


class Names:
    """Names for the numbers of one log."""

    def __init__(self):
        self.files = {}
        self.events = {}
        self.counts = {}

    def number(self, kind):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"{kind}{self.counts[kind]}"

    def of(self, fd):
        """The name of a descriptor. An unknown one is an eventfd."""
        if fd < 0:
            return str(fd)
        if fd not in self.files:
            self.files[fd] = self.number("event")
        return self.files[fd]

    def address(self, value):
        """The name of an address in QEMU's memory, by its page."""
        if value not in self.events:
            self.events[value] = self.number("memory")
        return self.events[value]

    def field(self, data, field):
        name, offset, size, what = field
        if len(data) < offset + size:
            return None
        value = int.from_bytes(data[offset:offset + size], "little")
        if what == "fd":
            return f"{name}={self.of(value - (1 << 32) if value >> 31 else value)}"
        if what == "address":
            return f"{name}={self.address(value)}"
        if what == "pointer":
            return f"{name}=pointer"
        return f"{name}={value:#x}" if what == "x" else f"{name}={value}"

    def argument(self, request, data):
        """An argument as text: its fields, then the bytes that no field names."""
        if request == "VFIO_GROUP_GET_DEVICE_FD":
            return data.split(b"\0")[0].decode()
        if request == "VFIO_DEVICE_SET_IRQS" and len(data) >= 20:
            argsz, flags, index, start, count = struct.unpack_from("<5I", data)
            text = f"argsz={argsz} flags={flags:#x} index={index} start={start} count={count}"
            if flags & 4:
                fds = struct.unpack_from(f"<{(len(data) - 20) // 4}i", data, 20)
                return text + " " + ",".join(self.of(fd) for fd in fds)
            return text + (f" {data[20:].hex()}" if data[20:] else "")
        fields = FIELDS.get(request, [])
        parts = [text for text in (self.field(data, field) for field in fields) if text]
        end = max((offset + size for _, offset, size, _ in fields), default=0)
        if data[end:].strip(b"\0"):
            parts.append(data[end:].hex())
        return " ".join(parts)


def request_name(number, file):
    """The name of a request to a file."""
    table = OF_DEVICE if file.startswith(("device", "/dev/vfio/devices")) else OF_CONTAINER
    return NAMES.get(number) or table.get(number) or f"{number:#x}"


def calls_of(lines):
    """The calls of a log: a list of (step, call, answer). Eventfds are made and closed without a line here."""
    names = Names()
    step = "start"
    result = []
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "step":
            step = rest
            continue
        words = dict(word.partition("=")[::2] for word in rest.split(" "))
        fd = int(words.get("fd", -1))
        value = int(words["ret"])
        answer = f"errno {words['errno']}" if "errno" in words else str(value)
        if kind in ("open", "readlink"):
            call = f"{kind} {words['path']} {words.get('flags', '')}".rstrip()
            if "text" in words:
                answer = words["text"]
            if kind == "open" and value >= 0:
                names.files[value] = words["path"]
                answer = "ok"
        elif kind == "close":
            name = names.files.pop(fd, None)
            # A descriptor of KVM or an eventfd.
            if name is None or name.startswith("event"):
                continue
            call = f"close {name}"
        elif kind == "dup":
            call = f"dup {names.of(fd)}"
            names.files[value] = names.of(fd)
            answer = "ok"
        elif kind == "ioctl":
            number = int(words["request"])
            if number & 0xFF00 == 0xAE00 and number in (0xC00CAEE0, 0x4020AE76):
                names.files[fd] = "vm"
            file = names.of(fd)
            request = request_name(number, file)
            given = bytes.fromhex(words.get("in", ""))
            taken = bytes.fromhex(words.get("out", ""))
            if request == "KVM_CREATE_DEVICE" and value == 0:
                names.files[struct.unpack_from("<I", taken, 4)[0]] = "kvm-vfio"
            read = READ.get(request)
            argument = words.get("argument") or names.argument(request, given[:read])
            if request in ("VFIO_GROUP_UNSET_CONTAINER", "VFIO_DEVICE_RESET"):
                argument = ""  # the kernel does not read it
            call = f"ioctl {file} {request} {argument}"
            if "subject" in words:
                call += f" of {names.of(int(words['subject']))}"
            if request == "VFIO_GROUP_GET_DEVICE_FD" and value >= 0:
                names.files[value] = "device " + argument
                answer = "ok"
            elif taken != given[:len(taken)] or read:
                # Bytes that the kernel left are not an answer.
                answer += " " + names.argument(request, taken)
            if request == "IOMMU_GET_HW_INFO" and "type=1" in answer and len(words.get("more", "")) == 48:
                # Of the registers of an Intel IOMMU, the topology knows only what VFIO and VMMs use: the numbers of
                # domains, of levels and of bits in an address, the sizes of pages, and snoop control.
                cap, ecap = struct.unpack_from("<QQ", bytes.fromhex(words["more"]), 8)
                answer += f" registers={cap & 0x3C003F1F07:#x},{ecap & 0x80:#x} flags={words['more'][:16]}"
            elif "more" in words:
                answer += " more=" + words["more"]
        elif kind in ("pread", "pwrite"):
            call = f"{kind} {names.of(fd)} size={words['size']} offset={int(words['offset']):#x}"
            data = words.get("data", "")
            if kind == "pread":
                answer += " " + data
            else:
                call += " " + data
        elif kind == "mmap":
            call = (f"mmap {names.of(fd)} size={words['size']} protection={words['protection']} "
                    f"flags={words['flags']} offset={int(words['offset']):#x}")
            if value != -1:
                names.events[value] = names.number("mapping")
                answer = names.events[value]
        elif kind == "munmap":
            call = f"munmap {names.address(int(words['address']))} size={words['size']}"
            names.events.pop(int(words["address"]), None)
        else:
            raise ValueError(f"what is {line}?")
        result.append((step, call, answer))
    return result


def scenarios(path):
    """The scenarios of an output: name -> (outcome, lines of calls, words of QEMU, other lines, lines of strace)."""
    result = {}
    name = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            line = line.rstrip("\r\n")
            if line.startswith("ORDER-BEGIN "):
                name = line.split(" ", 1)[1]
                result[name] = ["no end", [], [], [], []]
            elif name and line.startswith("ORDER-END "):
                result[name][0] = line.split(" ", 2)[2]
                name = None
            elif name and line.startswith("ORDER "):
                result[name][1].append(line[len("ORDER "):])
            elif name and line.startswith("ORDER-STRACE "):
                result[name][4].append(line[len("ORDER-STRACE "):])
            elif name and line.startswith("ORDER-QEMU "):
                # What the processors of the two hosts lack is no matter here.
                if "support requested feature" not in line:
                    result[name][2].append(line[len("ORDER-QEMU "):])
            elif name:
                result[name][3].append(line)
    return result


def short(text):
    """A text that fits on a line. The middle of long bytes is left out."""
    return text if len(text) <= 300 else f"{text[:200]}...{text[-80:]}"


def bytes_that_differ(one, other):
    """Where two answers with data of the same length differ: offsets and bytes."""
    a, b = one.split(" ")[-1], other.split(" ")[-1]
    if len(a) != len(b) or len(a) < 16 or not re.fullmatch("[0-9a-f]*", a + b):
        return ""
    places = [f"{i // 2:#x}: {a[i:i + 2]} {b[i:i + 2]}" for i in range(0, len(a), 2) if a[i:i + 2] != b[i:i + 2]]
    return "    bytes that differ (kernel, simulator): " + ", ".join(places[:40])


def compare(real, simulated):
    """The differences of two lists of calls, as texts, and the number of calls that were compared."""
    differences = []
    compared = 0
    texts = [[f"{step} {call}" for step, call, _ in calls] for calls in (real, simulated)]
    matcher = difflib.SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            for i in range(a_end - a):
                compared += 1
                step, call, answer = real[a + i]
                other = simulated[b + i][2]
                if answer != other:
                    text = [f"  {step}: {short(call)}", f"    kernel:    {short(answer)}",
                            f"    simulator: {short(other)}", bytes_that_differ(answer, other)]
                    differences.append("\n".join(line for line in text if line))
        else:
            compared += max(a_end - a, b_end - b)
            before = f"  after {real[a - 1][0]}: {short(real[a - 1][1])}" if a else "  at the start"
            text = [before]
            text += [f"    kernel:    {step}: {short(call)} -> {short(answer)}" for step, call, answer in real[a:a_end]]
            text += [f"    simulator: {step}: {short(call)} -> {short(answer)}"
                     for step, call, answer in simulated[b:b_end]]
            if a_end < len(real):
                text.append(f"  before {real[a_end][0]}: {short(real[a_end][1])}")
            differences.append("\n".join(text))
    return differences, compared


def strace_differs(traced, lines):
    """What strace saw otherwise than the object of order_calls.cpp. Empty: nothing."""
    seen = [int(found[1], 16) for found in (re.search(r"ioctl\(\w+, (0x3b[0-9a-f]{2})\b", line) for line in traced)
            if found]
    logged = [int(found[1]) for found in (re.match(r"ioctl fd=\d+ request=(\d+) ", line) for line in lines) if found]
    logged = [number for number in logged if number >> 8 == 0x3B]
    if seen == logged:
        return ""
    place = next((i for i, (a, b) in enumerate(zip(seen, logged)) if a != b), min(len(seen), len(logged)))
    return f"strace saw {len(seen)} ioctls and the object {len(logged)}; they differ from number {place + 1} on"


def complete(log, path):
    """Compares the numbers of calls in kvm-vfio-sim's own log with those of the object."""
    own, logged = {}, {}
    with open(log, encoding="utf-8") as file:
        for line in file:
            call = json.loads(line)
            # Descriptors of processes that end are closed without a call. The object logs no VMs.
            if call["call"] in ("open", "pread", "pwrite", "mmap", "munmap", "ioctl") and (
                call.get("request") != "KVM_CREATE_VM"
            ):
                own[call["call"]] = own.get(call["call"], 0) + 1
    for _, lines, *_ in scenarios(path).values():
        for line in lines:
            kind = line.split(" ", 1)[0]
            # The real KVM has the irqfds. Files of sysfs are no calls for VFIO.
            if kind in own and f"request={0x4020AE76} " not in line and " path=/sys/" not in line:
                logged[kind] = logged.get(kind, 0) + 1
    if own != logged:
        sys.exit(f"kvm-vfio-sim logged {own}, and the object logged {logged}")


def sums(path):
    """Adds up the scenarios of a comparison."""
    ways = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            found = re.match(r"qemu-([^/\t]*/[^/\t]*)/[^\t]*\t(ok|FAILED)\t(\d+)\t(.*)", line)
            if found:
                ways.setdefault(found[1], []).append(found)
    for way, scenarios_of in ways.items():
        failed = [found[4] for found in scenarios_of if found[2] == "FAILED"]
        text = f"{len(scenarios_of)} scenarios, {sum(int(found[3]) for found in scenarios_of)} calls"
        if failed:
            text += f", {len(failed)} scenarios differ: {failed[0]}"
        print(f"{way}\t{'FAILED' if failed else 'ok'}\t{text}")


def main():
    if sys.argv[1] == "sum":
        sums(sys.argv[2])
        return
    if sys.argv[1] == "complete":
        complete(sys.argv[2], sys.argv[3])
        return
    if sys.argv[1] == "topology":
        outcome, _, words, lines = scenarios(sys.argv[2]).get("topology", ["missing", [], [], []])[:4]
        if outcome != "ok":
            sys.exit(f"the booted kernel gave no topology: {outcome} {words}")
        text = "\n".join(lines)
        topology = json.loads(text[text.index("{"):text.rindex("}") + 1])
        # The booted machine remaps no interrupts (tests/conformance/kernels/machine.sh), which sysfs does not show.
        for iommu in topology["iommus"]:
            iommu["interrupt_remapping"] = False
        print(json.dumps(topology, indent=1))
        return
    real, simulated = scenarios(sys.argv[2]), scenarios(sys.argv[3])
    if sys.argv[1] == "other":
        if not any(compare(calls_of(real[name][1]), calls_of(found[1]))[0] for name, found in simulated.items()):
            sys.exit("the calls of another release do not differ: the comparison sees nothing")
        return
    failed = False
    details = []
    for name, (outcome, lines, words, _, traced) in real.items():
        if name == "topology":
            continue
        other = simulated.get(name, ["it did not run", [], [], []])
        if outcome != "ok" or other[0] != "ok":
            reason = f"kernel: {outcome}; simulator: {other[0]}"
            print(f"{name}\tFAILED\t0\t{reason}")
            failed = True
        differences, compared = compare(calls_of(lines), calls_of(other[1]))
        if "+strace/" in name and strace_differs(traced, lines):
            differences.append("  " + strace_differs(traced, lines))
        if outcome == "ok" and other[0] == "ok":
            verdict = "FAILED" if differences or not compared else "ok"
            failed = failed or verdict == "FAILED"
            print(f"{name}\t{verdict}\t{compared}\t{len(differences)} differences in {compared} calls")
        if differences or words != other[2]:
            details.append(f"== {name}")
            details += differences
        if words != other[2]:
            details += [f"  QEMU in the booted kernel: {text}" for text in words]
            details += [f"  QEMU on the simulator: {text}" for text in other[2]]
    print("\n".join(details))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
