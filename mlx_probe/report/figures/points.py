"""From the rows of runs to the points of a figure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from statistics import median

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlx_probe.analysis.robust import spans_decades
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.checkpoint.naming.rules import TOWERS
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import METRIC_LEVELS, Column, MetricLevel
from mlx_probe.metrics import METRICS
from mlx_probe.report.figures.records import Point, Points
from mlx_probe.report.numbers import floats
from mlx_probe.report.reliability import unreliable
from mlx_probe.report.run_data import RunData, group_labels, metric_names

__all__ = ["MAIN", "collect_points", "tensor_labels"]

# The table that every run has.
MAIN = "params"


@dataclass(frozen=True)
class _Table:
    """The table that is drawn: of the run itself, or beside it."""

    frame: pd.DataFrame
    columns: Mapping[str, Column]
    rows_are: str
    groups: Sequence[str]
    panels: Sequence[str]
    tensors: Sequence[str]


def collect_points(
    runs: Mapping[str, RunData],
    metric: str,
    *,
    table: str = MAIN,
    only: Sequence[str] = (),
    merged: bool = True,
) -> Points:
    """The numbers of a column, by run, group and layer.

    Args:
        runs: Runs by their labels.
        metric: A column of numbers.
        table: `MAIN` or a key of `SIDES`.
        only: Globs on groups; empty for all.
        merged: Whether several tensors in one place become their median.

    Raises:
        ConfigError: A run lacks the table or the column, or nothing is left of it.
    """
    points: list[Point] = []
    column, layers, rows_are = Column(metric, "float64", "", ""), 0, "block_type"
    for label, data in runs.items():
        rows = _table(label, data, table)
        _require(label, data, rows.frame, metric)
        column, rows_are = rows.columns.get(metric, column), rows.rows_are
        found = [point for point in _points(label, rows, metric) if _wanted(point.group, only)]
        if not found:
            known = ", ".join(dict.fromkeys(rows.groups))
            raise ConfigError(
                f"{label} has no {metric} in {rows_are} {', '.join(only)}",
                f"Choose from {known}",
            )
        layers = max(layers, 1 + max((p.layer for p in found if p.layer is not None), default=-1))
        points += _merged(found) if merged else found
    values = np.array([point.value for point in points])
    return Points(
        runs=tuple(runs),
        metric=metric,
        title=column.title or column.name,
        unit=column.unit,
        log=spans_decades(values),
        points=tuple(points),
        rows_are=rows_are,
        layers=layers,
    )


def tensor_labels(frame: pd.DataFrame) -> list[str]:
    """Each row's tensor, with its expert and part."""
    names = _texts(frame, "param_name")
    labels = []
    for name, other, expert, part in zip(
        names,
        _texts(frame, "other_name"),
        _texts(frame, "expert_index"),
        _texts(frame, "part"),
        strict=True,
    ):
        # Rows of a comparison that only the second model has.
        label = name or other
        label += f"[{expert}]" if expert else ""
        labels.append(f"{label} ({part})" if part else label)
    return labels


def _texts(frame: pd.DataFrame, name: str) -> list[str]:
    if name not in frame:
        return [""] * len(frame)
    return ["" if pd.isna(value) else str(value) for value in frame[name]]


def _table(label: str, data: RunData, name: str) -> _Table:
    if name == MAIN:
        frame = data.frame
        columns = {column.name: column for column in data.columns}
        nothing = [""] * len(frame)
        groups = group_labels(frame)
        return _Table(frame, columns, "block_type", groups, nothing, tensor_labels(frame))
    if name not in data.sides:
        has = ", ".join((MAIN, *data.sides))
        raise ConfigError(
            f"{label} has no table {name!r}, it has {has}",
            f"Analyze it with --metrics {SIDES[name].level}, or choose another table"
            if name in SIDES
            else "Choose another table",
        )
    side, frame = SIDES[name], data.sides[name]
    columns = {column.name: column for column in side.columns}
    rows = side.map_rows if side.map_rows in frame else None
    groups = _texts(frame, rows) if rows else [name] * len(frame)
    panels = _texts(frame, side.group) if side.group else [""] * len(frame)
    return _Table(frame, columns, rows or name, groups, panels, _texts(frame, "param_name"))


