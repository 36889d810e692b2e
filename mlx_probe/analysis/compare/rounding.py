"""How large a difference rounding alone makes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.numpy.pairs import line_blocks
from mlx_probe.core.dtypes import FLOAT_FORMATS
from mlx_probe.core.records import Moments
from mlx_probe.core.scaling import times_power_of_two

__all__ = ["RoundingEdge"]

# Exponent bits of float64: what is left of a number is the power of two below it.
_EXPONENT = np.uint64(0x7FF0_0000_0000_0000)


class RoundingEdge:
    """Spectral norm to expect of the rounding errors of a matrix, fed slab by slab.

    max_i sqrt(sum_j v_ij) + max_j sqrt(sum_i v_ij), v = ulp^2 / 12 the variance of rounding to
    nearest, in the narrowest format that holds every element exactly (`Moments.value_dtype`).
    The leading term of the bound on the norm of a matrix of independent entries of different
    variances (Bandeira and van Handel 2016, Annals of Probability 44, theorem 1.1); for equal
    ones it is the edge of METRICS' `noise_rank`. That edge is too low for rows and columns of
    large elements, whose errors are larger as well.

    Args:
        moments: Of the matrix, whose elements are finite.
        rows: Rows.
        cols: Columns.
    """

    def __init__(self, moments: Moments, rows: int, cols: int) -> None:
        self._tall, self._unit = rows >= cols, moments.exponent
        self._form = None
        if moments.value_dtype is not None:
            self._form = FLOAT_FORMATS[moments.value_dtype]
            # In the unit of extreme elements, where no square leaves the range.
            self._least = math.ldexp(1.0, self._form.min_exponent)
        self._across, self._largest = np.zeros(min(rows, cols)), 0.0

    def add(self, chunk: Chunk) -> None:
        """Take in one slab."""
        if self._form is None:
            return
        with np.errstate(under="ignore"):
            for x in line_blocks(chunk, self._tall):
                squares = self._squares(x)
                self._across += squares.sum(axis=0)
                self._largest = max(self._largest, float(squares.sum(axis=1).max()))

    def _squares(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared powers of two below the elements, in the unit; zeros for zeros."""
        powers = (x.view(np.uint64) & _EXPONENT).view(np.float64)
        if float(powers.min()) < self._least:
            np.maximum(powers, self._least, out=powers)
            powers[x == 0] = 0.0
        if self._unit:
            np.ldexp(powers, -self._unit, out=powers)
        return np.asarray(np.square(powers, out=powers))

    def edge(self) -> float:
        """The norm; 0 for integers, which carry no rounding."""
        if self._form is None:
            return 0.0
        root = math.sqrt(self._largest) + math.sqrt(float(self._across.max()))
        ulp = times_power_of_two(root, 1 - self._form.precision) / math.sqrt(12)
        return times_power_of_two(ulp, self._unit)
