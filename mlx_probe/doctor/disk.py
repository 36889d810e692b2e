"""How much room a folder has, and how fast its disk is."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from mlx_probe.doctor.facts import Disk

__all__ = ["measure_disk"]

BLOCK = 1 << 23
# Bytes and seconds: the measurement ends at whichever comes first.
MOST, LONGEST = 16 * BLOCK, 0.5
# Bytes. With less free space the speed is not measured, so that the disk does not fill up.
LEAST_FREE = 4 * MOST


def measure_disk(disk: Disk) -> Disk:
    """Measure free space, and the speed of writing and reading a temporary file.

    Args:
        disk: Has the folder, its purpose and its variable.
    """
    folder = Path(disk.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        disk = replace(disk, free=shutil.disk_usage(folder).free)
        if disk.free is not None and disk.free < LEAST_FREE:
            return replace(disk, problem="too little free space to measure its speed")
        # The file never has a name: nothing stays behind, even after a kill.
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            written, seconds = _write(file)
            disk = replace(disk, write_rate=written / seconds)
            read, seconds = _read(file)
            return replace(disk, read_rate=read / seconds)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        return replace(disk, problem=f"cannot be written: {reason}")


def _write(file: BinaryIO) -> tuple[int, float]:
    # Random bytes: some disks and file systems compress zeros.
    block, written = os.urandom(BLOCK), 0
    began = time.perf_counter()
    while written < MOST and time.perf_counter() - began < LONGEST:
        written += file.write(block)
        # After each block. Otherwise the loop measures memory, and one long flush comes at the end.
        os.fsync(file.fileno())
    return written, time.perf_counter() - began


def _read(file: BinaryIO) -> tuple[int, float]:
    _uncache(file)
    file.seek(0)
    buffer, read = bytearray(BLOCK), 0
    began = time.perf_counter()
    while time.perf_counter() - began < LONGEST and (length := file.readinto(buffer)):  # type: ignore[attr-defined]
        read += length
    return read, time.perf_counter() - began


def _uncache(file: BinaryIO) -> None:
    """Drop the file from the system's cache; where that fails, the rate is that of memory."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(file.fileno(), fcntl.F_NOCACHE, 1)
    elif sys.platform == "linux":
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
