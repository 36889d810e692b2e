"""What a series came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_probe.analysis.series.states import StepState

__all__ = ["SeriesResult"]


@dataclass(frozen=True)
class SeriesResult:
    """What a call of `measure_series` did, and what the series says.

    Attributes:
        folder: Of the series.
        meta: Content of its run_meta.json.
        states: What became of each checkpoint, by step.
        left_out: Name and reason of what is no checkpoint of the series.
    """

    folder: Path
    meta: Mapping[str, Any]
    states: Sequence[StepState]
    left_out: Sequence[tuple[str, str]]

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What happened when; see `Finding.as_json`."""
        return list(self.meta["findings"])

    @property
    def failures(self) -> list[str]:
        """Measured checkpoints that something is wrong with."""
        return [
            f"step {s.step}: {s.reason}" for s in self.states if s.state == "measured" and s.reason
        ]

    def count(self, state: str) -> int:
        """Checkpoints in a state."""
        return sum(one.state == state for one in self.states)

    def describe(self) -> dict[str, Any]:
        """The document of --json."""
        return {
            "folder": str(self.folder),
            "steps": [asdict(state) for state in self.states],
            "measured": self.count("measured"),
            "kept": self.count("kept"),
            "skipped": self.count("skipped"),
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out],
            "findings": self.findings,
            "files": [str(self.folder / name) for name in self.meta["outputs"]],
        }
