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

__all__ = ["look_at"]

BLOCK = 1 << 23
# Whichever comes first ends a measurement.
MOST, LONGEST = 16 * BLOCK, 0.5
# No measurement takes the last of a disk.
LEAST_FREE = 4 * MOST


def look_at(disk: Disk) -> Disk:
    """Free space, and the rates of a file that is written, read and gone.

    Args:
        disk: What is kept there, the folder and its variable.
    """
    folder = Path(disk.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        disk = replace(disk, free=shutil.disk_usage(folder).free)
        if disk.free is not None and disk.free < LEAST_FREE:
            return replace(disk, problem="too little free space to measure its speed")
        # It has no name from the start: nothing is left behind, not even by a kill.
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            written, seconds = _write(file)
            disk = replace(disk, write_rate=written / seconds)
            read, seconds = _read(file)
            return replace(disk, read_rate=read / seconds)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        return replace(disk, problem=f"cannot be written: {reason}")


def _write(file: BinaryIO) -> tuple[int, float]:
    # Disks and file systems that compress would make zeros of zeros.
    block, written = os.urandom(BLOCK), 0
    began = time.perf_counter()
    while written < MOST and time.perf_counter() - began < LONGEST:
        written += file.write(block)
        # Each time, or the limit would count what memory takes and the end would wait for all.
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
    """Keep the system from answering out of memory; where it cannot, the rate is memory's."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(file.fileno(), fcntl.F_NOCACHE, 1)
    elif sys.platform == "linux":
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
