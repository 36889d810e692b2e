"""How coarsely the values of a sample are stored, and whether a difference is that of rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.dtypes import FLOAT_FORMATS

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Sampled
    from mlx_probe.analysis.lineage.matched import Matched

__all__ = ["Coarseness", "coarseness", "rounded_share", "value_format"]

Floats = NDArray[np.float32]

# Elements of a group that are looked at together: no usual group is smaller, but NVFP4's of 16.
_GROUP = 32
# Groups that are looked at.
_GROUPS = 4096
# A group of 32 continuous values has about 32 different ones; 4 bits give 16 at most.
_FEW = 20.0
# Error of rounding, relative to the root mean square, that is still a rounding: for 2, 3, 4, 5,
# 6 and 8 bits. Round to nearest of Gaussian values in groups of 64 gives .48, .2, .1, .046,
# .023, .0057; 8-bit floats .027; formats with block scales of powers of two up to twice as much.
_BOUNDS = ((2.7, 0.9), (3.7, 0.45), (4.9, 0.3), (5.9, 0.15), (7.9, 0.08), (10.0, 0.06))


@dataclass(frozen=True)
class Coarseness:
    """How many different values there are.

    Attributes:
        bits: Bits of an element as stored, or fewer where the values need fewer.
        levels: Different values among 32 neighbours of a row that are not 0, on average.
        form: Narrowest float format that holds every value.
    """

    bits: float
    levels: float
    form: str

    @property
    def is_grid(self) -> bool:
        """Whether neighbours share few values, as 4 bits and fewer make them."""
        return self.levels < _FEW


def coarseness(sampled: Sampled) -> Coarseness:
    """How coarsely a matrix is stored."""
    x = sampled.values
    form = "F32" if sampled.packed else value_format(x, sampled.stored)
    bits = sampled.bits if sampled.packed else min(sampled.bits, FLOAT_FORMATS[form].bits)
    return Coarseness(bits, _levels(x), form)


def value_format(x: Floats, stored: str) -> str:
    """The narrowest float format that holds every value, bfloat16 before float16.

    Args:
        x: Values.
        stored: Their type as stored, a key of `FLOAT_FORMATS`; anything else is float32.
    """
    known = FLOAT_FORMATS.get(stored, FLOAT_FORMATS["F32"]).bits
    if known <= 16:
        return stored
    for form in ("F8_E4M3", "F8_E5M2", "BF16", "F16"):
        if np.array_equal(rounded(x, form), x):
            return form
    return "F32"


def rounded(x: Floats, form: str) -> Floats:
    """Values rounded to a float format, to nearest and ties to even; beyond its range, clipped.

    Args:
        x: Values.
        form: Key of `FLOAT_FORMATS`, at most as wide as float32.
    """
    known = FLOAT_FORMATS[form]
    if known.bits >= 32:
        return x
    _, exponents = np.frexp(x)
    step = np.ldexp(1.0, np.maximum(exponents - 1, known.min_exponent) + 1 - known.precision)
    nearest = np.rint(x / step) * step
    held = np.clip(nearest, -known.largest, known.largest)
    return np.asarray(held, np.float32)


def _levels(x: Floats) -> float:
    cols = x.shape[1]
    if cols < _GROUP:
        return float(_GROUP)
    groups = x[:, : cols // _GROUP * _GROUP].reshape(-1, _GROUP)
    groups = groups[:: max(1, len(groups) // _GROUPS)]
    ordered = np.sort(groups, axis=1)
    different = 1 + (np.diff(ordered, axis=1) != 0).sum(axis=1)
    # Zeros of a pruned model say nothing about the grid of the others.
    other = (groups != 0).sum(axis=1)
    different -= other < _GROUP
    full = other >= _GROUP // 4
    if not full.any():
        return float(_GROUP)
    return float(_GROUP * (different[full] / other[full]).mean())


def rounding_bound(bits: float) -> float:
    """The largest relative difference that rounding to so many bits makes."""
    return next((bound for most, bound in _BOUNDS if bits <= most), 0.01)


def rounded_share(pair: Matched, coarse: str, to_b: bool) -> float:
    """Share of elements of the coarse model that are the fine one's rounded to a float format."""
    fine, other = (pair.x, pair.y) if to_b else (pair.y, pair.x)
    return float((rounded(fine, coarse) == other).mean())
