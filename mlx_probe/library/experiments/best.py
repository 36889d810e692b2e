"""The best run by a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.experiments.conditions import quantity_of
from mlx_probe.library.experiments.directions import direction_of
from mlx_probe.library.experiments.records import StoredRun

__all__ = ["Best", "best_runs"]


@dataclass(frozen=True)
class Best:
    """The best runs by a metric.

    Attributes:
        metric: Its name.
        direction: "min" or "max": which is the better.
        value: The best value.
        runs: The runs that have it, the newest first; several are a tie.
        ranked: All runs that have the metric, with their values, the best first.
        missing: Number of runs that do not have it.
    """

    metric: str
    direction: str
    value: float
    runs: tuple[StoredRun, ...]
    ranked: tuple[tuple[StoredRun, float], ...]
    missing: int


def best_runs(
    runs: Sequence[StoredRun], every: Sequence[StoredRun], metric: str, direction: str = ""
) -> Best:
    """The best of some runs.

    Args:
        runs: The runs, the newest first.
        every: All runs of the catalog, which say what ``metric`` may be.
        metric: Name of a metric.
        direction: "min" or "max"; "" for that of `DIRECTIONS`.

    Raises:
        ConfigError: No run of the catalog has the metric, or nobody knows which way it is better.
        ResultError: None of ``runs`` has it.
    """
    name = quantity_of(every, f"metrics.{metric.removeprefix('metrics.')}").name
    direction = direction or direction_of(name)
    if not direction:
        raise ConfigError(
            f"nothing says whether a larger or a smaller {name} is better", "Add --max or --min"
        )
    valued = [(run, run.metrics[name]) for run in runs if name in run.metrics]
    if not valued:
        raise ResultError(
            f"none of the {len(runs)} runs that match has {name}",
            "Leave a condition out, or see `mlx-probe runs list`",
        )
    ranked = sorted(valued, key=lambda pair: pair[1], reverse=direction == "max")
    best = ranked[0][1]
    return Best(
        metric=name,
        direction=direction,
        value=best,
        runs=tuple(run for run, value in ranked if value == best),
        ranked=tuple(ranked),
        missing=len(runs) - len(valued),
    )
