#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""report.py DIRECTORY MACHINE: tables from the JSON that scripts/bench left there, and cost.svg."""
import json
import math
import sys

SUBJECTS = {  # name in the benchmarks: (name for people, colour)
    "plain": ("plain list in C", "#b33"),
    "linear": ("device, files without a hash", "#b80"),
    "walk": ("device, files with a hash", "#38b"),
    "epoch": ("device, with a hash and an epoch", "#283"),
    "fixed": ("the same, inline_storage", "#777"),
}


def read(directory, name):
    with open(f"{directory}/{name}.json", encoding="utf-8") as file:
        return json.load(file)


def nanoseconds(run):
    return run["cpu_time"] * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[run["time_unit"]]


def runs(times, family):
    """{subject: {size: nanoseconds}} of family<subject>/size."""
    found = {}
    for run in times["benchmarks"]:
        name, _, size = run["name"].partition(">/")
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
    """Cost against size, both logarithmic."""
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


def main():
    directory, machine = sys.argv[1:]
    times = read(directory, "time")
    add_del = runs(times, "add_del")
    print(machine)
    if add_del:
        by_size("One ADD and one DEL, nanoseconds of CPU time", add_del)
    fill = runs(times, "fill")
    if fill:
        by_size("Filling an empty device, microseconds",
                {s: {n: v / 1e3 for n, v in f.items()} for s, f in fill.items()})
    replace = runs(times, "replace_any")
    if replace:
        by_size("DEL and ADD of any file, nanoseconds", replace)
    counted = {}
    for run in read(directory, "instructions"):
        counted.setdefault(run["subject"], {})[run["files"]] = run["instructions"]
    by_size("One ADD and one DEL, instructions", counted)
    table("Fitted complexity", ["benchmark", "order"],
          [[run["name"].removesuffix("_BigO"), run["big_o"]]
           for run in times["benchmarks"] if run["name"].endswith("_BigO")])
    table("Other measurements, nanoseconds", ["benchmark", "CPU time", "elapsed"],
          [[run["name"], number(nanoseconds(run)), number(run["real_time"])]
           for run in times["benchmarks"] if run.get("run_type") != "aggregate"
           and run["name"].split("/")[0] in ("epoch_ends", "vms", "contended")])
    table("Memory, bytes", ["of", "bytes"],
          [[what, f"{n:,}"] for what, n in read(directory, "memory").items()])
    table("Code, bytes", ["subject", "bytes"],
          [[what, f"{n:,}"] for what, n in read(directory, "code").items()])
    if add_del:
        drawn = {s: add_del[s] for s in SUBJECTS if s in add_del and s != "fixed"}
        with open(f"{directory}/cost.svg", "w", encoding="utf-8") as file:
            file.write(svg(drawn, machine))


main()
