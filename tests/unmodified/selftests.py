#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The results of the VFIO selftests of Linux.

selftests.py table < OUTPUT        prints one line for each test: program, device, test, result; from the output of
                                   selftests-probe
selftests.py run DIRECTORY PROGRAM BASELINE
                                   runs a program on the simulated host, for each device of the baseline, and compares
                                   each test with the baseline: the same program in a booted kernel. Ends with 1 if a
                                   test has another result. A test that this machine skips is counted, no more.
"""

import re
import subprocess
import sys

LINE = re.compile(r"^(ok|not ok) \d+ (\S+)(?: # SKIP ?(.*))?")


def results(lines):
    """The tests in the output of one program: (name, result)."""
    for line in lines:
        match = LINE.match(line)
        if match:
            skipped = re.match(r"(ok|not ok) \d+ (\S+).*# SKIP", line)
            yield match.group(2), "skip" if skipped else ("pass" if match.group(1) == "ok" else "fail")


def table(lines):
    """Prints the results of selftests-probe."""
    program = device = None
    for line in lines:
        line = line.rstrip("\r\n")
        start = re.match(r"SELFTEST (\S+) (\S+)$", line)
        if start:
            program, device = start.groups()
            continue
        end = re.match(r"SELFTEST-EXIT (\d+)$", line)
        if end:
            print(program, device, "(exit)", end.group(1), sep="\t")
            continue
        for name, result in results([line]):
            print(program, device, name, result, sep="\t")


def run(directory, program, baseline):
    """Runs one program and compares it with the baseline."""
    wanted = {}
    with open(baseline, encoding="utf-8") as file:
        for line in file:
            if line.startswith("#"):
                continue
            name, device, test, result = line.rstrip("\n").split("\t")
            if name == program:
                wanted.setdefault(device, {})[test] = result
    if not wanted:
        print(f"the baseline has no {program}")
        return 77
    count = {"pass": 0, "fail": 0, "skip": 0}
    different = []
    for device, expected in wanted.items():
        try:
            done = subprocess.run(
                [f"{directory}/{program}", device], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                check=False, text=True, errors="replace",
            )
            output, status = done.stdout, str(done.returncode if done.returncode >= 0 else 128 - done.returncode)
        except subprocess.TimeoutExpired as late:
            output = late.stdout or ""
            output = output if isinstance(output, str) else output.decode(errors="replace")
            status = "no end in 120 s"
        print(f"--- {program} {device}: status {status}")
        sys.stdout.write(output)
        found = dict(results(output.splitlines()))
        for result in found.values():
            count[result] += 1
        found["(exit)"] = status
        for test in {**expected, **found}:
            here, there = found.get(test, "missing"), expected.get(test, "missing")
            # A status follows from the tests, if there are any.
            if here == there or here == "skip" or (test == "(exit)" and len(found) > 1):
                continue
            different.append(f"{test} {device}: {here}, Linux {there}")
    for line in different:
        print(f"DIFFERENT {line}")
    total = sum(count.values())
    if total == 0 and not different:
        print("it skips every test, as in Linux: no device has what it needs")
        return 77
    print(f"{count['pass']} pass, {count['fail']} fail, {count['skip']} skip of {total}", end="")
    print(f"; {len(different)} differ from Linux: {different[0]}" if different else "; as in Linux")
    return 1 if different else 0


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1] == "table":
        table(sys.stdin)
    elif len(sys.argv) == 5 and sys.argv[1] == "run":
        sys.exit(run(*sys.argv[2:]))
    else:
        sys.exit(__doc__)
