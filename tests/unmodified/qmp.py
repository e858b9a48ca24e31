# SPDX-License-Identifier: BSL-1.0
"""A client of QEMU's machine protocol (QMP) and a QEMU process that it controls."""

import json
import os
import signal
import socket
import subprocess
import time


class Failed(Exception):
    """A scenario did not go as it must. The text says what happened."""


class Qemu:
    """A QEMU process with a QMP connection.

    command: the words that start QEMU, without the socket.
    work: a directory for the socket and for what QEMU prints.
    limit: the seconds after which an answer is late.
    """

    count = 0

    def __init__(self, command, work, limit=30):
        Qemu.count += 1
        self.limit = limit
        self.events = []
        self.socket_path = os.path.join(work, f"qmp{Qemu.count}")
        self.stderr_path = os.path.join(work, f"qemu{Qemu.count}.stderr")
        # pylint: disable=consider-using-with
        with open(self.stderr_path, "w", encoding="utf-8") as stderr:
            self.process = subprocess.Popen(
                command + ["-qmp", f"unix:{self.socket_path},server=on,wait=off"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        self.stream = None
        self.buffer = b""
        try:
            self._connect()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _connect(self):
        end = time.monotonic() + self.limit
        self.stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                self.stream.connect(self.socket_path)
                break
            except OSError as error:
                if self.process.poll() is not None:
                    raise Failed(f"QEMU ended with {self.process.returncode}: {self.words()}") from error
                if time.monotonic() > end:
                    raise Failed(f"QEMU made no QMP socket in {self.limit} s: {self.words()}") from error
                time.sleep(0.01)
        self._receive(end)
        self.call("qmp_capabilities")

    def words(self):
        """What QEMU printed on its standard error, in one line."""
        with open(self.stderr_path, encoding="utf-8", errors="replace") as stderr:
            return " | ".join(line.strip() for line in stderr if line.strip()) or "(it printed nothing)"

    def _receive(self, end):
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise Failed(f"QEMU did not answer in {self.limit} s: {self.words()}")
            self.stream.settimeout(left)
            try:
                data = self.stream.recv(65536)
            except socket.timeout:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                code = self._wait_for_end()
                raise Failed(f"QEMU ended with {code}: {self.words()}")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def _wait_for_end(self):
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "nothing yet"

    def call(self, command, **arguments):
        """Executes a command and returns its value. Events that come before it are kept."""
        names = {name.replace("_", "-") if name != "node_name" else name: value for name, value in arguments.items()}
        message = {"execute": command}
        if names:
            message["arguments"] = names
        self.stream.sendall(json.dumps(message).encode() + b"\n")
        end = time.monotonic() + self.limit
        while True:
            answer = self._receive(end)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Failed(f"{command} {arguments}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait_event(self, name, **data):
        """Waits for an event with these data."""
        end = time.monotonic() + self.limit

        def fits(event):
            return event["event"] == name and all(event.get("data", {}).get(k) == v for k, v in data.items())

        while True:
            for event in self.events:
                if fits(event):
                    self.events.remove(event)
                    return event
            answer = self._receive(end)
            if "event" in answer:
                self.events.append(answer)

    def descriptors(self):
        """The open descriptors of the process: a list of (number, file)."""
        folder = f"/proc/{self.process.pid}/fd"
        result = []
        for number in os.listdir(folder):
            try:
                result.append((int(number), os.readlink(f"{folder}/{number}")))
            except OSError:
                pass
        return sorted(result)

    def quit(self):
        """Ends QEMU by its command quit."""
        try:
            self.call("quit")
        except Failed:
            pass
        try:
            code = self.process.wait(self.limit)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise Failed(f"QEMU did not end in {self.limit} s after quit: {self.words()}") from error
        self.stream.close()
        if code != 0:
            raise Failed(f"QEMU ended with {code} after quit: {self.words()}")

    def kill(self):
        """Ends QEMU by SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.stream:
            self.stream.close()
