"""The matrices of the experts of a mixture, from the side table or else from the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.view import Indices, Rows, RunView
from mlx_probe.analysis.findings.words import MOST_NAMES
from mlx_probe.analysis.side_tables.experts.columns import DEAD_SHARE
from mlx_probe.core.median import median

__all__ = ["Experts", "layer_number"]


class Experts:
    """Matrices of experts: of the side table where the run has it, or else of the rows.

    Args:
        view: The run.

    Attributes:
        experts: Number of the expert of each row; NaN for what is none.
        layers: Its block.
        names: Its tensor.
        ratio: Norm over the median of the block's.
        twins: Number of the expert whose matrix it has; NaN for none.
        dead: Whether the norm is next to nothing.
        double: Whether it is alive and another one's.
    """

    def __init__(self, view: RunView) -> None:
        side = view.sides.get("experts")
        self._table: Rows = view if side is None else side
        table = self._table
        self.experts = table.numbers("expert_index")
        self.layers = table.numbers("layer_index")
        self.names = _labels(table)
        if side is None:
            self.ratio = _ratios(view)
            self.twins = _aliases(view)
        else:
            self.ratio = side.numbers("norm_ratio")
            self.twins = side.numbers("duplicate_of")
        self.dead = self.ratio <= DEAD_SHARE
        self.double = np.isfinite(self.twins) & ~self.dead

    def of(self, rows: Indices) -> tuple[str, ...]:
        """Names of rows."""
        return tuple(self.names[int(row)] for row in rows[:MOST_NAMES])

    def pairs(self, rows: Indices) -> list[tuple[int, int]]:
        """Layer and number of the experts that some rows belong to."""
        return sorted({(layer_number(self.layers[r]), int(self.experts[r])) for r in rows})


def layer_number(value: float) -> int:
    """Number of a block as it stands in a sentence; -1 outside the blocks."""
    return int(value) if np.isfinite(value) else -1


def _labels(table: Rows) -> list[str]:
    columns = (table.texts(name) for name in ("param_name", "expert_index", "part"))
    return [
        str(name) + ("" if expert is None else f"[{expert}]") + (f" ({part})" if part else "")
        for name, expert, part in zip(*columns, strict=True)
    ]


def _ratios(view: RunView) -> NDArray[np.float64]:
    """Norm of each expert's matrix over the median of its block's and kind's."""
    norm = view.numbers("rms") * np.sqrt(view.numbers("numel"))
    ratio = np.full(len(view), np.nan)
    among = np.isfinite(view.numbers("expert_index")) & np.isfinite(norm)
    for _, rows in view.groups(among):
        layers = view.layers[rows]
        for layer in sorted(set(layers.tolist())):
            inside = rows[layers == layer] if np.isfinite(layer) else rows
            middle = float(median(norm[inside]))
            if len(inside) > 1 and middle > 0:
                ratio[inside] = norm[inside] / middle
    return ratio


def _aliases(view: RunView) -> NDArray[np.float64]:
    """Number of the expert whose bytes each expert's matrix has."""
    experts = view.numbers("expert_index")
    position = {name: row for row, name in enumerate(view.names)}
    twins = np.full(len(view), np.nan)
    for row, alias in enumerate(view.texts("alias_of")):
        source = position.get(str(alias)) if alias is not None else None
        if source is not None and view.layers[source] == view.layers[row]:
            twins[row] = experts[source]
    return np.where(np.isfinite(experts), twins, np.nan)
