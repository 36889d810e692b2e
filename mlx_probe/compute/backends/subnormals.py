"""Subnormal floats, whose leading bits say little of their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.distribution import BIN_BITS, Bins
from mlx_probe.core.dtypes import FLOAT_FORMATS

__all__ = ["SubnormalBins"]

# Leading bits that differ between scaled subnormals of one sign.
_VARYING = 16


class SubnormalBins:
    """Counts of subnormals of float32 or float64, in bins as fine as those of normal numbers.

    A subnormal times 2**precision is a normal number, exactly; this number's leading bits are
    the bin.

    Args:
        dtype: "F32" or "F64".
    """

    def __init__(self, dtype: str) -> None:
        self._format = FLOAT_FORMATS[dtype]
        self._counts: NDArray[np.int64] | None = None

    def add(self, x: NDArray[np.floating[Any]]) -> None:
        """Count subnormals, none of them zero; shape (n,), in the type itself."""
        if self._counts is None:
            self._counts = np.zeros(2 << _VARYING, np.int64)
        bits = self._format.bits
        words = np.ldexp(x, self._format.precision).view(f"<u{bits // 8}")
        codes = (words >> (bits - BIN_BITS)).astype(np.intp)
        sign = codes >> (BIN_BITS - 1)
        codes &= (1 << _VARYING) - 1
        np.add.at(self._counts, codes + (sign << _VARYING), 1)

    def bins(self) -> Bins | None:
        """Both ends of the bins that occur, and their counts; None if there are none.

        The ends are elements themselves: where subnormals are sparse, a bin holds only one.
        """
        if self._counts is None:
            return None
        occupied = np.flatnonzero(self._counts)
        sign = np.where(occupied >> _VARYING, -1.0, 1.0)
        code = occupied & ((1 << _VARYING) - 1)
        least = self._format.min_exponent - self._format.precision + 1

        def multiple(leading: NDArray[np.intp]) -> NDArray[np.float64]:
            """The lower end of bins, as a multiple of the smallest subnormal."""
            bits = self._format.bits
            words = leading.astype(f"<u{bits // 8}") << (bits - BIN_BITS)
            scaled = words.view(f"<f{bits // 8}").astype(np.float64)
            return np.ldexp(scaled, -self._format.precision - least)

        first, last = np.ceil(multiple(code)), np.ceil(multiple(code + 1)) - 1
        near, far = (sign * np.ldexp(end, least) for end in (first, last))
        return near, far, self._counts[occupied]
