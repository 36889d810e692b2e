"""A training run as reports show it: read once, with its sentences."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare.columns import COLUMNS as COMPARE_COLUMNS
from mlx_probe.analysis.training.history import History, history_of
from mlx_probe.analysis.training.outcome import Outcome, outcome_of
from mlx_probe.analysis.training.spectral_change import CHANGE
from mlx_probe.analysis.training.statement import Statement
from mlx_probe.analysis.training.statements import statements
from mlx_probe.analysis.typical import with_typical_texts
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS
from mlx_probe.report.run_data import metric_names
from mlx_probe.report.training_series import bytes_per_token
from mlx_probe.runs.training.metrics import COLUMNS, TRAIN_BPB
from mlx_probe.runs.training.run import TrainingRun, load_training_run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Difference", "TrainingData", "load_training_data", "snapshot_metrics"]

# Columns of an analysis that say nothing about learning.
_NOT_SHOWN = (
    *("rows", "cols", "numel", "nbytes", "read_seconds", "compute_seconds", "read_gbps"),
    *("bits_per_weight", "spectrum_error", "effective_rank_error", "spectral_entropy_error"),
    *("delta_spectrum_error", "overlap_directions", "intruder_directions", "other_norm"),
)
# Metrics that are shown first.
_FIRST = ("stable_rank", "effective_rank", "spectral_norm", "std")


@dataclass(frozen=True)
class Difference:
    """What a tuning has done to the weights by one step.

    Attributes:
        step: The step.
        rows: Rows of the comparison with the base, None for null.
    """

    step: int
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class TrainingData:
    """A training run and what is said of it.

    Attributes:
        run: The run.
        outcome: Its numbers.
        history: Its snapshots as series.
        frame: The rows of its snapshots, with the column `CHANGE`; of a tuning those of its
            comparisons with the base, without tensors that are the same in both.
        said: What happened to its matrices.
        label: A name that no other run of the report has.
        difference: Of a tuning, its last comparison with the base.
    """

    run: TrainingRun
    outcome: Outcome
    history: History
    frame: pd.DataFrame
    said: Sequence[Statement]
    label: str
    difference: Difference | None = None

    @property
    def steps(self) -> list[int]:
        """Steps of the snapshots that have rows, ascending."""
        return [int(step) for step in self.frame["step"].unique()]

    @property
    def bytes_per_token(self) -> float | None:
        """Mean bytes of a token of the training text, if the run says so."""
        return bytes_per_token(self.run)

    @property
    def columns(self) -> list[Column]:
        """What is known of the columns of ``frame``."""
        known = with_typical_texts(table_columns([m.column for m in METRICS]), "params")
        names = {column.name for column in known}
        compared = [column for column in COMPARE_COLUMNS if column.name not in names]
        return [*COLUMNS, TRAIN_BPB, *known, CHANGE, *with_typical_texts(compared, "compare")]


def load_training_data(paths: Sequence[str | os.PathLike[str]]) -> list[TrainingData]:
    """Training runs for a report.

    Args:
        paths: As for `load_training_run`.

    Raises:
        ResultError: One is no training run, or a file is damaged.
    """
    runs = [load_training_run(path) for path in paths]
    return [_read(run, label) for run, label in zip(runs, _labels(runs), strict=True)]


def _labels(runs: Sequence[TrainingRun]) -> list[str]:
    """Names of folders; whole paths where two have the same name."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    paths = [str(run.folder) for run in runs]
    return [
        path if paths.count(path) == 1 else f"{path} ({at})" for at, path in enumerate(paths, 1)
    ]


def _read(run: TrainingRun, label: str) -> TrainingData:
    if run.is_tuning:
        frame = run.differences_over_time
        kept = frame[frame["status"] != "identical"].reset_index(drop=True) if len(frame) else frame
        last = _last(frame)
        return TrainingData(run, outcome_of(run), history_of(run), kept, (), label, last)
    history = history_of(run)
    frame = history.frame.copy()
    if history.changes:
        place = {step: at for at, step in enumerate(history.steps)}
        frame[CHANGE.name] = [
            history.changes[name][place[step]] if name in history.changes else None
            for name, step in zip(frame["param_name"], frame["step"], strict=True)
        ]
        frame[CHANGE.name] = frame[CHANGE.name].astype("float64")
    return TrainingData(
        run, outcome_of(run), history, frame, statements(history, run.steps_done), label
    )


def _last(frame: pd.DataFrame) -> Difference | None:
    """The rows of the last step."""
    if not len(frame):
        return None
    step = int(frame["step"].iloc[-1])
    rows = frame[frame["step"] == step].drop(columns="step").astype(object)
    return Difference(step, rows.where(rows.notna(), None).to_dict("records"))


def snapshot_metrics(frame: pd.DataFrame) -> list[str]:
    """Columns of numbers that a map over the steps can show, the first drawn first."""
    names = [n for n in metric_names(frame) if n != "step" and n not in _NOT_SHOWN]
    first = [name for name in _FIRST if name in names]
    return [*first[:1], *(name for name in names if name not in first[:1])]
