"""What a series is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.progress import Progress, Silent
from mlx_probe.analysis.series.found import Found
from mlx_probe.runs.monitor.watch import WatchConfig

__all__ = ["SeriesConfig", "SeriesProgress", "Unseen"]


@dataclass(frozen=True)
class SeriesConfig:
    """What decides the results of a series.

    Attributes:
        revisions: Globs on branches and tags of a repository.
        steps: Where the step is in names; see `find_checkpoints`.
        columns: Columns whose changes are looked for; empty for `FOLLOWED`.
        least: Smallest change that is said, as a share.
        formats: Keys of `WRITERS` for the tables; empty for Parquet.
        analysis: How each checkpoint is measured.
        watch: Rules on the machine's resources.
        overwrite: Whether checkpoints that were measured in another way are measured again.
    """

    revisions: Sequence[str] = ()
    steps: str = ""
    columns: Sequence[str] = ()
    least: float = 0.25
    formats: Sequence[str] = ()
    analysis: AnalyzeConfig = field(default_factory=AnalyzeConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    overwrite: bool = False


class SeriesProgress(Protocol):
    """A series calls these methods while it works."""

    def measuring(self, found: Found, at: int, total: int) -> Progress:
        """A checkpoint is measured next, the ``at``-th of ``total``; who watches it."""

    def measured(self, found: Found, seconds: float) -> None:
        """A checkpoint is measured."""

    def skipped(self, found: Found, reason: str) -> None:
        """A checkpoint cannot be measured now."""

    def waiting(self, last: int | None) -> None:
        """There is nothing new after the step ``last``."""

    def absent(self, reason: str) -> None:
        """There is no checkpoint yet."""


class Unseen:
    """Progress that nobody sees."""

    def measuring(self, found: Found, at: int, total: int) -> Progress:
        """Watched by nobody."""
        return Silent()

    def measured(self, found: Found, seconds: float) -> None:
        """Ignored."""

    def skipped(self, found: Found, reason: str) -> None:
        """Ignored."""

    def waiting(self, last: int | None) -> None:
        """Ignored."""

    def absent(self, reason: str) -> None:
        """Ignored."""
