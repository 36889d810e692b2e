"""From the metrics of training runs to the points of curves over their steps."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from mlx_probe.analysis.robust import spans_decades
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import Column
from mlx_probe.report.figures.records import Series, Stretch
from mlx_probe.report.training_series import bytes_per_token, envelope, with_train_bpb
from mlx_probe.runs.training.metrics import COLUMNS, TRAIN_BPB
from mlx_probe.runs.training.run import TrainingRun, load_training_run

__all__ = ["OVER", "collect_series", "labelled_training"]

# What a curve may be drawn over.
OVER = ("step", "tokens", "seconds")
# Points of one curve: a print has no more.
_MOST_POINTS = 2000
_KNOWN = {column.name: column for column in (*COLUMNS, TRAIN_BPB)}


def labelled_training(paths: Sequence[str | os.PathLike[str]]) -> dict[str, TrainingRun]:
    """Training runs by the names of their folders; by their paths where names are the same.

    Raises:
        ResultError: One is no training run, or a file is damaged.
        ConfigError: One is named twice.
    """
    runs = [load_training_run(path) for path in paths]
    names = [run.name for run in runs]
    labels = names if len({*names}) == len(names) else [str(run.folder) for run in runs]
    if len({*labels}) < len(labels):
        raise ConfigError("a training run is named twice", "Leave one of them out")
    return dict(zip(labels, runs, strict=True))


def collect_series(runs: Mapping[str, TrainingRun], metric: str, over: str = OVER[0]) -> Series:
    """The numbers of a column of metrics.jsonl, by run and step.

    A point of a run with more than 2,000 numbers is the mean of a stretch of them, at its end,
    with the least and the largest: a jump of one step in a hundred thousand is in it.

    Args:
        runs: Training runs by their labels.
        metric: A column of numbers.
        over: One of `OVER`.

    Raises:
        ConfigError: A run has no such numbers.
    """
    if over not in OVER:
        raise ConfigError(
            f"a curve cannot be drawn over {over!r}", f"Choose from {', '.join(OVER)}"
        )
    points = [point for label, run in runs.items() for point in _points(label, run, metric, over)]
    column = _KNOWN.get(metric, Column(metric, "float64", "training", ""))
    return Series(
        runs=tuple(runs),
        metric=metric,
        title=column.title or column.name,
        unit=column.unit,
        log=spans_decades(np.array([point.value for point in points])),
        points=tuple(points),
        over=over,
        over_title=_KNOWN[over].title,
        over_unit=_KNOWN[over].unit if over == "seconds" else "",
    )


def _points(label: str, run: TrainingRun, metric: str, over: str) -> Iterator[Stretch]:
    frame = with_train_bpb(run.metrics, bytes_per_token(run))
    places = frame[over].to_numpy(float)
    numbers = [
        str(name)
        for name in frame
        if name not in OVER and (np.isfinite(frame[name].to_numpy(float)) & ~np.isnan(places)).any()
    ]
    if metric not in numbers:
        _refuse(label, metric, over, numbers)
    kept: pd.DataFrame = frame[np.isfinite(frame[metric].to_numpy(float)) & ~np.isnan(places)]
    each = -(-len(kept) // _MOST_POINTS)
    parts = envelope(kept[metric].to_numpy(float), _MOST_POINTS)
    for at, (value, low, high) in enumerate(
        zip(parts["mean"], parts["low"], parts["high"], strict=True)
    ):
        rows = kept.iloc[at * each : (at + 1) * each]
        last = rows.iloc[-1]
        yield Stretch(
            run=label,
            step=int(last["step"]),
            tokens=_number(last["tokens"]),
            seconds=_number(last["seconds"]),
            value=float(value),
            low=float(low),
            high=float(high),
            count=len(rows),
        )


def _refuse(label: str, metric: str, over: str, numbers: Sequence[str]) -> None:
    fact = f"{label} has no numbers in a column {metric!r}"
    if over != OVER[0]:
        fact += f" over {over}"
    near = difflib.get_close_matches(metric, numbers, n=3)
    if near:
        raise ConfigError(fact, f"Did you mean {' or '.join(near)}?")
    remedy = f"Choose from {', '.join(numbers)}" if numbers else "Choose another run"
    raise ConfigError(fact, remedy)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
