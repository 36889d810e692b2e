"""How far weights lie from those of their kind, by logarithm and with an effect that counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.view import Mask, RunView
from mlx_probe.analysis.robust import FEWEST, THRESHOLD, robust_z
from mlx_probe.core.median import median

__all__ = ["Deviations", "deviations"]

# Natural logarithm: of a few layers the spread may be small by chance.
_LEAST_SPREAD = 0.1


class Deviations(NamedTuple):
    """The distance of each row from its kind; NaN or 1 where there is nothing to compare.

    Attributes:
        ratio: Value over the kind's median, shape (rows,).
        z: Robust standard deviations of the logarithm, shape (rows,).
        median: The kind's median, shape (rows,).
        members: Rows of the kind that have the value, shape (rows,).
    """

    ratio: NDArray[np.float64]
    z: NDArray[np.float64]
    median: NDArray[np.float64]
    members: NDArray[np.intp]

    def beyond(self, ratio: float) -> Mask:
        """Rows that deviate by chance hardly ever, and by a factor of at least ``ratio``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.exp(np.abs(np.log(self.ratio)))
        beyond: Mask = (np.abs(self.z) > THRESHOLD) & (factor >= ratio)
        return beyond


def deviations(view: RunView, values: NDArray[np.float64], among: Mask) -> Deviations:
    """Compare positive values with those of their kind.

    Args:
        view: The run.
        values: Any column, shape (rows,); values that are not positive are left out.
        among: Rows to compare.
    """
    count = len(view)
    ratio, z = np.ones(count), np.zeros(count)
    medians, members = np.full(count, np.nan), np.zeros(count, np.intp)
    usable = among & np.isfinite(values) & (values > 0)
    for _, rows in view.groups(usable):
        middle = float(median(values[rows]))
        ratio[rows], medians[rows], members[rows] = values[rows] / middle, middle, len(rows)
        if len(rows) >= FEWEST:
            z[rows] = robust_z(np.log(values[rows]), least=_LEAST_SPREAD)
    return Deviations(ratio, z, medians, members)
