#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Tests of the launcher: launcher.py SIM CLIENT SOURCE CASE runs one case.

SIM is kvm-vfio-sim, CLIENT the program with the subcommands, SOURCE the root of the repository."""
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sim, client, source = sys.argv[1:4]
work = tempfile.mkdtemp(prefix="launcher.")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("KVM_VFIO_SIM")}


def path(name, text=None):
    p = os.path.join(work, name)
    if text is not None:
        with open(p, "w", encoding="utf-8") as f:
            f.write(text)
    return p


def make_topology(count):
    text = subprocess.check_output([os.path.join(os.path.dirname(__file__), "make-topology"), str(count)], text=True)
    return path(f"host{count}.json", text)


HOST = make_topology(3)


def command(options, program):
    return [sim, "run", "--topology", HOST, "--kvm", "simulated", "--quiet", *options, "--", *program]


def call(arguments, **more):
    return subprocess.run(arguments, capture_output=True, text=True, errors="replace", timeout=300, check=False,
                          **{"env": ENVIRONMENT, **more})


def run(options, program, **more):
    return call(command(options, program), **more)


def loud(options, program):
    return call([word for word in command(options, program) if word != "--quiet"])


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got!r}, and not {wanted!r}")


def expect_failure(what, done, status, text):
    expect(f"{what}: status ({done.stderr})", done.returncode, status)
    if text not in done.stderr:
        sys.exit(f"{what}: {done.stderr!r} does not contain {text!r}")


def lines_of(name):
    with open(path(name), encoding="utf-8") as f:
        text = f.read()
    if text and not text.endswith("\n"):
        sys.exit(f"the last line of the log is not complete: {text[-80:]!r}")
    return [json.loads(line) for line in text.splitlines()]


def case_statuses():
    for status in (0, 1, 42, 120, 255):
        expect(f"exit {status}", run([], [client, "exits", str(status)]).returncode, status)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        expect(f"signal {number}", run([], [client, "exits", "signal", str(int(number))]).returncode, 128 + number)
    expect_failure("no program", run([], ["no-such-program"]), 127, "no-such-program: No such file")
    expect_failure("no program", run([], ["/no/such/program"]), 127, "/no/such/program: No such file")
    text = path("text", "not a program\n")
    expect_failure("not executable", run([], [text]), 126, f"{text}: Permission denied")
    expect_failure("a folder", run([], [work]), 126, f"{work}: Permission denied")
    # The checker's findings, and what is found in spite of the program's own status.
    expect_failure("a mistake", run(["--strict"], [client, "mistakes"]), 120, "the checker found 2 mistakes")
    expect_failure("a mistake, not strict", run([], [client, "mistakes"]), 0, "the checker found 2 mistakes")
    expect("no finding", run(["--strict"], [client, "attach-legacy"]).stderr, "")
    # A signal to the launcher goes to the program.
    with subprocess.Popen(command([], [client, "hold"]), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as p:
        p.stdout.readline()
        p.terminate()
        expect("SIGTERM", p.wait(timeout=60), 128 + signal.SIGTERM)


def elf(name, bits, machine, size=64):
    """A file with the head of a program, which no kernel can execute."""
    head = b"\x7fELF" + bytes([1 if bits == 32 else 2, 1 if sys.byteorder == "little" else 2, 1]) + bytes(9)
    head += struct.pack("=HHI", 2, machine, 1)
    p = path(name)
    with open(p, "wb") as f:
        f.write(head.ljust(size, b"\0"))
    os.chmod(p, 0o755)
    return p


def case_not_executable():
    native = {"x86_64": (62, 3), "aarch64": (183, 40)}.get(os.uname().machine)
    if native is None:
        sys.exit(77)
    own, own_32 = native
    other = 183 if own == 62 else 62
    for options in ([], ["--transport", "preload"], ["--transport", "seccomp"]):
        # A program of 32 bits could be executed, but nothing would see its calls.
        for name, machine in (("old", own_32), ("x32", own)):
            file = elf(name, 32, machine, 52)
            expect_failure(f"{name} {options}", run(options, [file]), 125,
                           f"{file} is a 32-bit program. Neither transport reaches its calls")
            script = path("script", f"#!{file}\n")
            os.chmod(script, 0o755)
            expect_failure(f"a script {options}", run(options, [script]), 125, f"{script} is a 32-bit program")
        # A damaged program is not given to the shell.
        damaged = elf("damaged", 64, own, 100)
        if options:
            expect_failure(f"damaged {options}", run(options, [damaged]), 126 if options[1] == "seccomp" else 125,
                           damaged)
        missing = path("missing", "#!/no/such/interpreter\n")
        os.chmod(missing, 0o755)
        expect_failure(f"no interpreter {options}", run(options, [missing]), 126,
                       f"{missing}: No such file or directory. The file exists, but the interpreter")
        plain = path("plain", "exit 33\n")
        os.chmod(plain, 0o755)
        expect(f"a script without an interpreter {options}", run(options, [plain]).returncode, 33)
    expect_failure("damaged", run([], [damaged]), 126, f"{damaged}: Exec format error. The file is no program")
    file = elf("foreign", 64, other)
    expect_failure("another processor", run([], [file]), 126, f"{file}: Exec format error. The program is for another "
                   f"processor ({'Arm64' if own == 62 else 'x86-64'})")
    expect_failure("another processor, preload", run(["--transport", "preload"], [file]), 125,
                   "No object can be preloaded into it\n")
    # The search in PATH passes by folders, and by files that may not be executed.
    first, second = path("first"), path("second")
    os.makedirs(os.path.join(first, "wanted"))
    os.mkdir(second)
    environment = {**ENVIRONMENT, "PATH": f"{first}:{second}:{os.environ['PATH']}"}
    expect_failure("a folder in PATH", run([], ["wanted"], env=environment), 126, "wanted: Permission denied")
    os.symlink(client, os.path.join(second, "wanted"))
    expect("behind a folder", run([], ["wanted", "exits", "7"], env=environment).returncode, 7)
    # The folder of the caller is not in PATH.
    expect_failure("this folder", run([], ["plain"], cwd=work), 127, "plain: No such file")
    expect_failure("an empty name", run([], [""]), 127, "No such file")


def case_signals():
    left = path("tmp")
    os.mkdir(left)
    environment = {**ENVIRONMENT, "TMPDIR": left}

    def held(options=(), **more):
        p = subprocess.Popen(command(options, [client, "hold"]), stdout=subprocess.PIPE, text=True, env=environment,
                             **more)
        return p, int(p.stdout.readline())
    # Each signal to the launcher goes to the program.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        p, _ = held()
        p.send_signal(number)
        expect(f"signal {number}", p.wait(timeout=60), 128 + number)
    # Below nohup(1), the program ignores SIGHUP, too.
    p, program = held(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    for pid in (p.pid, program):
        os.kill(pid, signal.SIGHUP)
    time.sleep(0.2)
    expect("nohup", p.poll(), None)
    p.terminate()
    expect("SIGTERM", p.wait(timeout=60), 128 + signal.SIGTERM)
    # The end of the launcher is the end of the program. The next run removes the folder.
    for options in ([], ["--transport", "seccomp"]):
        p, program = held(options)
        p.kill()
        p.wait(timeout=60)
        for _ in range(100):
            if not os.path.exists(f"/proc/{program}/exe"):
                break
            time.sleep(0.1)
        else:
            sys.exit("the program lives longer than the launcher")
    expect("folders of killed launchers", len(os.listdir(left)) > 0, True)
    other, _ = held()
    expect("the folder of this run", len(os.listdir(left)), 1)
    expect("status", run([], [client, "exits", "0"], env=environment).returncode, 0)
    expect("the folder of the other run", len(os.listdir(left)), 1)
    other.terminate()
    other.wait(timeout=60)
    expect("folders", os.listdir(left), [])
    # Nobody reads the log or standard error, or the log is larger than allowed.
    for options, more in ((["--log", "/dev/stdout"], {"stdout": True}), ([], {"stderr": True})):
        reader, writer = os.pipe()
        os.close(reader)
        more = {k: writer for k in more}
        p = subprocess.Popen(command(options, [client, "mistakes"]), env=environment,
                             **{"stderr": subprocess.PIPE, **more})
        os.close(writer)
        said = p.stderr.read().decode() if p.stderr else ""
        expect(f"status ({said})", p.wait(timeout=60), 0)
        if options and "the log is not complete" not in said:
            sys.exit(said)
        expect("folders", os.listdir(left), [])
    limit = (1 << 18, 1 << 18)
    done = run(["--log", path("log")], [client, "cycles", "300"], env=environment,
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    expect_failure("a large log", done, 0, "the log is not complete")
    # The checker's status does not hide how the program ended.
    for words, text in (("exit 3", "the program ended with status 3"), ("kill -9 $$", "signal 9 killed the program")):
        done = run(["--strict"], ["sh", "-c", f"{client} mistakes; {words}"])
        expect_failure(words, done, 120, text)


def forbid(number):
    """Makes the kernel refuse a system call of this process and of its children with EPERM, as a container can."""
    load, equal, answer = 0x20, 0x15, 0x06
    steps = ((load, 0, 0, 0), (equal, 0, 1, number), (answer, 0, 0, 0x00050001), (answer, 0, 0, 0x7fff0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    head = struct.pack("@HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if libc.prctl(22, 2, head) != 0:  # PR_SET_SECCOMP
        os._exit(77)


PIDFD_OPEN = 434


def case_gives_up():
    """A launcher that fails after it has started a child ends the child."""
    for transport in ("preload", "seccomp"):
        began = time.monotonic()
        done = run(["--transport", transport], ["sleep", "20"], preexec_fn=lambda: forbid(PIDFD_OPEN))
        expect_failure(f"no pidfd_open, {transport}", done, 125, "Operation not permitted")
        if time.monotonic() - began > 15:
            sys.exit("a child kept the output open")


def case_arguments():
    run_words = [sim, "run"]
    rows = [
        ([sim], 125, ""),
        ([sim, "walk"], 125, 'there is no command "walk"'),
        ([sim, "topology", "a", "b"], 125, "topology takes one folder at most"),
        ([sim, "topology", "/no/such/folder"], 125, "/no/such/folder"),
        (run_words, 125, "--topology FILE is missing"),
        ([*run_words, "--topology"], 125, "--topology has no value"),
        ([*run_words, "--topology", HOST], 125, "the program is missing"),
        ([*run_words, "--topology", HOST, "--"], 125, "the program is missing"),
        ([*run_words, "--topology", HOST, "true"], 125, 'there is no option "true"; the program comes behind "--"'),
        ([*run_words, "--topolgy", HOST, "--", "true"], 125, 'there is no option "--topolgy"'),
        ([*run_words, f"--topology={HOST}", "--profile", "linux-5.4", "--", "true"], 125,
         'there is no profile "linux-5.4"; the profiles are linux-6.1, linux-6.12 and linux-7.3'),
        ([*run_words, f"--topology={HOST}", "--kvm=maybe", "--", "true"], 125, '"maybe"'),
        ([*run_words, f"--topology={HOST}", "--strict=1", "--", "true"], 125, "--strict has no value"),
        ([*run_words, f"--topology={HOST}", "--log", "/no/such/folder/log", "--", "true"], 125,
         "/no/such/folder/log: No such file"),
        ([*run_words, f"--topology={HOST}", "--faults", "/no/such/plan", "--", "true"], 125,
         "/no/such/plan: No such file"),
        ([*run_words, "--topology", "/no/such/host", "--", "true"], 125, "/no/such/host: No such file"),
        ([*run_words, "--topology", work, "--", "true"], 125, f"{work}: Is a directory"),
    ]
    for words, status, text in rows:
        expect_failure(" ".join(words[1:]), call(words), status, text)
    for words in (["--help"], ["-h"], ["help"]):
        done = call([sim, *words])
        expect("help", (done.returncode, done.stderr), (0, ""))
        if "--topology FILE" not in done.stdout:
            sys.exit("--help does not name the options")
    # The manual page has the options and statuses of the help.
    with open(os.path.join(source, "docs/kvm-vfio-sim.1"), encoding="utf-8") as f:
        page = f.read().replace("\\-", "-")
    help_text = call([sim, "--help"]).stdout
    expect("options", sorted(set(re.findall(r"--[a-z][a-z-]+", page))),
           sorted({*re.findall(r"--[a-z][a-z-]+", help_text), "--help"}))
    expect("statuses", sorted(set(re.findall(r"\b12\d\b", page))), sorted(set(re.findall(r"\b12\d\b", help_text))))
    # The help of one command.
    for words, has, lacks in ((["run", "--help"], "--topology FILE", "topology [SYSFS]"),
                              (["run", f"--topology={HOST}", "-h", "--", "true"], "--strict", "topology [SYSFS]"),
                              (["topology", "--help"], "topology [SYSFS]", "--strict")):
        done = call([sim, *words])
        expect(f"{words}", (done.returncode, done.stderr, has in done.stdout, lacks in done.stdout),
               (0, "", True, False))
    expect("--help of the program", "--strict" in call([*run_words, f"--topology={HOST}", "--kvm=simulated", "--", "true",
                                                        "--help"]).stdout, False)
    done = call([sim, "--version"])
    if not re.fullmatch(r"kvm-vfio-sim \d+\.\d+\.\d+\n", done.stdout):
        sys.exit(f"--version: {done.stdout!r}")


def case_denied():
    """A container may forbid what the launcher needs. The program does not start."""
    for name in ("process_vm_readv", "process_vm_writev", "pidfd_getfd"):
        for transport in ("preload", "seccomp"):
            done = call([client, "denies", name, *command(["--transport", transport], ["echo", "started"])])
            expect_failure(f"{name}, {transport}", done, 125, f"({name}): Operation not permitted")
            expect(f"{name}, {transport}: output", done.stdout, "")


def case_environments():
    """A program that removes variables of the environment stays on the simulated host."""
    for words in (["env", "-i", client, "attach-legacy"], ["env", "-u", "LD_PRELOAD", client, "attach-legacy"],
                  ["sh", "-c", f"unset LD_PRELOAD; {client} attach-legacy; exit $?"]):
        done = run(["--strict"], words)
        expect(f"{words} ({done.stderr})", done.returncode, 0)
    # The objects that the program preloads keep their order.
    done = run([], ["sh", "-c", "LD_PRELOAD=libm.so.6:libdl.so.2 printenv LD_PRELOAD; unset LD_PRELOAD; printenv LD_PRELOAD"])
    mine = done.stdout.splitlines()[-1]
    expect("the object", os.path.basename(mine), "libkvm-vfio-sim.so")
    expect("the order", done.stdout, f"libm.so.6:libdl.so.2:{mine}\n{mine}\n")
    # A program that keeps everything gets everything as it is.
    lists = run([], ["sh", "-c", "LD_PRELOAD=libm.so.6:$LD_PRELOAD printenv LD_PRELOAD"]).stdout
    expect("as it is", lists, f"libm.so.6:{mine}\n")


def case_set_user_id():
    """The loader preloads nothing into a program with the rights of another user."""
    if os.geteuid() != 0:
        return
    other = path("other")
    shutil.copy(client, other)
    os.chown(other, 65534, 65534)
    os.chmod(other, 0o4755)
    if os.statvfs(other).f_flag & os.ST_NOSUID:
        return
    words = ["sh", "-c", f"{other} exits 0; exit 0"]
    text = f"{other} gets the rights of another user (set-user-ID), so it was not on the simulated host"
    expect_failure("set-user-ID", run(["--strict"], words), 125, text)
    expect_failure("set-user-ID, not strict", run([], words), 0, text)
    done = run(["--transport", "seccomp"], words)
    expect("seccomp", (done.returncode, text in done.stderr), (0, False))


def case_topologies():
    for text, wrong in (
            ("", "JSON"),
            ("{", "JSON"),
            ('{"groups": 3}', "groups"),
            ('{"groups": [{"numbr": 1}]}', "numbr"),
            ('{"groups": [{"number": 1, "devices": []}, {"number": 1, "devices": []}]}', "groups[1].number"),
    ):
        wrong_host = path("wrong.json", text)
        done = call([sim, "run", "--topology", wrong_host, "--", "true"])
        expect_failure(text, done, 125, wrong)
        expect_failure(text, done, 125, wrong_host)


def case_temporary_folder():
    if os.geteuid() != 0:
        closed = path("closed")
        os.mkdir(closed)
        os.chmod(closed, 0o500)
        expect_failure("read-only TMPDIR", run([], ["true"], env={**ENVIRONMENT, "TMPDIR": closed}), 125,
                       "no folder for the run: Permission denied")
    # Root may write to every folder but to those that do not exist and those of the kernel.
    for folder, reason in (("/no/such/folder", "No such file"), ("/proc", "")):
        done = run([], ["true"], env={**ENVIRONMENT, "TMPDIR": folder})
        expect_failure(f"TMPDIR={folder}", done, 125, f"no folder for the run, {folder}: {reason}")
    long = path("x" * 90)
    os.mkdir(long)
    expect_failure("long TMPDIR", run([], ["true"], env={**ENVIRONMENT, "TMPDIR": long}), 125, "TMPDIR")
    # Nothing is left behind, whatever the end of the program.
    left = path("tmp")
    os.mkdir(left)
    for words in (["attach-legacy"], ["exits", "3"], ["exits", "signal", "9"]):
        run([], [client, *words], env={**ENVIRONMENT, "TMPDIR": left})
        expect("files of the run", os.listdir(left), [])


def case_fault_plans():
    for text, wrong in (
            ("", "the text is not JSON"),
            ("{}", "the text is not an array of faults"),
            ("[3]", "[0] is not an object"),
            ('[{"errno": "EIO"}, {}]', "[1].errno is missing"),
            ('[{"errno": "EIO", "nth": 0}]', "[0].nth is not a number from 1 on"),
            ('[{"errno": "EIO", "nth": "2"}]', "[0].nth is not a number from 1 on"),
            ('[{"errno": "EIO", "nth": -1}]', "[0].nth is not a number from 1 on"),
            ('[{"errno": "EIO", "nht": 1}]', "[0].nht is not known"),
            ('[{"errno": 5}]', "[0].errno is not a string"),
            ('[{"errno": "EWRONG"}]', '[0].errno: there is no error "EWRONG"'),
            ('[{"errno": "EIO", "call": "opn"}]', '[0].call: there is no call "opn"'),
            ('[{"errno": "EIO", "request": "VFIO_X"}]', '[0].request: there is no request "VFIO_X"'),
            ('[{"errno": "EIO", "request": "0xzz"}]', '[0].request: there is no request "0xzz"'),
            ('[{"errno": "EIO", "request": "0x0"}]', '[0].request: there is no request "0x0"'),
            ('[{"errno": "EIO", "program": ""}]', "[0].program is empty"),
            ('[{"\\u001b[31m\\u00e9": "EIO"}]', "[0].?[31m?? is not known"),
            ('[{"errno": "\\u0007"}]', '[0].errno: there is no error "?"'),
            ('[{"errno": "' + 100 * "E" + '"}]', '[0].errno: there is no error "' + 60 * "E" + '"...'),
            ('[{"errno": "EIO", "call": "open", "request": "VFIO_SET_IOMMU"}]', "[0].request belongs to ioctls only"),
            ('[{"errno": "EIO", "path": "/dev/iommu", "request": "VFIO_SET_IOMMU"}]', "[0].request belongs to ioctls only"),
            ('[{"errno": "EIO", "call": "close", "path": "/dev/iommu"}]', "[0].path belongs to opens only"),
            ('[{"errno": "EIO", "path": ""}]', "[0].path is empty"),
            ('[{"errno": "EIO", "every": 1}]', "[0].every is not true or false"),
            # Calls that can never fail.
            ('[{"errno": "EIO", "call": "exit"}]', '[0].call: "exit" cannot fail'),
            ('[{"errno": "EIO", "call": "fork"}]', '[0].call: "fork" cannot fail'),
            ('[{"errno": "EIO", "call": "install"}]', '[0].call: "install" cannot fail'),
            ('[{"errno": "EIO", "call": "eventfd"}]', '[0].call: "eventfd" cannot fail'),
    ):
        plan = path("plan.json", text)
        expect_failure(text, run(["--faults", plan], [client, "exits", "0"]), 125, f"{plan}: {wrong}")


def case_faults():
    def answers(plan, rounds=1, program=client):
        return run(["--faults", path("plan.json", json.dumps(plan))],
                   [program, "attach-error", str(rounds)]).stdout.split()
    expect("no fault", answers([]), ["ok"])
    expect("request", answers([{"request": "VFIO_SET_IOMMU", "errno": "ENOMEM"}], 2), ["ENOMEM", "ok"])
    expect("nth", answers([{"request": "VFIO_SET_IOMMU", "nth": 2, "errno": "ENODEV"}], 3), ["ok", "ENODEV", "ok"])
    expect("number", answers([{"request": "0x3b66", "errno": "EPERM"}]), ["EPERM"])
    for name, error in (("EWOULDBLOCK", "EAGAIN"), ("ENOTSUP", "EOPNOTSUPP"), ("EDEADLOCK", "EDEADLK")):
        expect(name, answers([{"request": "VFIO_SET_IOMMU", "errno": name}]), [error])
    expect("open", answers([{"call": "open", "nth": 2, "errno": "EACCES"}]), ["EACCES"])
    expect("any ioctl", answers([{"call": "ioctl", "nth": 1, "errno": "EIO"}], 2), ["EIO", "ok"])
    expect("ioctl is the default", answers([{"errno": "EIO"}], 2), ["EIO", "ok"])
    expect("two", answers([{"request": "VFIO_SET_IOMMU", "errno": "ENOMEM"},
                           {"request": "VFIO_GROUP_SET_CONTAINER", "nth": 2, "errno": "EPERM"}], 3),
           ["ENOMEM", "EPERM", "ok"])
    expect("every", answers([{"request": "VFIO_SET_IOMMU", "errno": "EIO", "every": True}], 3), ["EIO"] * 3)
    expect("every, from the second on",
           answers([{"request": "VFIO_SET_IOMMU", "errno": "EIO", "nth": 2, "every": True}], 3), ["ok", "EIO", "EIO"])
    expect("path", answers([{"path": "/dev/vfio/1", "errno": "EBUSY"}], 2), ["EBUSY", "ok"])
    expect("path, nth", answers([{"call": "open", "path": "/dev/vfio/1", "nth": 2, "errno": "EBUSY"}], 2),
           ["ok", "EBUSY"])
    fault = {"request": "VFIO_SET_IOMMU", "errno": "ENOMEM"}
    expect("program", answers([{**fault, "program": os.path.basename(client)}]), ["ENOMEM"])
    expect("another program", answers([{**fault, "program": "qemu-system-x86_64"}]), ["ok"])
    copy = path("another")
    shutil.copy(client, copy)
    expect("the copy has the fault", answers([{**fault, "program": "another"}], program=copy), ["ENOMEM"])
    # Each process counts by itself.
    plan = path("plan.json", json.dumps([fault]))
    both = run(["--faults", plan], ["sh", "-c", f"{client} attach-error; {client} attach-error 2"]).stdout.split()
    expect("each process", both, ["ENOMEM", "ENOMEM", "ok"])


def case_summary():
    # A strict run without a simulated call is a failure of its own, which --quiet does not hide.
    for options in ([], ["--quiet"]):
        done = loud(["--strict", *options], ["true"])
        expect_failure("no call", done, 121, "no process made a simulated call")
        expect_failure("no call", done, 121, "--transport seccomp reaches")
    expect_failure("no call, not strict", loud([], ["true"]), 0, "no process made a simulated call")
    # A program like lspci makes no call, but reads the simulated /sys.
    for transport in ("preload", "seccomp"):
        done = run(["--strict", "--transport", transport], ["ls", "/sys/bus/pci/devices"])
        expect("reads of the simulated /sys alone", done.returncode, 0)
    expect_failure("no call, and the program fails", run(["--strict"], [client, "exits", "3"]), 121,
                   "the program ended with status 3")
    # A process that lives longer than the run is named.
    for transport in ("preload", "seccomp"):
        done = loud(["--transport", transport], ["sh", "-c", f"{client} attach-error; sleep 3 >/dev/null 2>&1 &"])
        expect("status", done.returncode, 0)
        if not re.search(r"process \d+ \(.*\) still runs, and has no simulated host any more", done.stderr):
            sys.exit(f"background: {done.stderr}")
    expect("none still runs", "still runs" in loud([], [client, "attach-error"]).stderr, False)
    # A report names the process if there are several.
    done = run([], ["sh", "-c", f"{client} mistakes; {client} attach-legacy"])
    if not re.search(rf"^call \d+: .* in process \d+ \({os.path.basename(client)}\)$", done.stderr, re.MULTILINE):
        sys.exit(f"processes: {done.stderr}")
    expect("one process", " in process" in run([], [client, "mistakes"]).stderr, False)
    # If the program fails, the end names the last call that failed.
    name = os.path.basename(client)
    plan = path("plan.json", json.dumps([{"request": "VFIO_SET_IOMMU", "errno": "ENOMEM"}]))
    done = loud(["--faults", plan], [client, "attach-legacy"])
    expect("status", done.returncode, 1)
    if not re.search(r"the program ended with status 1; the last call that failed is call \d+ of process \d+ "
                     rf"\({name}\): ioctl\(\d+, .*SET_IOMMU.*\) = ENOMEM, Cannot allocate memory "
                     r"\(by the fault plan\)\n", done.stderr):
        sys.exit(f"the last failure: {done.stderr}")
    done = loud([], ["sh", "-c", "exec 3< /dev/vfio/1; exec 4< /dev/vfio/1"])
    if "EBUSY, Device or resource busy (the group or the device is in use already)" not in done.stderr:
        sys.exit(f"EBUSY: {done.stderr}")
    done = loud([], [client, "small-map"])
    if "EINVAL, Invalid argument (the size 0x1064 is no multiple of the page size)" not in done.stderr:
        sys.exit(f"EINVAL: {done.stderr}")


def case_faults_not_met():
    """A fault that no call had is named at the end, and is a finding."""
    for fault, text in (
            ({"request": "VFIO_SET_IOMMU", "nth": 33},
             "it is for call 33 of VFIO_SET_IOMMU, and no process made more than 2"),
            ({"request": "VFIO_DEVICE_RESET"}, "no process made the call VFIO_DEVICE_RESET"),
            ({"path": "/dev/vfio/99"}, "no process made the call open of /dev/vfio/99"),
            ({"program": "nosuch"}, "no process made the call ioctl (in the program nosuch)"),
    ):
        for options, status in (([], 0), (["--strict"], 120)):
            plan = path("plan.json", json.dumps([{"call": "close", "errno": "EIO"}, {**fault, "errno": "EIO"}]))
            done = run([*options, "--faults", plan], [client, "attach-error", "2"])
            expect_failure(f"{fault} {options}", done, status, f"fault [1] was not met: {text}\n")
            expect("fault [0]", "fault [0]" in done.stderr, False)
    plan = path("plan.json", json.dumps([{"errno": "EIO"}, {"errno": "EPERM"}]))
    expect_failure("two faults for one call", run(["--strict", "--faults", plan], [client, "attach-error"]), 120,
                   "fault [1] was not met: the call ioctl had the error of an earlier fault of the plan\n")
    plan = path("plan.json", json.dumps([{"errno": "EIO"}]))
    expect("met", run(["--strict", "--faults", plan], [client, "attach-error"]).stderr, "")


def case_fault_of_each_kind():
    """The error in the log is the error that the program gets, and the log marks it."""
    for transport in ("preload", "seccomp"):
        for kind in ("none", "open", "close", "dup", "ioctl", "pread", "pwrite", "read", "write", "mmap", "munmap"):
            plan = path("plan.json", json.dumps([] if kind == "none" else [{"call": kind, "errno": "ENOTNAM"}]))
            done = run(["--strict", "--faults", plan, "--transport", transport, "--log", path("log")],
                       [client, "each-kind"])
            what = f"{kind}, {transport}"
            expect(f"{what} ({done.stderr})", (done.returncode, done.stdout.split()),
                   (0, [] if kind == "none" else [kind]))
            marked = [line for line in lines_of("log") if line.get("error") == "ENOTNAM" or "injected" in line]
            expect(what, [(line["call"], line["error"], line["injected"]) for line in marked],
                   [] if kind == "none" else [(kind, "ENOTNAM", True)])


def case_log():
    expect("status", run(["--log", path("log"), "--strict"], [client, "attach-legacy"]).returncode, 0)
    log = lines_of("log")
    expect("n counts up", [line["n"] for line in log], list(range(1, len(log) + 1)))
    times = [line["time"] for line in log]
    expect("time grows", times, sorted(times))
    expect("one process", len({line["pid"] for line in log}), 1)
    expect("the first call", (log[0]["call"], log[0]["path"], log[0]["fd"] if "fd" in log[0] else None),
           ("open", "/dev/vfio/vfio", None))
    named = {line["request"]: line for line in log if line["call"] == "ioctl"}
    for request in ("VFIO_GET_API_VERSION", "VFIO_SET_IOMMU", "VFIO_GROUP_SET_CONTAINER", "VFIO_IOMMU_MAP_DMA",
                    "VFIO_GROUP_GET_DEVICE_FD", "KVM_CREATE_VM", "KVM_CREATE_DEVICE", "KVM_SET_DEVICE_ATTR"):
        if request not in named:
            sys.exit(f"the log has no {request}")
    expect("the name of the device", named["VFIO_GROUP_GET_DEVICE_FD"]["name"], "0000:01:00.0")
    expect("the attribute", named["KVM_SET_DEVICE_ATTR"]["attribute"], "KVM_DEV_VFIO_FILE_DEL")
    expect("errors have names", [line["error"] for line in log if "error" in line][0], "EEXIST")
    known = {"n", "time", "pid", "call", "path", "fd", "request", "argument", "name", "attribute", "subject",
             "number", "flags", "count", "iova", "size", "unmapped", "address", "offset", "error", "value", "made",
             "program", "signal", "injected", "owner"}
    expect("members", sorted({name for line in log for name in line} - known), [])
    # Each call is in the log before the program goes on, so that a killed program loses none.
    expect("status", run(["--log", path("log")], ["sh", "-c", f"{client} attach-error; kill -9 $$"]).returncode, 137)
    log = lines_of("log")
    expect("n counts up", [line["n"] for line in log], list(range(1, len(log) + 1)))
    expect("the calls before the end", [line.get("request") for line in log if line["call"] == "ioctl"],
           ["VFIO_GROUP_SET_CONTAINER", "VFIO_SET_IOMMU"])
    with subprocess.Popen(command(["--log", path("log")], [client, "hold"]), stdout=subprocess.PIPE, text=True,
                          env=ENVIRONMENT) as p:
        held = int(p.stdout.readline())
        before = lines_of("log")
        expect("the log is there already", before[-1]["request"], "VFIO_GROUP_GET_DEVICE_FD")
        os.kill(held, signal.SIGKILL)
        expect("SIGKILL", p.wait(timeout=60), 137)
    if lines_of("log")[:len(before)] != before:
        sys.exit("the log changed")
    # The end of a process has its status.
    for words, end in (("exit 3", {"value": 3}), ("kill -9 $$", {"signal": 9}), ("exit 0", {"value": 0})):
        for transport in ("preload", "seccomp"):
            run(["--transport", transport, "--log", path("log")], ["sh", "-c", f"exec 3< /dev/vfio/vfio; {words}"])
            last = lines_of("log")[-1]
            expect(f"{words}, {transport}", (last["call"], {k: last[k] for k in ("value", "signal") if k in last}),
                   ("exit", end))
    # The first line of each program in a process names the program.
    run(["--log", path("log")], ["sh", "-c", f"exec 3< /dev/vfio/vfio; {client} attach-error; exec {client} attach-error"])
    log = lines_of("log")
    name = os.path.basename(client)
    shell = log[0]["program"]
    expect("the programs", [line["program"] for line in log if "program" in line], [shell, name, name])
    expect("the processes", len({line["pid"] for line in log}), 2)
    # The disk is full.
    expect_failure("a full disk", run(["--log", "/dev/full"], [client, "attach-error"]), 0,
                   "/dev/full: the log is not complete")


def case_processes():
    """What processes have from other processes is in the log, and the checker takes it for no other file."""
    for transport in ("preload", "seccomp"):
        for words in ("forks", "inherits", "passes"):
            done = run(["--log", path("log"), "--transport", transport], [client, words])
            expect(f"{words}, {transport}", (done.returncode, done.stderr), (0, ""))
            log = lines_of("log")
            children = [line["value"] for line in log if line["call"] == "fork"]
            # The parent of `passes` has no descriptor when it forks.
            wanted = {"forks": 3, "inherits": 1, "passes": len(children)}[words]
            expect(f"{words}, {transport}: forks", len(children), wanted)
            expect(f"{words}, {transport}: children", set(children) - {line["pid"] for line in log}, set())
            installs = [(line.get("owner") in {other["pid"] for other in log}, line["name"]) for line in log
                        if line["call"] == "install"]
            if words == "passes" and transport == "preload":
                wanted = {(True, "/dev/vfio/1"), (True, "0000:01:00.0"), (False, "/dev/vfio/2")}
                expect(f"{transport}: installs", wanted - set(installs), set())


def case_topology():
    # The view of a run is a copy of a sysfs tree, which gives the topology back.
    copy = path("copy")
    done = run([], ["sh", "-c", f'cp -a "$KVM_VFIO_SIM_DIRECTORY/sys" {copy}'])
    expect("cp", (done.returncode, done.stderr), (0, ""))
    done = call([sim, "topology", copy])
    expect("topology", done.returncode, 0)
    groups = json.loads(done.stdout)["groups"]
    expect("groups", [g["number"] for g in groups], [1, 2, 3])
    expect("devices", [d["name"] for g in groups for d in g["devices"]],
           ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"])
    # And this topology is a host again.
    again = path("again.json", done.stdout)
    done = call([sim, "run", "--topology", again, "--kvm", "simulated", "--quiet", "--strict", "--", client,
                 "attach-legacy"])
    expect(f"run ({done.stderr})", done.returncode, 0)
    os.mkdir(path("empty"))
    expect_failure("no IOMMU", call([sim, "topology", path("empty")]), 125, "empty")


def case_defaults():
    """The defaults of the schema are those of the launcher."""
    with open(os.path.join(source, "docs/topology.schema.json"), encoding="utf-8") as f:
        kinds = json.load(f)["$defs"]
    def whole(topology):
        """What the command "topology" prints of a host."""
        host = path("host.json", json.dumps(topology))
        done = call([sim, "run", "--topology", host, "--kvm", "simulated", "--quiet", "--", sim, "topology"])
        expect(f"topology ({done.stderr})", done.returncode, 0)
        return json.loads(done.stdout)
    def defaults(kind):
        return {name: member["default"] for name, member in kinds[kind]["properties"].items() if "default" in member}
    short = {"groups": [{"number": 1, "devices": [{"name": "0000:01:00.0", "pci": {}}]}]}
    pci = defaults("pci")
    pci["bars"] = [{**defaults("bar"), **bar} for bar in pci["bars"]]
    del pci["msix_table"]  # belongs to MSI-X
    full = {"iommus": [defaults("iommu")],
            "groups": [{"number": 1, **defaults("group"),
                        "devices": [{"name": "0000:01:00.0", **defaults("device"), "pci": pci}]}]}
    expect("defaults", whole(full), whole(short))
    # The host with three devices of docs/unmodified.md.
    with open(os.path.join(source, "docs/unmodified.md"), encoding="utf-8") as f:
        three = json.loads(re.findall("```json\n(.*?)```", f.read(), re.DOTALL)[1])
    expect("groups", [g["number"] for g in whole(three)["groups"]], [1, 2, 3])


def case_growth():
    """Descriptors and memory of the launcher do not grow with cycles of plug and unplug, each with a VM."""
    def look(pid):
        time.sleep(0.5)  # the launcher hears of the last close after the program goes on
        with open(f"/proc/{pid}/statm", encoding="ascii") as f:
            pages = int(f.read().split()[1])
        return len(os.listdir(f"/proc/{pid}/fd")), pages
    count = int(os.environ.get("CYCLES", "10000"))
    with subprocess.Popen(command(["--strict"], [client, "cycles", str(count), "wait"]), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as p:
        expect("warm", p.stdout.readline(), "warm\n")
        first = look(p.pid)
        p.stdin.write("\n")
        p.stdin.flush()
        expect("done", p.stdout.readline(), "done\n")
        last = look(p.pid)
        p.stdin.write("\n")
        p.stdin.flush()
        print(p.stdout.readline(), end="")
        expect("status", p.wait(timeout=60), 0)
    print(f"launcher: {first[0]} descriptors and {first[1]} pages at first, {last[0]} and {last[1]} at last")
    expect("descriptors", last[0], first[0])
    if last[1] > first[1] + 64:
        sys.exit(f"the launcher grew from {first[1]} to {last[1]} pages")


def case_unseen():
    """What kvm-vfio-sim does not see is named at the end."""
    for transport in ("preload", "seccomp"):
        done = loud(["--transport", transport, "--log", path("log")], [client, "rings"])
        expect_failure(f"a ring, {transport}", done, 0, "(client) wanted to register descriptors of the simulated "
                       "host with io_uring. This was refused with EOPNOTSUPP")
        refused = [line for line in lines_of("log") if line["call"] == "io_uring_register"]
        expect("the log", {line["error"] for line in refused}, {"EOPNOTSUPP"})
        expect("once", done.stderr.count("io_uring"), 1)
    done = loud(["--transport", "preload"], [client, "writes-past"])
    expect_failure("a write", done, 0, "(client) wrote to a descriptor of the simulated host in a way that")


def case_large_transfers():
    """One call does not let the launcher allocate a buffer as large as a BAR. The memory of the BAR itself is 64 MiB."""
    large = path("large.json", json.dumps({"groups": [{"number": 1, "devices": [
        {"name": "0000:01:00.0", "pci": {"bars": [{"size": "0x4000000"}]}}]}]}))

    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (112 << 20, 112 << 20))
    for transport in ("preload", "seccomp"):
        words = [sim, "run", "--topology", large, "--kvm", "simulated", "--quiet", "--transport", transport, "--",
                 client, "large-transfers"]
        done = call(words, preexec_fn=limit)
        expect(f"{transport} ({done.stderr})", done.returncode, 0)


def case_no_access():
    """A process whose memory the launcher may not read: standard error says why its calls fail."""
    user = 65534
    program = 'import ctypes, fcntl, os; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); fd = os.open("/dev/vfio/1", 2)\n' \
              'try: fcntl.ioctl(fd, 0x3b67, bytes(8))\nexcept OSError as e: print(e.errno)'
    if os.geteuid() == 0:
        os.chmod(work, 0o755)
        become = {"preexec_fn": lambda: (os.setgroups([]), os.setgid(user), os.setuid(user))}
        if call(["test", "-x", sim], **become).returncode != 0:
            print("another user cannot execute kvm-vfio-sim here")
            sys.exit(77)
    else:
        become = {}
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    done = run(["--transport", "preload"], [python, "-c", program], **become)
    expect_failure("no access", done, 0, "cannot be reached, so that its calls fail with EFAULT")
    expect("EFAULT", done.stdout, "14\n")


def case_messages():
    """Messages that the preloaded object never sends."""
    program = ["env", "-u", "LD_PRELOAD", sys.executable, os.path.join(os.path.dirname(__file__), "messages.py")]
    for what in ("sizes", "numbers", "silence", "random"):
        done = run([], [*program, what])
        expect(f"{what} ({done.stderr})", done.returncode, 0)
    limit = (100, 100)
    done = run([], [*program, "limit"], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit))
    expect_failure("limit", done, 0, "kvm-vfio-sim can open no more descriptors")


def case_example():
    """The example of docs/unmodified.md."""
    with open(os.path.join(source, "docs/unmodified.md"), encoding="utf-8") as f:
        page = f.read()
    def block(language):
        return re.search(f"```{language}\n(.*?)```", page, re.DOTALL).group(1)
    path("host.json", block("json"))
    search = os.path.dirname(sim) + ":" + os.environ["PATH"]
    def tested(body, script=block("sh")):
        """Runs the script of the page for a VMM with this body."""
        vmm = path("vmm", f'#!/bin/sh\ntest "$*" = "--device 0000:01:00.0" || exit 9\n{body}\n')
        os.chmod(vmm, 0o755)
        return call(["sh", path("test-vmm", script)], cwd=work, env={**ENVIRONMENT, "PATH": search, "VMM": vmm})
    def expect_red(what, done, status):
        expect(f"{what} ({done.stderr})", done.returncode, 1)
        if f"the status is {status}: the VMM does not report" not in done.stderr:
            sys.exit(f"{what}: {done.stderr}")
    good = f"exec {client} attach-legacy"
    done = tested(good)
    expect(f"the example ({done.stderr})", done.returncode, 0)
    if "ioctl(a.container, VFIO_SET_IOMMU" not in done.stderr:
        sys.exit(f"the fault did not happen: {done.stderr}")
    # The script fails for a VMM that ignores the error, for one that dies of it, and for a wrong plan.
    expect_red("an error that is ignored", tested(f"{client} attach-legacy || exit 0"), 0)
    expect_red("a crash", tested(f"{client} attach-legacy || kill -SEGV $$"), 139)
    expect_red("a typo in the plan", tested(good, block("sh").replace("ENOMEM", "ENOMEMM")), 125)
    expect("a VMM that makes no call", tested("exit 3").returncode, 121)
    # The members of the schema are those that the launcher knows.
    with open(os.path.join(source, "docs/fault-plan.schema.json"), encoding="utf-8") as f:
        schema = json.load(f)["items"]["properties"]
    for name, value in (("call", "open"), ("request", "VFIO_SET_IOMMU"), ("nth", 3), ("errno", "EIO"),
                        ("program", "x"), ("path", "/dev/iommu"), ("every", True)):
        del schema[name]
        plan = path("plan.json", json.dumps([{"errno": "EIO", name: value}]))
        expect(name, run(["--faults", plan], ["true"]).returncode, 0)
    expect("further members of the schema", list(schema), [])


try:
    globals()["case_" + sys.argv[4].replace("-", "_")]()
finally:
    shutil.rmtree(work, ignore_errors=True)
