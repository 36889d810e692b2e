"""How much memory a job may take, and how much of that its tasks have together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import psutil

from mlx_probe.runs.monitor import process_memory

__all__ = ["RESERVE", "Budget", "memory_budget", "sufficient"]

# Share of the free memory that a job takes when the user sets no limit.
DEFAULT_MEMORY_SHARE = 0.8

# What rows, tables and their writers take besides the tasks; pandas is most of it.
RESERVE = 80_000_000


@dataclass(frozen=True)
class Budget:
    """Memory of a process, in bytes.

    Attributes:
        limit: That the process may take.
        taken: That it takes without any task, tables that will be written included.
    """

    limit: int
    taken: int

    @property
    def tasks(self) -> int:
        """What is left for all tasks together; negative if nothing is."""
        return self.limit - self.taken


def memory_budget(limit: int) -> Budget:
    """The memory that this process has.

    Args:
        limit: Bytes that the user allows; 0 for four fifths of what is free now.
    """
    taken = process_memory() + RESERVE
    free = int(DEFAULT_MEMORY_SHARE * psutil.virtual_memory().available)
    return Budget(limit or taken + free, taken)


def sufficient(least: int) -> str:
    """A memory limit that holds ``least`` bytes, and a little more: the next start differs."""
    return f"{math.ceil(1.05 * least / 1e6)} MB"
