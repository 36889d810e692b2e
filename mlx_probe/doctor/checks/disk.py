"""Do the disks of models and caches have room, and are they fast?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.core.units import format_size
from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Disk, Facts

__all__ = ["check"]

# Bytes a second. On a slower disk, reading a model takes longer than analysing it.
SLOW_READ, SLOW_WRITE = 200e6, 50e6

# Bytes. A model of 8 billion weights in 16 bits; the least that a run needs.
ROOM, LEAST_ROOM = 16e9, 500e6


def check(facts: Facts) -> Iterator[Verdict]:
    """Each folder for models and caches is writable, has room, and is fast."""
    for disk in facts.disks:
        yield _check_disk(disk)


def _check_disk(disk: Disk) -> Verdict:
    where = f"{disk.folder} ({disk.holds})"
    move = f"set {disk.variable} to a folder on another disk"
    if disk.free is None or (disk.problem and disk.free >= ROOM):
        return (
            "error",
            f"{where}: {disk.problem}",
            f"Give yourself write permission there, or {move}",
        )
    fact = f"{where}: {format_size(disk.free)} free"
    if disk.free < LEAST_ROOM:
        return "error", fact, f"Free space there, or {move}"
    if disk.write_rate is None or disk.read_rate is None:
        return "error", f"{fact}; {disk.problem}", f"Free space or get permission there, or {move}"
    writes, reads = format_size(int(disk.write_rate)), format_size(int(disk.read_rate))
    fact += f", writes {writes}/s, reads {reads}/s"
    if disk.free < ROOM:
        return "warning", f"{fact}: little room for models", f"Free space there, or {move}"
    if disk.read_rate < SLOW_READ or disk.write_rate < SLOW_WRITE:
        return "warning", f"{fact}: slow", f"For large models {move}, an internal one"
    return ok(fact)
