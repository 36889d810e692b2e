"""Powers of two as units, for numbers whose powers would leave the range of float64.

LAPACK scales in the same way (dlassq, dgesdd). Multiplying by a power of two rounds nothing.
"""

from __future__ import annotations

import math

__all__ = ["times_power_of_two", "unit_exponent"]

# Elements between 2**-200 and 2**200 are left as they are: their fourth powers, and sums of 2**40
# of those, are far from both ends of float64's range. Every other type's elements lie between.
_FAR = 200


def unit_exponent(largest: float) -> int:
    """Exponent of a power of two that brings elements into [-1, 1] if they are extreme.

    Args:
        largest: Their largest magnitude; anything that is not finite for no elements.

    Returns:
        0 for elements that need no scaling, and for zeros.
    """
    if not 0 < largest < math.inf:
        return 0
    exponent = math.frexp(largest)[1]
    return exponent if abs(exponent) > _FAR else 0


def times_power_of_two(x: float, exponent: int) -> float:
    """``x * 2**exponent``; an infinity where that is too large."""
    try:
        return math.ldexp(x, exponent)
    except OverflowError:
        return math.copysign(math.inf, x)