def _require(label: str, data: RunData, frame: pd.DataFrame, metric: str) -> None:
    names = metric_names(frame)
    if metric in names:
        return
    fact = f"{label} has no numbers in a column {metric!r}"
    if frame is data.frame and (level := _larger_set(data, metric)) is not None:
        raise ConfigError(fact, f"Analyze it with --metrics {level}, or choose another column")
    near = difflib.get_close_matches(metric, names, n=3)
    if near:
        raise ConfigError(fact, f"Did you mean {' or '.join(near)}?")
    remedy = f"Choose from {', '.join(names)}" if names else "Choose another run"
    raise ConfigError(fact, remedy)


def _larger_set(data: RunData, name: str) -> MetricLevel | None:
    """The metric set that has a column, if that of the run is too small for it."""
    metric = next((metric for metric in METRICS if metric.name == name), None)
    settings = data.meta.get("configuration")
    level = settings.get("metrics") if isinstance(settings, Mapping) else None
    if metric is None or level not in METRIC_LEVELS or metric.is_in(level):
        return None
    return metric.level


def _wanted(group: str, only: Sequence[str]) -> bool:
    return not only or any(fnmatchcase(group, pattern) for pattern in only)


def _points(label: str, table: _Table, metric: str) -> Iterator[Point]:
    """A point for each row that has a number, groups in the order of the table."""
    frame = table.frame
    values = floats(frame, metric)
    nowhere = np.full(len(frame), np.nan)
    layers = floats(frame, "layer_index") if "layer_index" in frame else nowhere
    depths = _depths(layers, _texts(frame, "component"))
    bad = unreliable(frame, metric)
    order = {group: at for at, group in enumerate(dict.fromkeys(table.groups))}
    numeric = all(group.isdigit() for group in order)
    places = [int(g) if numeric else order[g] for g in table.groups]
    present = map(int, np.flatnonzero(np.isfinite(values)))
    for row in sorted(present, key=places.__getitem__):
        value, inside = float(values[row]), bool(np.isfinite(layers[row]))
        yield Point(
            run=label,
            panel=table.panels[row],
            group=table.groups[row],
            tensor=table.tensors[row],
            layer=int(layers[row]) if inside else None,
            depth=float(depths[row]) if inside else None,
            value=value,
            low=value,
            high=value,
            count=1,
            reliable=None if bad is None else not bad[row],
        )


def _depths(layers: NDArray[np.float64], components: Sequence[str]) -> NDArray[np.float64]:
    """Each layer over the last one of its tower: a vision tower has its own layers."""
    towers = np.array([name if name in TOWERS else "" for name in components], dtype=object)
    depths = np.full(len(layers), np.nan)
    for tower in dict.fromkeys(towers):
        own = (towers == tower) & np.isfinite(layers)
        if own.any():
            depths[own] = layers[own] / max(1.0, float(layers[own].max()))
    return depths


def _merged(points: Sequence[Point]) -> list[Point]:
    """One point for each place: the median of its tensors, as in the page's maps."""
    places: dict[tuple[str, str, int | None], list[Point]] = {}
    for point in points:
        places.setdefault((point.panel, point.group, point.layer), []).append(point)
    merged = []
    for members in places.values():
        values = [member.value for member in members]
        judged = [member.reliable for member in members if member.reliable is not None]
        merged.append(
            replace(
                members[0],
                value=median(values),
                low=min(values),
                high=max(values),
                count=len(values),
                reliable=sum(judged) * 2 >= len(judged) if judged else None,
            )
        )
    return merged
