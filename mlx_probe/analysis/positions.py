"""Where a run's values of a column lie against the typical range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.compare.config import KIND
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.analysis.tables import columns_by_table
from mlx_probe.analysis.typical import (
    POPULATIONS,
    Spread,
    is_measured,
    plain_values,
    scale_of,
    scaled,
    spreads_of,
)
from mlx_probe.core.errors import ResultError
from mlx_probe.core.language import tr
from mlx_probe.core.records import Column
from mlx_probe.runs.load import load_run
from mlx_probe.runs.load_side import load_side_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Outside", "Position", "positions_in"]

_NUMBERS = ("int64", "float64", "bool")
# What tells the rows of one tensor apart.
_APART = (("expert_index", "[{}]"), ("part", " ({})"))


@dataclass(frozen=True)
class Outside:
    """A row whose value lies outside of the typical range.

    Attributes:
        row: The tensor, expert or head.
        value: Its value, divided as the range is.
    """

    row: str
    value: float


@dataclass(frozen=True)
class Position:
    """A column's values in one table of a run.

    Attributes:
        name: The column's name.
        table: The table.
        count: Rows with a value; of a measured column, those of matrices.
        divided_by: What the values are divided by; "" for nothing.
        values: Quantiles at 5, 50 and 95 %; of truth values the share of true ones. None for
            texts, and without a value.
        least: Smallest value.
        greatest: Largest value.
        typical_low: Smallest low end among trained models that were measured; None if none was.
        typical_high: Largest high end among them.
        outside: Rows outside of these, the farthest first.
        counts: Of a column of texts how often each occurs, the most frequent first.
        of_sample: Whether a sample left rows of the run out.
    """

    name: str
    table: str
    count: int
    divided_by: str
    values: Spread | None
    least: float | None = None
    greatest: float | None = None
    typical_low: float | None = None
    typical_high: float | None = None
    outside: tuple[Outside, ...] = ()
    counts: Mapping[str, int] | None = None
    of_sample: bool = False

    def as_json(self) -> dict[str, Any]:
        """All attributes, as JSON values."""
        return asdict(self)


def positions_in(run: str | Path, name: str) -> list[Position]:
    """Where a run's values of a column lie, once for each of its tables that has the column.

    Args:
        run: A run folder, its run_meta.json, or one of its tables.
        name: The column's name.

    Raises:
        ResultError: There is no finished run, its files are damaged, or no table of it has the
            column.
    """
    columns = {
        table: column
        for table, all_of_it in columns_by_table().items()
        for column in all_of_it
        if column.name == name
    }
    tables = _tables(run)
    of_sample = any(frame.attrs.get("meta", {}).get("sample") for frame in tables.values())
    positions = [
        replace(_position(table, columns[table], frame), of_sample=of_sample)
        for table, frame in tables.items()
        if table in columns and name in frame
    ]
    if not positions:
        raise ResultError(
            f"{run}: no table of the run has the column {name}",
            "Run `mlx-probe analyze` with a metric set that has it: `mlx-probe explain` says which",
        )
    return positions


def _tables(run: str | Path) -> Mapping[str, pd.DataFrame]:
    frame = load_run(run)
    if frame.attrs["meta"].get("kind") == KIND:
        return {"compare": frame}
    sides = {name: load_side_table(run, name) for name in SIDES}
    return {"params": frame, **{name: side for name, side in sides.items() if side is not None}}


def _position(table: str, column: Column, frame: pd.DataFrame) -> Position:
    if column.type not in _NUMBERS:
        counts = frame[column.name].dropna().astype(str).value_counts()
        texts = {str(text): int(count) for text, count in counts.items()}
        return Position(column.name, table, int(counts.sum()), "", None, counts=texts)
    measured = is_measured(column)
    values = scaled(column, frame) if measured else plain_values(column, frame)
    known = values[~np.isnan(values)]
    if not known.size:
        return Position(column.name, table, 0, scale_of(column), None)
    if column.type == "bool":
        share = float(known.mean())
        return Position(column.name, table, known.size, "", Spread(share, share, share))
    trained = [
        spread
        for key, spread in spreads_of(table, column.name).items()
        if POPULATIONS[key].is_trained
    ]
    low = min((spread.low for spread in trained), default=None)
    high = max((spread.high for spread in trained), default=None)
    quantiles = np.quantile(known, (0.05, 0.5, 0.95), method="closest_observation")
    return Position(
        column.name,
        table,
        known.size,
        scale_of(column),
        Spread(*map(float, quantiles)),
        float(known.min()),
        float(known.max()),
        low,
        high,
        () if low is None or high is None else _outside(frame, values, low, high),
    )


def _outside(
    frame: pd.DataFrame, values: NDArray[np.float64], low: float, high: float
) -> tuple[Outside, ...]:
    # The ends were rounded to three digits when they were measured.
    slack = 1e-3 * max(abs(low), abs(high))
    distances = np.maximum(low - slack - values, values - high - slack)
    rows = [int(row) for row in np.argsort(-distances, kind="stable") if distances[row] > 0]
    return tuple(Outside(_label(frame, row), float(values[row])) for row in rows)


def _label(frame: pd.DataFrame, row: int) -> str:
    """The tensor's name with expert and part; of a head its layer, circuit and number."""
    import pandas as pd

    values = frame.iloc[row]
    if "head_index" in frame:
        return tr(
            "layer {layer}, {circuit} of head {head}",
            layer=values["layer_index"],
            circuit=values["circuit"],
            head=values["head_index"],
        )
    name = values["param_name"]
    text = str(values["other_name"] if pd.isna(name) and "other_name" in values else name)
    for column, form in _APART:
        if column in values and not pd.isna(values[column]):
            text += form.format(values[column])
    return text
