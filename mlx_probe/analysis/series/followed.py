"""The columns that a series follows, and on which scale each of them is judged."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS

__all__ = ["FOLLOWED", "Followed", "followed"]

Direction = Literal["falls", "rises"]

# What a share of all elements is added to, and a smallest count, before the logarithm.
_SHARE_OFFSET, _COUNT_OFFSET = 0.01, 1.0
# Of a value that was above 0 and is not any more; any smaller number would do.
_NOTHING = 1e-30


@dataclass(frozen=True)
class Followed:
    """A column that is followed.

    Attributes:
        column: Its name.
        scale: "log": natural logarithm. "count": of a whole number that may be 0, logarithm of one
            more. "share": of a share of one. "plain": in units of the median magnitude.
        least: Standard deviation on that scale that an interval has at least.
        collapse: In which direction a change by a factor of two is a collapse.
    """

    column: str
    scale: Literal["log", "count", "share", "plain"] = "log"
    least: float = 0.01
    collapse: Direction | None = None

    def scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The series on the scale on which they are judged.

        Args:
            values: Shape (series, steps); NaN where there is none.

        Returns:
            The same shape. What is 0 from the beginning, as a half of an adapter, is NaN on the
            scale "log" until it is something.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.scale == "count":
                return np.log(values + _COUNT_OFFSET)
            if self.scale == "share":
                return np.log(values + _SHARE_OFFSET)
            if self.scale == "log":
                begun = np.maximum.accumulate(np.nan_to_num(values), axis=1) > 0
                return np.where(begun & (values >= 0), np.log(np.maximum(values, _NOTHING)), np.nan)
        finite = np.where(np.isfinite(values), values, np.nan)
        usual = [
            float(np.median(np.abs(row[~np.isnan(row)]))) if (~np.isnan(row)).any() else 1.0
            for row in finite
        ]
        scaled: NDArray[np.float64] = finite / np.maximum(np.asarray(usual), _NOTHING)[:, None]
        return scaled

    def least_of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The least standard deviation of each series: a count moves by whole numbers."""
        if self.scale != "count":
            return np.full(len(values), self.least)
        largest = np.max(np.nan_to_num(values), axis=1, initial=0.0)
        counted: NDArray[np.float64] = 1.0 / np.maximum(1.0, largest)
        return np.maximum(self.least, np.minimum(counted, 0.2))


# In the order in which they are said.
FOLLOWED = (
    Followed("rank", "count", collapse="falls"),
    Followed("effective_rank", collapse="falls"),
    Followed("stable_rank", collapse="falls"),
    Followed("spectral_norm", collapse="rises"),
    Followed("rms", collapse="rises"),
    Followed("zero_fraction", "share", 0.1, collapse="rises"),
    Followed("alpha", least=0.02),
    # Of the set "full".
    Followed("dead_rows", "count", 0.2, collapse="rises"),
    Followed("dead_columns", "count", 0.2, collapse="rises"),
)


def followed(names: Sequence[str]) -> tuple[Followed, ...]:
    """The columns that a user names; `FOLLOWED` without any.

    Args:
        names: Columns of metrics that are numbers.

    Raises:
        ConfigError: There is no such column.
    """
    if not names:
        return FOLLOWED
    known = {one.column: one for one in FOLLOWED}
    columns = {m.column.name: m.column for m in METRICS if m.column.type in ("int64", "float64")}
    for name in names:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"Did you mean {near[0]}?" if near else "See `mlx-probe explain`"
            raise ConfigError(f"--column {name!r} is no metric that is a number", hint)
    return tuple(known.get(name) or _usual(columns[name]) for name in dict.fromkeys(names))


def _usual(column: Column) -> Followed:
    if column.type == "int64":
        return Followed(column.name, "count")
    positive = column.lower is not None and column.lower >= 0
    if positive and column.upper is not None and column.upper <= 1:
        return Followed(column.name, "share", 0.1)
    return Followed(column.name, "log" if positive else "plain")
