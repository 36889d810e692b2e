"""What another command makes of two models in the same job, beside the comparison's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.analysis.compare.plan import ComparePlan
    from mlx_probe.core.records import Column, Row
    from mlx_probe.runs.job import Job

__all__ = ["Beside", "Companion"]


@dataclass(frozen=True)
class Beside:
    """What was made.

    Attributes:
        tables: Tables beside the main one, by name, with their columns.
        files: Other files in the run folder, for the metadata's key "outputs".
        described: More keys of the metadata.
    """

    tables: Mapping[str, tuple[pa.Table, tuple[Column, ...]]] = field(default_factory=dict)
    files: Sequence[Path] = ()
    described: Mapping[str, Any] = field(default_factory=dict)


class Companion(Protocol):
    """Makes something of the pairs of a comparison once their rows are there.

    The rows stay in the journal until the whole run is finished: what is interrupted here goes on
    without measuring anything again.
    """

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides its result: a part of the run's identity."""

    @property
    def sides(self) -> tuple[str, ...]:
        """Names of the tables that it may make."""

    def refuse(self, plan: ComparePlan) -> None:
        """Refuse models that nothing can be made of, before anything is measured.

        Raises:
            ProbeError: The reason.
        """

    def make(self, plan: ComparePlan, rows: Sequence[Row], job: Job, fingerprint: str) -> Beside:
        """Make it.

        Args:
            plan: The comparison.
            rows: Its rows, in the order in which they were finished.
            job: The job, which runs.
            fingerprint: Of the run, as hex digits.

        Raises:
            ProbeError: One of its kinds; what is finished stays on disk.
        """
