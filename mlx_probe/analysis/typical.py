"""What values of a column are usual: measured ones, and the sentence about them.

The numbers are in ``typical.json``, which ``benchmarks/typical.py`` writes. `POPULATIONS` is the
table of what was measured; a new one is a line there and a measurement in the benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.column_texts import SCALES
from mlx_probe.core.language import tr
from mlx_probe.core.records import Column

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "POPULATIONS",
    "Population",
    "Spread",
    "is_measured",
    "number_text",
    "plain_values",
    "scale_of",
    "scaled",
    "spreads_of",
    "typical_text",
    "with_typical_texts",
]


_MEASURED = "{measured}"


@dataclass(frozen=True)
class Population:
    """Matrices whose values were measured.

    Attributes:
        text: How a range in it is told.
        is_trained: Whether these are weights of a trained model.
    """

    text: str
    is_trained: bool = False


POPULATIONS: Mapping[str, Population] = {
    "smollm2": Population("{range} in SmolLM2-135M", is_trained=True),
    "minilm": Population("{range} in MiniLM-L6", is_trained=True),
    "gaussian": Population("{range} in Gaussian noise"),
    "experts": Population("{range} among 16 random experts"),
    "bfloat16": Population("{range} for MiniLM-L6 stored in bfloat16"),
    "q4": Population("{range} for MiniLM-L6 rounded to 4 bits"),
}


@dataclass(frozen=True)
class Spread:
    """Quantiles of a column over the matrices of a population.

    Attributes:
        low: At 5 %.
        median: At 50 %.
        high: At 95 %.
    """

    low: float
    median: float
    high: float


@cache
def _measured() -> Mapping[str, Mapping[str, Mapping[str, tuple[float, float, float]]]]:
    """Quantiles by table, column and population."""
    text = files(__package__).joinpath("typical.json").read_text("utf-8")
    measured: dict[str, dict[str, dict[str, tuple[float, float, float]]]] = json.loads(text)
    return measured


def spreads_of(table: str, name: str) -> Mapping[str, Spread]:
    """What was measured of a column, by population in the order of `POPULATIONS`.

    The values are divided by what `SCALES` says of the column's `typical`.

    Args:
        table: "params", "compare", "heads" ...
        name: The column's.
    """
    measured = _measured().get(table, {}).get(name, {})
    return {key: Spread(*measured[key]) for key in POPULATIONS if key in measured}


def is_measured(column: Column) -> bool:
    """Whether a column's usual values are measured ones."""
    return _MEASURED in column.typical


def typical_text(column: Column, table: str = "params") -> str:
    """The sentence on a column's usual values, in the reader's language.

    Args:
        column: A column.
        table: The table that it is in.
    """
    if not is_measured(column):
        return tr(column.typical) if column.typical else ""
    ranges = [
        # Each population's text is a literal of the table above.
        tr(POPULATIONS[key].text, range=_range_text(spread))
        for key, spread in spreads_of(table, column.name).items()
    ]
    if not ranges:
        return tr("Not measured yet.")
    return tr(column.typical, measured=tr("; ").join(ranges))


def with_typical_texts(columns: Iterable[Column], table: str) -> tuple[Column, ...]:
    """Columns whose `typical` is the finished sentence, in the reader's language.

    Args:
        columns: Columns of the table.
        table: Its name.
    """
    return tuple(replace(column, typical=typical_text(column, table)) for column in columns)


def _range_text(spread: Spread) -> str:
    low, median, high = map(number_text, (spread.low, spread.median, spread.high))
    if low == high:
        return median
    return tr("{low} to {high} (median {median})", low=low, high=high, median=median)


def number_text(value: float) -> str:
    """A number with two significant digits, three just below 1, without needless exponents."""
    short = float(f"{value:.3g}" if 0.9 <= abs(value) < 1 else f"{value:.2g}")
    return f"{short:,.0f}" if 1000 <= abs(short) < 1e15 else f"{short:g}"


def scale_of(column: Column) -> str:
    """What a column's values are divided by before they are compared: a key, "" for nothing."""
    return SCALES.get(column.typical, "")


def scaled(column: Column, frame: pd.DataFrame) -> NDArray[np.float64]:
    """A column's values as they are compared with the typical range.

    Args:
        column: A column of numbers or truth values.
        frame: Rows of its table.

    Returns:
        One value for each row, NaN for a null, for what has no spectrum, and where the status is
        not ok.
    """
    values = _floats(frame, column.name)
    if "status" in frame:
        values = np.where(frame["status"] == "ok", values, np.nan)
    for method in ("spectrum_method", "delta_spectrum_method"):
        if method in frame:
            values = np.where(frame[method].notna(), values, np.nan)
    scale = scale_of(column)
    if not scale:
        return values
    by = (
        np.minimum(_floats(frame, "rows"), _floats(frame, "cols"))
        if scale == "short_side"
        else _floats(frame, scale)
    )
    return np.divide(values, by, out=np.full_like(values, np.nan), where=by > 0)


def plain_values(column: Column, frame: pd.DataFrame) -> NDArray[np.float64]:
    """A column's values as they are, NaN for a null."""
    return _floats(frame, column.name)


def _floats(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return np.array(frame[name].astype("Float64").to_numpy(np.float64, na_value=np.nan))
