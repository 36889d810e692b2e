"""The memory limit of a job, and the part of it that its tasks share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import psutil

from mlx_probe.runs.monitor import process_memory

__all__ = ["BESIDE", "RESERVE", "Budget", "memory_budget", "sufficient"]

# Share of the free memory that a job may take if the user sets no limit.
DEFAULT_MEMORY_SHARE = 0.8

# Bytes of tables and their writers, beside the tasks.
RESERVE = 33_000_000

# Bytes of what an analysis imports beside its tasks: pyarrow with its writers, the forecast.
# Measured on Linux.
BESIDE = 36_000_000


@dataclass(frozen=True)
class Budget:
    """Memory of a process, in bytes.

    Attributes:
        limit: The most that the process may take.
        taken: What it takes without any task, with the tables that it will write.
    """

    limit: int
    taken: int

    @property
    def tasks(self) -> int:
        """The rest for all tasks together; negative if the process alone takes more."""
        return self.limit - self.taken


def memory_budget(limit: int, later: int = 0) -> Budget:
    """The memory of this process.

    Args:
        limit: Bytes that the user allows; 0 for four fifths of the free memory.
        later: Bytes of libraries that the process loads beside the tasks.
    """
    taken = process_memory() + RESERVE + later
    free = int(DEFAULT_MEMORY_SHARE * psutil.virtual_memory().available)
    return Budget(limit or taken + free, taken)


def sufficient(least: int) -> str:
    """A memory limit of at least ``least`` bytes, with a margin for the next start."""
    return f"{math.ceil(1.05 * least / 1e6)} MB"
