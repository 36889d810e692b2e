"""Commands on a terminal that a test makes, types at and reads."""

import fcntl
import os
import pty
import select
import struct
import termios
import time
from contextlib import suppress

from tinymodel import heed_ctrl_c

TIMEOUT = 60


class Terminal:
    """A command on a terminal of some size.

    `text` has what the command wrote so far.
    """

    def __init__(self, columns, lines, *command, term="xterm-256color"):
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        pid, self.file = pty.fork()
        if pid == 0:
            heed_ctrl_c()
            # Not `execv`: readline may have put a size into the C library's environment.
            os.execve(command[0], list(map(str, command)), environment | {"TERM": term})
        self.pid = pid
        self.resize(columns, lines)
        self.text = ""

    def resize(self, columns, lines):
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_until(self, enough):
        deadline = time.monotonic() + TIMEOUT
        while not enough(self.text):
            assert time.monotonic() < deadline, self.text
            ready, _, _ = select.select([self.file], [], [], 0.1)
            if ready:
                try:
                    self._read()
                except OSError:
                    # The other end is closed.
                    assert enough(self.text), self.text
        return self.text

    def _read(self):
        """Reads what is there; returns whether that was anything."""
        read = os.read(self.file, 1 << 16)
        self.text += read.decode("utf-8", "replace")
        return bool(read)

    def press(self, key):
        os.write(self.file, key.encode())

    def end(self, timeout=TIMEOUT):
        """Reads until the command ends; returns its exit code."""
        deadline = time.monotonic() + timeout
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            assert time.monotonic() < deadline, self.text
            ready, _, _ = select.select([self.file], [], [], 0.05)
            if ready:
                with suppress(OSError):
                    self._read()
        # What it wrote last is still in the terminal; the end of that is an error on Linux.
        with suppress(OSError):
            while select.select([self.file], [], [], 0)[0] and self._read():
                pass
        os.close(self.file)
        return os.waitstatus_to_exitcode(status)
