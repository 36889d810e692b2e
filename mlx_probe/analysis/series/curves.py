"""The table over steps as curves: a value for each tensor and step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Curves", "curves_of", "label_of"]


def label_of(name: str, expert: int | None, part: str | None) -> str:
    """What a row is called where experts and parts of one tensor are apart."""
    label = name if expert is None else f"{name}[{expert}]"
    return f"{label} ({part})" if part else label


@dataclass(frozen=True)
class Curves:
    """The tensors of a series over its steps.

    Attributes:
        steps: Ascending.
        names: Of the tensors, in the order in which they first occur; copies of other tensors
            (``alias_of``) are left out.
        layers: Layer of each tensor; None outside the layers.
        present: Whether a step has a tensor, shape (tensors, steps).
        columns: Numbers by column, each of shape (tensors, steps); NaN where there is none.
    """

    steps: tuple[int, ...]
    names: tuple[str, ...]
    layers: tuple[int | None, ...]
    present: NDArray[np.bool_]
    columns: Mapping[str, NDArray[np.float64]]

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """The steps as numbers."""
        return np.asarray(self.steps, np.float64)

    def column(self, name: str) -> NDArray[np.float64]:
        """A column; NaN throughout if the series has no such column.

        An exponent whose fit is not reliable is no number here.
        """
        nothing = np.full(self.present.shape, np.nan)
        values = self.columns.get(name, nothing)
        if name == "alpha":
            reliable = self.columns.get("alpha_reliable", nothing)
            values = np.where(reliable == 1, values, np.nan)
        return values


def curves_of(table: pa.Table, columns: Sequence[str]) -> Curves:
    """The curves of a table over steps.

    Args:
        table: From `table_over_steps`, of runs of `analyze`.
        columns: Names of the columns wanted; those that it lacks are left out.
    """
    import pyarrow as pa

    given: dict[str, list[Any]] = {
        name: table[name].to_pylist()
        for name in ("step", "param_name", "expert_index", "part", "layer_index", "alias_of")
    }
    kept = [at for at, alias in enumerate(given["alias_of"]) if alias is None]
    labels = list(map(label_of, given["param_name"], given["expert_index"], given["part"]))
    steps = sorted(set(given["step"]))
    place = {step: at for at, step in enumerate(steps)}
    row_of: dict[str, int] = {}
    layers: list[int | None] = []
    for at in kept:
        if labels[at] not in row_of:
            row_of[labels[at]] = len(row_of)
            layers.append(given["layer_index"][at])
    rows = np.asarray([row_of[labels[at]] for at in kept], np.int64)
    places = np.asarray([place[given["step"][at]] for at in kept], np.int64)
    shape = (len(row_of), len(steps))
    present = np.zeros(shape, np.bool_)
    present[rows, places] = True
    numbers = {}
    for name in dict.fromkeys((*columns, "alpha_reliable", "nan_count", "inf_count")):
        if name not in table.column_names:
            continue
        flat = table[name].cast(pa.float64()).to_numpy()[kept]
        numbers[name] = np.full(shape, np.nan)
        numbers[name][rows, places] = flat
    return Curves(tuple(steps), tuple(row_of), tuple(layers), present, numbers)
