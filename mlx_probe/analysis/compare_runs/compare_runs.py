"""Any number of finished runs side by side, from what they recorded: no weight is read."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_probe.analysis.columns import BASE_COLUMNS
from mlx_probe.analysis.compare_runs.groups import BY
from mlx_probe.analysis.compare_runs.reading import Header, Numbers, open_header, read_numbers
from mlx_probe.analysis.compare_runs.records import (
    ComparedRun,
    Group,
    RunsTable,
    TableMetric,
)
from mlx_probe.analysis.compare_runs.relative import relative_to
from mlx_probe.analysis.compare_runs.settings import deviating, find_differences, settings_of
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.metrics import METRICS

__all__ = ["ALL", "ORDERS", "compare_runs"]

# In place of a metric's name: all that any of the runs has.
ALL = "all"
# Shown unless the user chooses, if any of the runs has them.
_DEFAULT = (
    *("parameters", "stable_rank", "effective_rank_share", "mean_alpha_reliable", "reliable_share"),
    *("q4_nrmse", "effective_rank", "alpha", "kurtosis", "rank", "std"),
)
_MOST_DEFAULT = 5


def compare_runs(
    runs: str | Path | Iterable[str | Path],
    *,
    metrics: Sequence[str] = (),
    sort: str | None = None,
    ascending: bool | None = None,
    by: Sequence[str] = ("component",),
    bins: int = 10,
    relative: bool = False,
) -> RunsTable:
    """Put finished runs of `analyze` side by side.

    Only what the runs recorded is read, and of their tables only the columns that are needed:
    models may be gone, and of any architecture. A run that cannot be read has a line with the
    reason.

    Args:
        runs: One run or several: run folders, their run_meta.json, or tables; a model's folder
            for its latest run. A run that is named twice is listed once.
        metrics: Columns of the runs' tables, for their medians over a run's matrices, or numbers
            of the runs' summaries; "all" for all. Empty for a few. A mean of the summary that is
            called like a column is ``mean_...`` here.
        sort: The metric to sort by, or one of `ORDERS`; None for the first metric.
        ascending: Whether the smallest comes first; None for the largest metric and the earliest
            of `ORDERS`. Runs with equal numbers are sorted by label.
        by: What the tensors are grouped by over the layers, keys of `BY`.
        bins: Bins of relative depth.
        relative: Whether all numbers are divided by those of the first run that can be read.

    Raises:
        ConfigError: A metric that no run has, an unknown grouping, or fewer than one bin.
        ResultError: No run can be read, or the runs have no block type in common.
    """
    _refuse_nonsense(by, bins)
    headers: dict[Path, Header] = {}
    damaged: list[ComparedRun] = []
    for named in (runs,) if isinstance(runs, (str, os.PathLike)) else runs:
        try:
            header = open_header(named)
        except ResultError as error:
            damaged.append(_damaged(str(named), error))
            continue
        headers.setdefault(header.path.resolve(), header)
    known = list(headers.values())
    measured = None if sort in ORDERS else sort
    names = _chosen(metrics, measured, known)
    read: list[tuple[Header, Numbers]] = []
    for header in known:
        try:
            read.append((header, read_numbers(header, names, by, bins)))
        except ResultError as error:
            damaged.append(_damaged(str(header.path), error))
    if not read and not damaged:
        raise ConfigError("no run is named", "Name run folders")
    if not read:
        raise ResultError(
            "\n  ".join(["none of the runs can be read", *(run.problem for run in damaged)]),
            damaged[0].remedy if len(damaged) == 1 else "Name finished runs of `mlx-probe analyze`",
        )
    _refuse_strangers(read)
    lines = _described(read, names)
    names = _shown(names, metrics, measured, lines)
    lines = [_of(line, names) for line in lines]
    if relative:
        lines = relative_to(lines, lines[0])
    by_name = sort or names[0]
    upwards = by_name in ORDERS if ascending is None else ascending
    differences = find_differences(
        [line.label for line in lines], [line.settings for line in lines], names
    )
    marks = {
        name: tuple(each.setting for each in differences if name in each.metrics) for name in names
    }
    return RunsTable(
        runs=(*_sorted(lines, by_name, upwards), *damaged),
        metrics=tuple(_metric(name, known, marks[name]) for name in names),
        groups=_groups(lines),
        bins=bins,
        sort=by_name,
        ascending=upwards,
        differences=differences,
        reference=lines[0].path if relative else None,
    )


def _refuse_nonsense(by: Sequence[str], bins: int) -> None:
    for name in by:
        if name not in BY:
            raise ConfigError(f"runs are not grouped by {name!r}", f"Choose from {', '.join(BY)}")
    if bins < 1:
        raise ConfigError(f"{bins} bins hold no layer", "Choose 1 or more")


def _damaged(path: str, error: ResultError) -> ComparedRun:
    return ComparedRun(path, path, problem=error.fact, remedy=error.remedy)


def _chosen(metrics: Sequence[str], sort: str | None, headers: Sequence[Header]) -> list[str]:
    """Names of the metrics of the table, that of ``sort`` among them.

    Without a choice of the user's there are more than will be shown, as some may be empty.
    """
    known = dict.fromkeys(name for header in headers for name in (*header.summed, *header.columns))
    usual = [name for name in _DEFAULT if name in known] or list(known)[:1]
    wanted = [name for name in metrics if name != ALL]
    if ALL in metrics:
        wanted += [*usual, *known]
    elif not metrics:
        wanted = usual
    if sort is not None:
        wanted = [*wanted, sort]
    for name in wanted:
        # Without a run that can be read there is nothing to choose from.
        if headers and name not in known:
            near = difflib.get_close_matches(name, known, n=3) or list(known)
            raise ConfigError(
                f"none of the runs has a metric {name!r}", f"Choose from {', '.join(near)}"
            )
    return list(dict.fromkeys(wanted))


def _shown(
    names: Sequence[str], metrics: Sequence[str], sort: str | None, lines: Sequence[ComparedRun]
) -> list[str]:
    """The metrics that the user named, and others of which a run has a number."""
    named = {*metrics, sort}
    filled = [
        name
        for name in names
        if name in named or any(line.values[name] is not None for line in lines)
    ]
    if not metrics:
        filled = list(dict.fromkeys([*filled[:_MOST_DEFAULT], *([sort] if sort else [])]))
    return filled or [names[0]]


def _of(line: ComparedRun, names: Sequence[str]) -> ComparedRun:
    """The run with the numbers of these metrics alone."""
    return replace(
        line,
        values={name: line.values[name] for name in names},
        profiles={name: line.profiles[name] for name in names if name in line.profiles},
    )


def _refuse_strangers(read: Sequence[tuple[Header, Numbers]]) -> None:
    """Refuse runs that are about nothing that another one has as well."""
    if len(read) < 2:
        return
    counts = Counter(name for _, numbers in read for name in numbers.block_types)
    if not any(count > 1 for count in counts.values()):
        shown = "; ".join(
            f"{_model(header)[0]}: {', '.join(sorted(numbers.block_types)) or 'no known one'}"
            for header, numbers in read[:4]
        )
        raise ResultError(
            f"the {len(read)} runs have no block type in common ({shown})",
            "Name runs of models of one kind",
        )


def _described(read: Sequence[tuple[Header, Numbers]], names: Sequence[str]) -> list[ComparedRun]:
    labels = _labels([header for header, _ in read])
    settings = [settings_of(header.meta) for header, _ in read]
    strange = deviating(settings)
    lines = []
    for (header, numbers), label, own, differs in zip(read, labels, settings, strange, strict=True):
        model, revision = _model(header)
        lines.append(
            ComparedRun(
                path=str(header.path),
                label=label,
                model=model,
                revision=revision,
                created_at=str(header.meta.get("created_at", "")),
                layers=numbers.layers,
                settings=own,
                differs=differs,
                values={
                    name: numbers.summary.get(name, numbers.medians.get(name)) for name in names
                },
                profiles=numbers.profiles,
            )
        )
    return lines


def _model(header: Header) -> tuple[str, str]:
    model = header.meta["model"]
    return str(model.get("id") or model.get("path") or ""), str(model.get("revision", ""))


def _labels(headers: Sequence[Header]) -> list[str]:
    """The shortest names that distinguish the runs: model, folder too, or the whole path.

    The file is named only where a folder holds several runs.
    """
    shapes = [
        [_model(header)[0] for header in headers],
        [f"{_model(header)[0]} ({header.path.parent.name})" for header in headers],
        [str(header.path.parent) for header in headers],
    ]
    counts = [Counter(shape) for shape in shapes]
    return [
        next(
            (s[i] for s, count in zip(shapes, counts, strict=True) if count[s[i]] == 1), str(h.path)
        )
        for i, h in enumerate(headers)
    ]


def _sorted(lines: Sequence[ComparedRun], name: str, ascending: bool) -> list[ComparedRun]:
    """The runs by a metric or one of `ORDERS`; those without the number come last."""
    ordered = sorted(lines, key=lambda line: (_natural(line.label), line.path))
    if name in ORDERS:
        return sorted(ordered, key=ORDERS[name], reverse=not ascending)

    def key(line: ComparedRun) -> tuple[bool, float]:
        value = line.values[name]
        if value is None or math.isnan(value):
            return True, 0.0
        return False, value if ascending else -value

    return sorted(ordered, key=key)


def _natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts step-2 before step-10."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


# What runs can be sorted by, besides metrics.
ORDERS: Mapping[str, Callable[[ComparedRun], Any]] = {
    "run": lambda line: _natural(line.label),
    "created_at": lambda line: line.created_at,
}


def _metric(name: str, headers: Sequence[Header], marks: tuple[str, ...]) -> TableMetric:
    units: Mapping[str, str] = {
        column.name: column.unit for column in (*BASE_COLUMNS, *(m.column for m in METRICS))
    }
    summed = any(name in header.summed for header in headers)
    return TableMetric(
        name, "summary" if summed else "median", "" if summed else units.get(name, ""), marks
    )


def _groups(lines: Sequence[ComparedRun]) -> tuple[Group, ...]:
    found = {group: None for line in lines for groups in line.profiles.values() for group in groups}
    return tuple(sorted(found, key=lambda group: BY.index(group.by)))
