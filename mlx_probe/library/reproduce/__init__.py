"""A run made again: its command, what differs here and now, and whether the results are equal."""

from mlx_probe.library.reproduce.command import Again, command_again
from mlx_probe.library.reproduce.records import Compared, Difference, Reproduction
from mlx_probe.library.reproduce.reproduce import reproduce
from mlx_probe.library.reproduce.results import compare_results
from mlx_probe.library.reproduce.surroundings import differences

__all__ = [
    "Again",
    "Compared",
    "Difference",
    "Reproduction",
    "command_again",
    "compare_results",
    "differences",
    "reproduce",
]
