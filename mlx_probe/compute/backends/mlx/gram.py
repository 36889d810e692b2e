"""Exact Gram matrices on devices without float64."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.mlx.digits import (
    ENERGY,
    LARGEST,
    WINDOW,
    blocked,
    digit_products,
    group_unit,
    peel,
    scaled,
)
from mlx_probe.compute.backends.protocol import Gram

__all__ = ["DigitGram", "panel_edges"]

# Exponent of columns that have only zeros so far: far below the least float32, 2**-149.
_ZERO = -200

# The matrix is made in panels, of which only the upper part is needed. About eight panels save
# nearly half of the work. Narrower ones would be slow, and products of larger ones take memory.
_PANELS, _NARROWEST, _PANEL_ELEMENTS = 8, 128, 1 << 20


class DigitGram:
    """Gram matrices of equal matrices from exact float32 products of 8-bit digits.

    Columns are scaled by powers of two, split into digits, and multiplied without rounding (see
    `digits`). The sums stay on the device in int64; the host takes them over in float64 after
    65,536 rows, and before the power of two of a column changes.

    The power of two of a column brings its first slab into (-1, 1). Elements of later slabs may
    be up to sixteen times larger, as long as the squares of a block add up to no more than if
    all its elements were ones: then the products are still exact, and no bit is spent on
    headroom. Otherwise the power is raised to that of the slab.

    Three digits hold 23 bits below the power of two of each column, four hold 31. ``omitted``
    bounds the Frobenius norm of the remainder of each matrix, except for elements that the power
    of two moves below float32's range: less than 2**-125 of the largest in their column.

    Columns with NaN or Inf have NaN in their rows and columns of the matrix, and no other has.

    Between two transfers to the host, sums depend neither on the order of slabs nor on their
    extent. The maxima of the first slab decide what the remainder is, and every transfer rounds
    to float64.

    Args:
        columns: Columns of each matrix.
        digits: Digits of an element, at most 6.
        batch: Matrices.
        floor: Magnitude below which the device treats numbers as zero.
    """

    def __init__(self, columns: int, digits: int, batch: int = 1, floor: float = 0.0) -> None:
        self._digits, self._floor = digits, floor
        self._matrix = np.zeros((batch, columns, columns))
        self._panels = [_Panel(*edges) for edges in panel_edges(columns)]
        self._blocks = 0
        self._exponent: NDArray[np.int32] | None = None
        self._omitted_squared = np.zeros(batch)
        self._nonfinite = np.zeros((batch, columns), np.bool_)

    def add(self, x: mx.array) -> None:
        """Add rows, shape (batch, rows, columns), float32."""
        self._omitted_squared += x.shape[1] * x.shape[2] * self._floor**2
        x = blocked(x)
        if self._exponent is None:
            self._exponent = np.full((x.shape[0], x.shape[3]), _ZERO, np.int32)
            largest = np.array(_largest(x))
            self._raise(largest, largest > 0)
        digits, (largest, energy, left_over) = self._peel(x)
        limit = np.ldexp(1.0, self._exponent)
        fits = (largest < limit) | ((largest < LARGEST * limit) & (energy < ENERGY))
        if not fits.all():
            self._raise(largest, ~fits)
            digits, (_, _, left_over) = self._peel(x)
        # Remainders of NaN and Inf are NaN.
        self._nonfinite |= np.isnan(left_over)
        unit = np.ldexp(1.0, self._exponent - 8 * self._digits + 1)
        # The thousandth covers the float32 rounding of the sums of squares: of 1,024 terms, then
        # of the blocks.
        self._omitted_squared += 1.001 * (left_over * unit**2).sum(axis=1)
        for first in range(0, x.shape[1], WINDOW):
            self._multiply([digit[:, first : first + WINDOW] for digit in digits])

    def finish(self) -> list[Gram]:
        """The Gram matrices (upper triangles), and bounds of what the digits left out."""
        self._flush()
        for matrix, columns in zip(self._matrix, self._nonfinite, strict=True):
            matrix[columns] = matrix[:, columns] = np.nan
        omitted = np.sqrt(self._omitted_squared)
        return [
            Gram(matrix, float(left)) for matrix, left in zip(self._matrix, omitted, strict=True)
        ]

    def _peel(self, x: mx.array) -> tuple[list[mx.array], NDArray[np.float64]]:
        """Digits; and for each column its largest element, energy and sum of squared remainders."""
        assert self._exponent is not None
        digits, rest = peel(scaled(x, -self._exponent[:, None, None, :]), self._digits)
        energy = mx.square(digits[0]).sum(axis=2).max(axis=1)
        # A remainder that is too small to be squared counts as 2**-60.
        rest = mx.where(rest == 0, 0.0, mx.maximum(mx.abs(rest), 2.0**-60))
        left_over = mx.square(rest).sum(axis=2).sum(axis=1)
        survey = np.array(mx.stack([_largest(x), energy, left_over]))
        return digits, survey.astype(np.float64)

    def _raise(self, largest: NDArray[np.floating], which: NDArray[np.bool_]) -> None:
        """Give columns the power of two just above their largest element."""
        assert self._exponent is not None
        # The sums of a column of zeros are zero in any unit.
        if (self._exponent[which] > _ZERO).any():
            self._flush()
        # The exponent of an infinity does not matter: such a matrix has no spectrum.
        self._exponent[which] = np.frexp(np.nan_to_num(largest[which], posinf=0.0))[1]

    def _multiply(self, digits: list[mx.array]) -> None:
        blocks = digits[0].shape[1]
        if self._blocks + blocks > WINDOW:
            self._flush()
        self._blocks += blocks
        for panel in self._panels:
            sums = digit_products(digits, panel.first, panel.last)
            if panel.sums:
                sums = [a + b for a, b in zip(panel.sums, sums, strict=True)]
            panel.sums = sums
            # Otherwise the graph would keep all slabs; the survey of the next one waits for this.
            mx.async_eval(*sums)  # type: ignore[no-untyped-call]

    def _flush(self) -> None:
        """Add the sums to the host's matrix, the group of the lowest levels first."""
        if not self._blocks:
            return
        assert self._exponent is not None
        scale = np.ldexp(1.0, self._exponent)
        for panel in self._panels:
            rows = slice(panel.first, panel.last)
            target = self._matrix[:, rows, panel.first :]
            for group, sums in reversed(list(enumerate(panel.sums))):
                part = np.asarray(sums) * (group_unit(group) * scale[:, rows, None])
                part *= scale[:, None, panel.first :]
                target += part
            panel.sums = []
        self._blocks = 0


@dataclass
class _Panel:
    """Rows first to last of the matrix from column first on, as int64 sums by groups."""

    first: int
    last: int
    sums: list[mx.array] = field(default_factory=list)


def panel_edges(columns: int) -> list[tuple[int, int]]:
    """First row, and one past the last, of each panel of a matrix of so many columns."""
    height = max(_NARROWEST, min(columns // _PANELS, _PANEL_ELEMENTS // columns))
    count = -(-columns // height)
    edges = [columns * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def _largest(x: mx.array) -> mx.array:
    return mx.abs(x).max(axis=(1, 2))
