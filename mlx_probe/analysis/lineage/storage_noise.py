"""How large the rounding errors of a weight's elements are, by how it is stored."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.dtypes import FLOAT_FORMATS, FloatFormat

__all__ = ["packed_noise", "rounded", "rounding_noise", "ulps", "value_format"]

_CANDIDATES = ("BF16", "F16", "F32")
# Elements that share a scale in most packings; in those with longer groups, the steps are a
# little larger than computed here.
_GROUP = 32
# Significand bits of the 8-bit float that packings use, the implicit leading one included.
_FP8_PRECISION = FLOAT_FORMATS["F8_E4M3"].precision


def value_format(x: NDArray[np.float64]) -> str:
    """The narrowest of BF16, F16 and F32 that holds every element; F32 if none does.

    Not the stored type: a merge that was computed in bfloat16 may be stored in float32.

    Args:
        x: Finite elements, any shape.
    """
    return next((name for name in _CANDIDATES[:-1] if _holds(x, FLOAT_FORMATS[name])), "F32")


def _holds(x: NDArray[np.float64], form: FloatFormat) -> bool:
    steps = x / ulps(x, form)
    return bool((steps == np.rint(steps)).all() and np.abs(x).max(initial=0) <= form.largest)


def ulps(x: NDArray[np.float64], form: FloatFormat) -> NDArray[np.float64]:
    """Distances between neighbours in a format, at each element.

    Args:
        x: Elements, any shape.
        form: The format.
    """
    _, exponents = np.frexp(x)
    lowest = np.maximum(exponents - 1, form.min_exponent) - (form.precision - 1)
    return np.asarray(np.ldexp(1.0, lowest))


def rounded(x: NDArray[np.float64], form: FloatFormat) -> NDArray[np.float64]:
    """Elements rounded to a format, ties to even; beyond its largest number, as if it had more.

    Args:
        x: Elements, any shape.
        form: The format.
    """
    steps = ulps(x, form)
    return np.asarray(np.rint(x / steps) * steps)


def rounding_noise(x: NDArray[np.float64], name: str) -> float:
    """Root mean square of the errors that rounding to a format makes: of ulp / sqrt(12).

    Args:
        x: Finite elements; zeros have no error.
        name: Key of `FLOAT_FORMATS`.
    """
    steps = np.where(x == 0, 0.0, ulps(x, FLOAT_FORMATS[name]))
    return math.sqrt(float(np.square(steps).mean()) / 12) if x.size else 0.0


def packed_noise(x: NDArray[np.float64], bits: float, is_float: bool) -> float:
    """Root mean square of the errors of a packing, estimated from its decoded values.

    Integers of b bits have steps of (max - min) / (2^b - 1) within each group of elements that
    shares a scale; 8-bit floats have steps of their own exponent.

    Args:
        x: Decoded elements, shape (rows, cols).
        bits: Stored bits of an element, scales included.
        is_float: Whether its codes are 8-bit floats.
    """
    if is_float:
        form = FloatFormat(8, _FP8_PRECISION, -126, math.inf)
        steps = np.where(x == 0, 0.0, ulps(x, form))
        return math.sqrt(float(np.square(steps).mean()) / 12)
    width = x.shape[1] // _GROUP * _GROUP or x.shape[1]
    groups = x[:, :width].reshape(-1, min(_GROUP, width))
    codes = 2 ** min(max(int(bits), 1), 8) - 1
    steps = (groups.max(axis=1) - groups.min(axis=1)) / codes
    return math.sqrt(float(np.square(steps).mean()) / 12)
