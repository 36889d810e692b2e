"""Whether some program has a file open for writing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from pathlib import Path

import psutil

__all__ = ["is_being_written"]


def is_being_written(path: Path) -> bool:
    """Whether a program on this machine has a file open for writing.

    Linux is asked itself. Elsewhere the processes that may be looked into are, and as some
    systems do not tell what a file is open for, an open file counts there as being written.

    Args:
        path: An existing file, no link.

    Raises:
        OSError: It cannot be opened.
    """
    if sys.platform == "linux":
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Who opens it for writing meanwhile would have us killed, but for this.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except BlockingIOError:
            return True
        except OSError:
            pass  # someone else's file, or a disk that has no leases
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
