"""How far apart two tensors are: the columns that follow from sums over their elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlx_probe.analysis.compare.adapted import Adapted
from mlx_probe.analysis.compare.blocks import Floats
from mlx_probe.checkpoint.adapters.protocol import Product
from mlx_probe.compute.backends.change import ChangeSums
from mlx_probe.core.records import Moments
from mlx_probe.core.scaling import unit_exponent
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["UNSAFE", "change_by_product", "change_columns", "change_moments"]

# Outside of it a sum of squares may have overflowed, or lost terms to underflow.
_SAFE_SQUARES = (1e-250, 1e250)
UNSAFE = "the elements' squares overflow or underflow"


def change_columns(sums: ChangeSums) -> dict[str, Any]:
    """The columns of change; null where squares may have overflowed or underflowed."""
    a = _root(sums.a, sums.any_a)
    b = _root(sums.b, sums.any_b)
    difference = _root(sums.difference, sums.changed > 0)
    cosine: float | None = None
    if not sums.changed:
        cosine = 1.0
    elif a and b:
        cosine = max(-1.0, min(1.0, sums.dot / a / b))
    relative: float | None = None
    if a is not None and difference is not None:
        relative = difference / a if a else (math.inf if difference else 0.0)
    return {
        "relative_change": 0.0 if not sums.changed else relative,
        "cosine": cosine,
        "change_norm": difference,
        "norm": a,
        "other_norm": b,
        "max_change": sums.largest,
        "changed_share": sums.changed / sums.count if sums.count else None,
        "missing_reason": UNSAFE if None in (a, b, difference) else None,
    }


def change_moments(sums: ChangeSums) -> Moments:
    """The difference's range: all that the choice of a method and the delta columns need."""
    nan = math.nan
    return Moments(
        count=sums.count,
        nan_count=0,
        inf_count=0,
        zero_count=sums.count - sums.changed,
        small_count=sums.count - sums.changed,
        mean=nan,
        m2=nan,
        m3=nan,
        m4=nan,
        min=-sums.largest,
        max=sums.largest,
        quantiles=(),
        value_dtype=None,
        rounding_variance=None,
        exponent=unit_exponent(sums.largest),
    )


def change_by_product(adapted: Adapted, meter: UsageMeter) -> ChangeSums:
    """Sums over a base and a product of factors that is added to it, formed block by block.

    Args:
        adapted: The base and the factors; the base is read once.
        meter: Counts what it takes.
    """
    sums = ChangeSums()
    assert isinstance(adapted.edit, Product)
    rank = adapted.edit.left.shape[1]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for x, difference in adapted.differences():
            with meter.stage("change", x.nbytes, 2.0 * x.size * rank):
                _add_difference(sums, x, difference)
    return sums


def _add_difference(sums: ChangeSums, x: Floats, difference: Floats) -> None:
    """Add a block of A, and of what is added to it."""
    if not (np.isfinite(x).all() and np.isfinite(difference).all()):
        finite = (int(np.count_nonzero(np.isfinite(each))) for each in (x, difference))
        sums.add_nonfinite(x.size, *(x.size - count for count in finite))
        return
    x, difference = x.reshape(-1), difference.reshape(-1)
    energy, cross = float(x @ x), float(x @ difference)
    added = float(difference @ difference)
    b = max(energy + 2 * cross + added, 0.0)
    # If B were 0, the sums would leave rounding, not 0.
    any_element = bool(x.any()), sums.b + b > 0
    changed, largest = int(np.count_nonzero(difference)), float(np.abs(difference).max())
    sums.add(x.size, (energy, b), energy + cross, added, largest, changed, any_element)


def _root(total: float, is_any: bool) -> float | None:
    """Root of a sum of squares; None if it is not certain that no square was lost."""
    if not is_any:
        return 0.0
    return math.sqrt(total) if _SAFE_SQUARES[0] < total < _SAFE_SQUARES[1] else None
