"""A finished run as the table of runs needs it: few columns, and no weights."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.compare_runs.depth import depth_bins, grouped_medians
from mlx_probe.analysis.compare_runs.groups import (
    GROUP_COLUMNS,
    Grouping,
    block_types,
    groupings,
    layer_counts,
    whole_matrices,
)
from mlx_probe.analysis.compare_runs.records import Bins, Group
from mlx_probe.analysis.compare_runs.summaries import (
    SUMMARY_COLUMNS,
    computed_summary,
    stored_summary,
    summary_names,
)
from mlx_probe.core.errors import ResultError
from mlx_probe.runs.load import locate_run, read_listed
from mlx_probe.runs.meta import read_run_meta
from mlx_probe.runs.table.arrays import to_floats

__all__ = ["Header", "Numbers", "open_header", "read_numbers"]

_AGAIN = "Analyze the model again with this version"
# Without these a row cannot be said to be about the same as one of another run.
_NEEDED = ("layer_index", "component", "block_type", "param_name", "rows")
_NUMERIC = ("int64", "float64")
# Of columns whose medians are taken together: 8 MB, a few times.
_ELEMENTS = 1_000_000
# Columns of numbers that measure nothing of the weights.
_NO_METRICS = frozenset(
    (
        *("layer_index", "expert_index", "rows", "cols"),
        *("read_seconds", "compute_seconds", "read_gbps"),
    )
)


@dataclass(frozen=True)
class Header:
    """What a run's metadata say of it.

    Attributes:
        path: Its run_meta.json.
        meta: Its content.
        summary: Numbers of its summary; None if the metadata have none.
        columns: Columns of numbers in its table.
        every: All of its columns.
    """

    path: Path
    meta: Mapping[str, Any]
    summary: Mapping[str, float] | None
    columns: tuple[str, ...]
    every: frozenset[str]

    @property
    def summed(self) -> tuple[str, ...]:
        """Names of the numbers of its summary."""
        return tuple(summary_names(self.every) if self.summary is None else self.summary)


@dataclass(frozen=True)
class Numbers:
    """What a run's table says.

    Attributes:
        layers: Layers of the model.
        block_types: Its known block types.
        summary: Numbers of the summary.
        medians: For each column the median over the run's matrices; None without a number.
        profiles: For each column and group the medians over relative depth.
    """

    layers: int
    block_types: frozenset[str]
    summary: Mapping[str, float]
    medians: Mapping[str, float | None]
    profiles: Mapping[str, Mapping[Group, Bins]]


def open_header(run: str | Path) -> Header:
    """Read the metadata of a run.

    Args:
        run: A run folder, its run_meta.json, or one of its tables; a model's folder for its
            latest run.

    Raises:
        ResultError: There is no finished run, or it is none of `analyze`, or of a version whose
            tables lack what is needed.
    """
    path = locate_run(Path(run).expanduser())
    meta = read_run_meta(path)
    if meta.get("kind") == "compare":
        raise ResultError(
            f"{path} is a comparison of two models", "Name runs of `mlx-probe analyze`"
        )
    try:
        # No records of the columns: they take longer than to read some of these.
        types = {str(entry["name"]): str(entry["type"]) for entry in meta["columns"]}
        if not isinstance(meta["model"], dict):
            raise TypeError("the model is no object")
    except (AttributeError, KeyError, TypeError) as error:
        raise ResultError(
            f"{path} does not describe a run of mlx-probe: {error!r}", _AGAIN
        ) from error
    columns = tuple(n for n, kind in types.items() if kind in _NUMERIC and n not in _NO_METRICS)
    missing = [name for name in _NEEDED if name not in types]
    if missing or not columns:
        what = ", ".join(missing) or "column of numbers"
        raise ResultError(f"{path} is of a version whose tables had no {what}", _AGAIN)
    return Header(path, meta, stored_summary(meta, types), columns, frozenset(types))


def read_numbers(header: Header, names: Collection[str], by: Sequence[str], bins: int) -> Numbers:
    """Read columns of a run and take their medians.

    Args:
        header: Of the run.
        names: Columns of numbers, and numbers of the summary; those that the run does not have
            give none.
        by: Keys of `groups.BY`.
        bins: Number of bins of relative depth.

    Raises:
        ResultError: The table is gone or damaged.
    """
    wanted = [name for name in header.columns if name in names]
    # The summary of an older run is computed from the same columns, read at once.
    missing = header.summary is None and not set(names) <= set(header.columns)
    more = SUMMARY_COLUMNS if missing else ()
    table, _ = read_listed(header.path, header.meta, {*GROUP_COLUMNS, *wanted, *more})
    summary = header.summary or {}
    if missing:
        summary = computed_summary(table, header.meta, header.every)
    columns: dict[str, list[Any]] = {
        name: table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
        for name in GROUP_COLUMNS
    }
    declared = _declared_layers(header.meta)
    counts = layer_counts(columns, declared)
    depth = depth_bins(to_floats(table["layer_index"]), counts, bins)
    grouped, own = groupings(columns, by), whole_matrices(columns)
    medians: dict[str, float | None] = {}
    profiles: dict[str, dict[Group, Bins]] = {name: {} for name in wanted}
    together = max(1, _ELEMENTS // max(table.num_rows, 1))
    for start in range(0, len(wanted), together):
        some = wanted[start : start + together]
        values = np.stack([to_floats(table[name]) for name in some])
        whole = grouped_medians(values, np.where(own, 0, -1), 1)[:, 0]
        medians.update(zip(some, map(_number, whole.tolist()), strict=True))
        for grouping in grouped:
            for at, group, line in _lines(values, grouping, depth, bins):
                profiles[some[at]][group] = line
    layers = int(counts.max(initial=declared))
    return Numbers(layers, block_types(columns), summary, medians, profiles)


def _lines(
    values: NDArray[np.float64], grouping: Grouping, depth: NDArray[np.int64], bins: int
) -> Iterator[tuple[int, Group, Bins]]:
    """Each column's number and group with its medians over relative depth, if there are any."""
    keys = np.where((grouping.codes >= 0) & (depth >= 0), grouping.codes * bins + depth, -1)
    count = len(grouping.groups)
    lines = grouped_medians(values, keys, count * bins).reshape(-1, bins)
    for at in np.flatnonzero(~np.isnan(lines).all(axis=1)).tolist():
        yield at // count, grouping.groups[at % count], tuple(map(_number, lines[at].tolist()))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _declared_layers(meta: Mapping[str, Any]) -> int:
    """Layers of the model by its configuration; 0 if it does not say."""
    architecture = meta["model"].get("architecture")
    layers = architecture.get("layers") if isinstance(architecture, Mapping) else None
    return layers if isinstance(layers, int) and layers > 0 else 0
