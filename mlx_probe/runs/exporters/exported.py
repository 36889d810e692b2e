"""A run as the exporters take it: its numbers by step, its settings, and what it is."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.contents import RUN
from mlx_probe.runs.experiments.curves import read_curves
from mlx_probe.runs.experiments.kinds import RUN_KINDS
from mlx_probe.runs.experiments.read import read_experiment
from mlx_probe.runs.experiments.records import Experiment
from mlx_probe.runs.exporters.metrics import Values
from mlx_probe.runs.exporters.windows import read_windows
from mlx_probe.runs.folder import DEFAULT_STEM, run_name, side_name
from mlx_probe.runs.mixture.signals import KIND as SIGNALS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FINAL", "ExportedRun", "RunLog", "read_exported"]

# Final numbers of a run with steps, so that none is taken for a point of a curve.
FINAL = "final/"
# What a file system, a tool's list and a shell all take.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
# What the names of markers end with, after the stem of the run's tables.
_MARKER = re.compile(r"\.?(run_meta\.json|plan\.json|recipe\.yaml)$")
# States in which final numbers are final.
_ENDED = ("finished", "stopped early")


@dataclass(frozen=True)
class ExportedRun:
    """A run, whatever its kind.

    Attributes:
        identity: 32 hex digits of the folder and of what decides the run's numbers: another
            export of the same run has the same, another run in the folder has another.
        name: What it is called.
        folder: Absolute path of the run folder.
        kind: Key of `RUN_KINDS`.
        state: As `Experiment.state`.
        began: When it began, in seconds since 1970; of an unfinished run, when its marker was
            written.
        ended: When it ended; None while it has not.
        steps: Numbers by step; empty for kinds without steps.
        finals: Its final numbers; empty while it has not ended.
        params: Settings by "section.key", and inputs as "input.role".
        facts: Version, code, command and working folder, where known.
        tags: The user's.
        note: The user's.
    """

    identity: str
    name: str
    folder: str
    kind: str
    state: str
    began: float
    ended: float | None = None
    steps: Sequence[Values] = ()
    finals: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    note: str = ""

    @property
    def slug(self) -> str:
        """A name for a file or folder that no other run has."""
        return f"{_UNSAFE.sub('-', self.name).strip('-.')[:100] or 'run'}-{self.identity[:8]}"

    @property
    def last_step(self) -> int:
        """The last step; 0 for kinds without steps."""
        return int(self.steps[-1]["step"] or 0) if self.steps else 0

    def final_row(self) -> Values | None:
        """The final numbers as a row: of step 0, or behind `FINAL` of the last step."""
        if not self.finals:
            return None
        prefix = FINAL if self.steps else ""
        named = {f"{prefix}{name}": value for name, value in self.finals.items()}
        return {"step": self.last_step, **named}

    def rows(self) -> Iterator[Values]:
        """The numbers by step, then the final ones."""
        yield from self.steps
        if (final := self.final_row()) is not None:
            yield final

    def time_of(self, values: Values) -> float:
        """When a row was measured, in seconds since 1970; final numbers come last."""
        seconds = values.get("seconds")
        if seconds is not None and math.isfinite(seconds):
            return self.began + seconds
        if self.ended is None or values.get("step") != self.last_step:
            return self.began
        # Metadata say the second in which they were written, without its fraction.
        last = self.steps[-1].get("seconds") if self.steps else None
        return max(self.ended, self.began + (last if last and math.isfinite(last) else 0.0))

    def require_numbers(self) -> None:
        """Refuse a run without a number.

        Raises:
            ResultError: There is none.
        """
        if not self.steps and not self.finals:
            raise ResultError(
                f"{self.folder} has no numbers yet ({self.state})",
                "Let the run go on, or leave it out",
            )

    def describe(self) -> dict[str, Any]:
        """What it is, beside settings and numbers."""
        return {
            "kind": self.kind,
            "state": self.state,
            "folder": self.folder,
            **self.facts,
            "tags": ", ".join(self.tags),
            "note": self.note,
        }


class RunLog(Protocol):
    """What a live logger of one run does."""

    def log(self, values: Values) -> None:
        """Take the line of a step; steps ascend."""

    def close(self, run: ExportedRun) -> None:
        """Take the final numbers and the state, as far as there are any; the run may go on."""


def read_exported(path: Path, tags: Sequence[str] = (), note: str = "") -> ExportedRun:
    """Read a run of any kind, also one that goes on.

    Args:
        path: The run folder, or its marker.
        tags: The user's tags.
        note: The user's note.

    Raises:
        ResultError: There is no run, or its files are damaged.
    """
    experiment = read_experiment(path)
    began, ended = _times(experiment)
    return ExportedRun(
        identity=_identity(experiment),
        name=run_name(experiment.folder),
        folder=str(experiment.folder),
        kind=experiment.kind,
        state=experiment.state,
        began=began,
        ended=ended,
        steps=_steps(experiment),
        finals=dict(experiment.metrics) if experiment.state in _ENDED else {},
        params=_params(experiment),
        facts=_facts(experiment),
        tags=tuple(tags),
        note=note,
    )


def _identity(experiment: Experiment) -> str:
    """Of folder, stem and fingerprint: a folder may hold runs side by side, or one after another.

    Not of the marker's content: the metadata come in the place of the plan.
    """
    marker = experiment.marker
    stem = _MARKER.sub("", marker.name)
    plan = marker.with_name(side_name(stem or DEFAULT_STEM, "plan", "json"))
    fingerprint = _fingerprint(marker) or _fingerprint(plan)
    known = [os.fspath(experiment.folder), stem, experiment.kind, fingerprint]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


def _fingerprint(path: Path) -> str:
    """Of a run's metadata or plan; "" where it says none."""
    try:
        meta = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    about = meta.get(RUN, meta) if isinstance(meta, dict) else {}
    return str(about.get("fingerprint") or "") if isinstance(about, dict) else ""


def _times(experiment: Experiment) -> tuple[float, float | None]:
    try:
        at = datetime.fromisoformat(experiment.created_at.replace("Z", "+00:00"))
        stamp = (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
    except ValueError:
        stamp = experiment.marker.stat().st_mtime
    if experiment.state not in _ENDED:
        return stamp, None
    # Metadata say when they were written, at the end.
    return stamp - (experiment.seconds or 0.0), stamp


def _steps(experiment: Experiment) -> list[Values]:
    if experiment.kind == SIGNALS:
        return _rows_of(read_windows(experiment.folder))
    has_steps = RUN_KINDS[experiment.kind].has_steps
    return _rows_of(read_curves(experiment.folder)) if has_steps else []


def _rows_of(frame: pd.DataFrame) -> list[Values]:
    """Rows without what is no number."""
    names = [name for name in frame.columns if name != "step"]
    columns = [frame[name].tolist() for name in names]
    rows: list[Values] = []
    for place, step in enumerate(frame["step"].tolist()):
        values = {name: column[place] for name, column in zip(names, columns, strict=True)}
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        rows.append({"step": int(step), **known})
    return rows


def _params(experiment: Experiment) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for each in experiment.inputs:
        name = f"{each.name}@{each.revision}" if each.revision else each.name
        key = f"input.{each.role}"
        inputs[key] = f"{inputs[key]}, {name}" if key in inputs else name
    return {**experiment.config, **inputs}


def _facts(experiment: Experiment) -> dict[str, str]:
    facts = {
        "version": experiment.version,
        "code": experiment.code,
        "command": " ".join(experiment.command),
        "working_folder": experiment.working_folder,
        "created_at": experiment.created_at,
    }
    return {name: value for name, value in facts.items() if value}
