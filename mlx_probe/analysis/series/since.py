"""How far the spectrum of a matrix moved since the checkpoint before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.series.curves import label_of
from mlx_probe.core.records import Column
from mlx_probe.runs.series import SeriesFolder

__all__ = ["SINCE", "changes_since"]

SINCE = Column(
    "change_since",
    "float64",
    "training",
    "Distance of the singular values from those of the checkpoint before, as a share of their "
    "norm.",
    lower=0.0,
    title="Change since the checkpoint before",
    plain="How far the spectrum moved; the weights changed by at least as much.",
    caveat="A matrix can change without its singular values: a rotation leaves them alone.",
    source="Mirsky 1960",
    formula="|sigma(t) - sigma(t-1)|_2 / |sigma(t-1)|_2",
)


def changes_since(folder: SeriesFolder, steps: Sequence[int]) -> dict[tuple[int, str], float]:
    """The column `SINCE`, by step and label of the matrix.

    By Mirsky's inequality the weights changed by at least as much (L. Mirsky 1960). It costs no
    more than to read the singular values that are kept; those of two steps are in memory.

    Args:
        folder: Of the series.
        steps: Ascending.

    Raises:
        ResultError: A file is damaged.
    """
    found: dict[tuple[int, str], float] = {}
    before: Mapping[str, NDArray[np.float64]] = {}
    for step in steps:
        now = _complete(folder, step)
        for label, sigma in now.items():
            other = before.get(label)
            if other is None or len(other) != len(sigma):
                continue
            norm, distance = float(np.linalg.norm(other)), float(np.linalg.norm(sigma - other))
            if norm:
                found[step, label] = distance / norm
            elif not distance:
                found[step, label] = 0.0
        before = now
    return found


def _complete(folder: SeriesFolder, step: int) -> dict[str, NDArray[np.float64]]:
    """The whole spectra of a step by the labels of their matrices."""
    frame = folder.spectra(step)
    if frame is None:
        return {}
    names = ("param_name", "expert_index", "part", "rows", "cols", "singular_values")
    columns = [frame[name].astype(object).where(frame[name].notna(), None) for name in names]
    return {
        label_of(name, expert, part): np.asarray(sigma, np.float64)
        for name, expert, part, rows, cols, sigma in zip(*columns, strict=True)
        if len(sigma) == min(rows, cols)
    }
