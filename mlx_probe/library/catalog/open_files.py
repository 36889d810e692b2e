"""Which files programs of this machine have open, and whether one is open for writing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from pathlib import Path

import psutil

__all__ = ["is_being_written", "open_paths"]


def is_being_written(path: Path) -> bool:
    """Whether a program on this machine has a file open for writing.

    On Linux the kernel answers. On other systems the open files of all readable processes are
    listed; where the system does not say whether a file is open for reading or writing, an open
    file counts as being written.

    Args:
        path: An existing file, not a link.

    Raises:
        OSError: The file cannot be opened.
    """
    if sys.platform == "linux":
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # While the lease is held, a program that opens the file for writing makes the kernel
            # send a signal. The default one would kill this process; SIGURG is ignored.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except BlockingIOError:
            return True
        except OSError:
            pass  # the file of another user, or a file system without leases
        else:
            return False
        finally:
            os.close(descriptor)
    return _is_open(path)


def _is_open(path: Path) -> bool:
    wanted = str(path)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            for file in process.open_files():
                if file.path == wanted and getattr(file, "mode", "") != "r":
                    return True
    return False


def open_paths() -> set[str]:
    """Paths that programs have open or mapped into memory, and the folders that they work in.

    Only those of readable processes: mostly the user's own.
    """
    found: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            found.add(process.cwd())
            found |= {file.path for file in process.open_files()}
        if sys.platform == "linux":
            # A weight file is mapped, and closed at once.
            with contextlib.suppress(OSError):
                maps = Path(f"/proc/{process.pid}/maps").read_bytes()
                found |= {
                    os.fsdecode(line[line.index(b"/") :])
                    for line in maps.splitlines()
                    if b"/" in line
                }
    return found - {""}
