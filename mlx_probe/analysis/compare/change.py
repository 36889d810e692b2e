"""How far apart two tensors are: sums over their elements, and the columns that follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_probe.analysis.compare.adapted import Adapted
from mlx_probe.analysis.compare.blocks import Floats, PairReader
from mlx_probe.checkpoint.adapters.protocol import Product
from mlx_probe.core.records import Moments
from mlx_probe.core.scaling import unit_exponent
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["UNSAFE", "Change", "change_by_product", "change_of"]

# Outside of it a sum of squares may have overflowed, or lost terms to underflow.
_SAFE_SQUARES = (1e-250, 1e250)
UNSAFE = "the elements' squares overflow or underflow"


@dataclass
class Change:
    """Sums over two tensors' elements."""

    count: int = 0
    a: float = 0.0
    b: float = 0.0
    dot: float = 0.0
    difference: float = 0.0
    largest: float = 0.0
    changed: int = 0
    nonfinite_a: int = 0
    nonfinite_b: int = 0
    # Whether there is an element that is not 0: a sum of squares may be lost to underflow.
    any_a: bool = False
    any_b: bool = False

    def add(self, x: Floats, y: Floats) -> None:
        """Add two blocks with the same lines."""
        self.count += x.size
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            self.nonfinite_a += x.size - int(np.count_nonzero(np.isfinite(x)))
            self.nonfinite_b += y.size - int(np.count_nonzero(np.isfinite(y)))
            return
        x, y = x.reshape(-1), y.reshape(-1)
        energy = float(x @ x)
        self.a += energy
        self.any_a = self.any_a or bool(x.any())
        self.any_b = self.any_b or bool(y.any())
        changed = int(np.count_nonzero(x != y))
        if not changed:
            self.b += energy
            self.dot += energy
            return
        difference = y - x
        self.b += float(y @ y)
        self.dot += float(x @ y)
        self.difference += float(difference @ difference)
        self.changed += changed
        self.largest = max(self.largest, float(np.abs(difference).max()))

    def add_difference(self, x: Floats, difference: Floats) -> None:
        """Add a block of A, and of what is added to it."""
        self.count += x.size
        if not (np.isfinite(x).all() and np.isfinite(difference).all()):
            self.nonfinite_a += x.size - int(np.count_nonzero(np.isfinite(x)))
            self.nonfinite_b += x.size - int(np.count_nonzero(np.isfinite(difference)))
            return
        x, difference = x.reshape(-1), difference.reshape(-1)
        energy, cross = float(x @ x), float(x @ difference)
        added = float(difference @ difference)
        self.a += energy
        self.dot += energy + cross
        self.b += max(energy + 2 * cross + added, 0.0)
        self.difference += added
        self.changed += int(np.count_nonzero(difference))
        self.largest = max(self.largest, float(np.abs(difference).max()))
        self.any_a = self.any_a or bool(x.any())
        # If B were 0, the sums would leave rounding, not 0.
        self.any_b = self.any_b or self.b > 0

    def columns(self) -> dict[str, Any]:
        """The columns of change; null where squares may have overflowed or underflowed."""
        a = _root(self.a, self.any_a)
        b = _root(self.b, self.any_b)
        difference = _root(self.difference, self.changed > 0)
        cosine: float | None = None
        if not self.changed:
            cosine = 1.0
        elif a and b:
            cosine = max(-1.0, min(1.0, self.dot / a / b))
        relative: float | None = None
        if a is not None and difference is not None:
            relative = difference / a if a else (math.inf if difference else 0.0)
        return {
            "relative_change": 0.0 if not self.changed else relative,
            "cosine": cosine,
            "change_norm": difference,
            "norm": a,
            "other_norm": b,
            "max_change": self.largest,
            "changed_share": self.changed / self.count if self.count else None,
            "missing_reason": UNSAFE if None in (a, b, difference) else None,
        }

    def moments(self) -> Moments:
        """The difference's range: all that the choice of a method and the delta columns need."""
        nan = math.nan
        return Moments(
            count=self.count,
            nan_count=0,
            inf_count=0,
            zero_count=self.count - self.changed,
            small_count=self.count - self.changed,
            mean=nan,
            m2=nan,
            m3=nan,
            m4=nan,
            min=-self.largest,
            max=self.largest,
            quantiles=(),
            value_dtype=None,
            rounding_variance=None,
            exponent=unit_exponent(self.largest),
        )


def change_of(both: PairReader, meter: UsageMeter) -> Change:
    """Sums over all elements of two tensors.

    Args:
        both: The tensors; read once.
        meter: Counts what it takes.
    """
    sums = Change()
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for x, y in both.blocks():
            with meter.stage("change", x.nbytes + y.nbytes):
                sums.add(x, y)
    return sums


def change_by_product(adapted: Adapted, meter: UsageMeter) -> Change:
    """The same of a product of factors, which is formed block by block.

    Args:
        adapted: The base and the factors; the base is read once.
        meter: Counts what it takes.
    """
    sums = Change()
    assert isinstance(adapted.edit, Product)
    rank = adapted.edit.left.shape[1]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for x, difference in adapted.differences():
            with meter.stage("change", x.nbytes, 2.0 * x.size * rank):
                sums.add_difference(x, difference)
    return sums


def _root(total: float, is_any: bool) -> float | None:
    """Root of a sum of squares; None if it is not certain that no square was lost."""
    if not is_any:
        return 0.0
    return math.sqrt(total) if _SAFE_SQUARES[0] < total < _SAFE_SQUARES[1] else None
