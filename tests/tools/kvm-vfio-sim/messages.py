#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""A program that sends messages to the simulated host which the preloaded object never sends: messages.py CASE.

The simulated host must go on, and answer other connections. kvm-vfio-sim runs this program without the object."""
import array
import os
import random
import socket
import struct
import sys
import time

REQUEST = "<IiiIQQQQ"  # struct request of protocol.hpp
OPEN, DUP, IOCTL, IDENTIFY, CREATED_VM = 0, 2, 3, 14, 15


def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(60)
    s.connect(os.environ["KVM_VFIO_SIM_DIRECTORY"] + "/socket")
    return s


def request(what, fd=-1, number=-1, flags=0, first=0, second=0, third=0, inode=0, path=b""):
    return struct.pack(REQUEST, what, fd, number, flags, first, second, third, inode) + path


def send(s, message, fds=()):
    if fds:
        s.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
    else:
        s.send(message)


def answer(s, message, fds=()):
    """The value and the number of the error."""
    send(s, message, fds)
    return struct.unpack_from("<qi", s.recv(100))


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got!r}, and not {wanted!r}")


def is_well():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inode = os.fstat(a.fileno()).st_ino
    got = answer(connect(), request(OPEN, number=a.fileno(), inode=inode, path=b"/dev/vfio/vfio\0"), [b.fileno()])
    expect("an open after all", got, (a.fileno(), 0))


def case_sizes():
    for size in (0, 1, 10, 47):
        s = connect()
        s.send(b"x" * size)
        expect(f"{size} bytes", s.recv(100), b"")
    expect("a long message", len((lambda s: (s.send(bytes(8000)), s.recv(100))[1])(connect())), 40)


def case_numbers():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inode = os.fstat(a.fileno()).st_ino
    s = connect()
    bad = (0, 9)  # EBADF
    for number in (1 << 20, 0x7fffffff, -2, -0x80000000):
        expect(f"open {number}", answer(s, request(OPEN, number=number, inode=inode, path=b"/dev/vfio/1\0"),
                                        [b.fileno()]), bad)
        expect(f"ioctl {number}", answer(s, request(IOCTL, fd=number)), bad)
        expect(f"dup {number}", answer(s, request(DUP, number=number)), bad)
        expect(f"VM {number}", answer(s, request(CREATED_VM, number=number)), bad)
    expect("no peer", answer(s, request(OPEN, number=50, inode=inode, path=b"/dev/vfio/1\0")), (0, 23))  # ENFILE
    message = request(OPEN, number=a.fileno(), inode=inode, path=b"/dev/vfio/1\0")
    expect("an inode", answer(s, message, [b.fileno()]), (a.fileno(), 0))
    message = request(OPEN, number=50, inode=inode, path=b"/dev/vfio/2\0")
    expect("the inode of another file", answer(s, message, [b.fileno()]), bad)


def case_silence():
    silent = [connect() for _ in range(300)]
    is_well()
    # Nobody reads the replies.
    s = connect()
    try:
        for _ in range(100000):
            s.send(request(IDENTIFY))
    except ConnectionError:
        pass
    expect("connections", len(silent), 300)


def case_random():
    def number():
        return random.choice([0, 1, 3, 5, 4096, random.getrandbits(12), random.getrandbits(32), random.getrandbits(64)])

    def fd():
        return random.choice([-1, 0, 3, 4, 5, 6, 7, 100, -5, 1 << 30])
    random.seed(15)
    s = connect()
    paths = [b"", *(p + b"\0" for p in (b"/dev/vfio/1", b"/dev/vfio/vfio", b"/dev/iommu", b"/dev/kvm",
                                         b"/dev/vfio/devices/vfio2", b"\xff\xfe"))]
    for _ in range(5000):
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inode = random.choice([0, os.fstat(a.fileno()).st_ino, number()])
        message = request(random.choice([*range(20), 999]), fd(), fd(), random.getrandbits(32),
                          random.choice([number(), 0x3b64 + random.getrandbits(6)]), number(), number(), inode,
                          random.choice(paths))
        answer(s, message, random.choice([[], [b.fileno()], [b.fileno(), a.fileno()]]))
        a.close()
        b.close()


def case_limit():
    """The simulated host can have few descriptors."""
    kept = []
    for _ in range(200):
        s = connect()
        try:
            kept.append((s, answer(s, request(IDENTIFY))))
        except (struct.error, ConnectionError):
            break
    else:
        sys.exit("there was no limit")
    began = time.process_time()
    for s, _ in kept:
        s.close()
    is_well()
    expect("busy", time.process_time() - began > 5, False)


globals()["case_" + sys.argv[1]]()
if sys.argv[1] != "limit":
    is_well()
