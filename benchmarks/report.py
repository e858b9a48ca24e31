#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""report.py DIRECTORY MACHINE: makes tables and cost.svg from the JSON that scripts/bench wrote to DIRECTORY.
Exit status 1: the device misses an aim that is counted in instructions."""
import json
import math
import sys

SUBJECTS = {  # name in the benchmarks: (name for people, colour)
    "plain": ("plain list in C", "#b33"),
    "linear": ("device, files without a hash", "#b80"),
    "walk": ("device, files with a hash", "#38b"),
    "epoch": ("device, with a hash and an epoch", "#283"),
    "same_heap": ("device, hash and epoch, malloc for each entry", "#555"),
    "fixed": ("device, hash and epoch, inline_storage", "#777"),
}
PATTERNS = {  # name in the benchmarks: (name for people, whether a round is for each file)
    "add_del": ("one ADD and one DEL", False),
    "shrunk": ("one ADD and one DEL, of a device that once had 32 files more", False),
    "fill_drain": ("filling and draining, for each file", True),
    "life": ("a device's life, for each file", True),
}
SMALL = range(1, 17)  # as many files as are looked for one by one


def read(directory, name):
    with open(f"{directory}/{name}.json", encoding="utf-8") as file:
        return json.load(file)


def nanoseconds(run):
    spent = "real_time" if run["name"].endswith("/manual_time") else "cpu_time"
    return run[spent] * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[run["time_unit"]]


def each(pattern, data):
    """The cost of a round. If a round handles all files, the cost for each file."""
    if not PATTERNS[pattern][1]:
        return data
    return {s: {n: v / n for n, v in sizes.items()} for s, sizes in data.items()}


def runs(times, family):
    """{subject: {size: nanoseconds}} of family<subject>/size."""
    found = {}
    for run in times["benchmarks"]:
        name, _, size = run["name"].removesuffix("/manual_time").partition(">/")
        if run.get("run_type") != "aggregate" and name.startswith(family + "<") and size.isdigit():
            found.setdefault(name[len(family) + 1:], {})[int(size)] = nanoseconds(run)
    return found


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(title, columns, rows):
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def by_size(title, data):
    subjects = [s for s in SUBJECTS if s in data]
    sizes = sorted({n for s in subjects for n in data[s]})
    table(title, ["files"] + [SUBJECTS[s][0] for s in subjects],
          [[f"{n:,}"] + [number(data[s].get(n)) for s in subjects] for n in sizes])


def svg(data, machine):
    """Draws the cost for each number of files, with two logarithmic axes."""
    width, height, left, top, right, bottom = 760, 440, 80, 50, 230, 60
    values = [v for s in data.values() for v in s.values()]
    sizes = [n for s in data.values() for n in s]
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    widest = math.log2(max(sizes))

    def x(n):
        return left + (width - left - right) * math.log2(n) / widest

    def y(v):
        return height - bottom - (height - top - bottom) * (math.log10(v) - low) / (high - low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             'font-family="sans-serif" font-size="12">',
             "<!-- SPDX-License-Identifier: BSL-1.0 -->",
             f'<rect width="{width}" height="{height}" fill="#fff"/>',
             f'<text x="{left}" y="20" font-size="14">One ADD and one DEL, by tracked files</text>',
             f'<text x="{left}" y="38" fill="#555">{machine}</text>']
    for power in range(low, high + 1):
        at = y(10 ** power)
        label = f"{10 ** power:,} ns" if power < 3 else f"{10 ** (power - 3):,} µs"
        parts.append(f'<path d="M{left} {at:.1f}H{width - right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for exponent in range(0, int(widest) + 1, 4):
        n = 2 ** exponent
        parts.append(f'<path d="M{x(n):.1f} {top}V{height - bottom}" stroke="#eee"/>')
        parts.append(f'<text x="{x(n):.1f}" y="{height - bottom + 20}" text-anchor="middle">'
                     f"{n:,}</text>")
    lowest = None
    for subject in sorted(data, key=lambda s: data[s][max(data[s])] / max(data[s])):
        points = sorted(data[subject].items())
        name, colour = SUBJECTS[subject]
        line = "L".join(f"{x(n):.1f} {y(v):.1f}" for n, v in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end = y(points[-1][1])
        lowest = end if lowest is None else min(end, lowest - 15)
        parts.append(f'<text x="{width - right + 8}" y="{lowest + 4:.1f}" fill="{colour}">'
                     f"{name}</text>")
    return "\n".join(parts + ["</svg>", ""])


def aims(timed, filled, counted):
    """Returns the rows of the aims, and whether the device meets all aims that are counted in instructions."""
    rows, good = [], True

    def aim(what, unit, ratio, least=None, most=None):
        nonlocal good
        met = ratio >= least if least is not None else ratio <= most
        rows.append([what, unit, f"at least {least}" if least is not None else f"at most {most}",
                     f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}",
                     "met" if met else "NOT met"])
        if unit == "instructions":
            good = good and met

    for unit, data in (("time", timed), ("instructions", counted)):
        flat = data.get("add_del", {}).get("epoch", {})
        if 1 in flat and 16384 in flat:
            aim("one ADD and one DEL with an epoch, 16,384 files against 1", unit,
                flat[16384] / flat[1], most=2)
    if 16384 in filled.get("plain", {}) and 16384 in filled.get("epoch", {}):
        aim("filling 16,384 files with an epoch, times as fast as a plain list", "time",
            filled["plain"][16384] / filled["epoch"][16384], least=100)
    life = counted.get("life", {})
    if 16384 in life.get("plain", {}) and 16384 in life.get("epoch", {}):
        aim("a device's life with 16,384 files and an epoch, times as cheap as a plain list's",
            "instructions", life["plain"][16384] / life["epoch"][16384], least=100)
    for unit, data in (("time", timed), ("instructions", counted)):
        for pattern, (name, _) in PATTERNS.items():
            plain = data.get(pattern, {}).get("plain", {})
            for subject in ("walk", "epoch"):
                costs = data.get(pattern, {}).get(subject, {})
                ratios = [(costs[n] / plain[n], n) for n in SMALL if n in costs and n in plain]
                if ratios:
                    worst, n = max(ratios)
                    aim(f"{name}, {SUBJECTS[subject][0]}, against a plain list: the worst at "
                        f"1 to 16, {n}", unit, worst, most=1.0)
    return rows, good


def main():
    directory, machine = sys.argv[1:]
    times = read(directory, "time")
    print(machine)
    timed = {p: each(p, runs(times, p)) for p in PATTERNS}
    for pattern, (name, _) in PATTERNS.items():
        if timed[pattern]:
            by_size(name[0].upper() + name[1:] + ", nanoseconds of CPU time", timed[pattern])
    filled = runs(times, "fill")
    if filled:
        by_size("Filling an empty device, microseconds",
                {s: {n: v / 1e3 for n, v in f.items()} for s, f in filled.items()})
    replace = runs(times, "replace_any")
    if replace:
        by_size("DEL and ADD of any file, nanoseconds", replace)
    counted = {p: {} for p in PATTERNS}
    for run in read(directory, "instructions"):
        of = counted[run["pattern"]].setdefault(run["subject"], {})
        of[run["files"]] = run["instructions"]
    counted = {p: each(p, data) for p, data in counted.items()}
    for pattern, (name, _) in PATTERNS.items():
        by_size(name[0].upper() + name[1:] + ", instructions", counted[pattern])
    table("Fitted complexity", ["benchmark", "order"],
          [[run["name"].removesuffix("_BigO"), run["big_o"]]
           for run in times["benchmarks"] if run["name"].endswith("_BigO")])
    single = [run for run in times["benchmarks"] if run.get("run_type") != "aggregate"]
    table("Other measurements, nanoseconds", ["benchmark", "CPU time", "elapsed"],
          [[run["name"], number(nanoseconds(run)), number(run["real_time"])]
           for run in single if run["name"].split("/")[0] in ("epoch_ends", "vms", "contended")])
    counters = ("read_cpu", "read", "write_cpu", "write", "waits_percent", "wait_99",
                "wait_longest")
    table("A thread that only reads, alone (0) and with a writer (1), nanoseconds",
          ["256 files", "a read, CPU", "elapsed", "ADD and DEL, CPU", "elapsed",
           "ADDs and DELs that waited, %", "99 of 100 waits at most", "the longest wait"],
          [["/".join(run["name"].split("/")[1:3])] +
           [f"{run[c]:.3g}" if c == "waits_percent" and c in run else number(run.get(c))
            for c in counters]
           for run in single if run["name"].startswith("observed/")])
    table("Memory, bytes", ["of", "bytes"],
          [[what, f"{n:,}"] for what, n in read(directory, "memory").items()])
    table("Code, bytes", ["subject", "bytes"],
          [[what, f"{n:,}"] for what, n in read(directory, "code").items()])
    add_del = timed["add_del"]
    if add_del:
        drawn = {s: add_del[s] for s in SUBJECTS if s in add_del and s not in ("same_heap", "fixed")}
        with open(f"{directory}/cost.svg", "w", encoding="utf-8") as file:
            file.write(svg(drawn, machine))
    rows, good = aims(timed, filled, counted)
    table("Aims", ["ratio", "of", "aim", "measured", ""], rows)
    return 0 if good else 1


sys.exit(main())
