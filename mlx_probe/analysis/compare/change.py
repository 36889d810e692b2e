"""How far apart two tensors are: sums over their elements, and the columns that follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_probe.analysis.compare.adapted import Adapted
from mlx_probe.analysis.compare.blocks import Floats, PairReader
from mlx_probe.core.records import Moments, Spectrum
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

    def columns(self, by_product: bool) -> dict[str, Any]:
        """The columns of change; null where squares may have overflowed or underflowed.

        Args:
            by_product: Whether the difference is known as a product of factors, whose elements
                were not looked at one by one.
        """
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
            "max_change": None if by_product else self.largest,
            "changed_share": None if by_product or not self.count else self.changed / self.count,
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


def change_by_product(adapted: Adapted, spectrum: Spectrum, meter: UsageMeter) -> Change:
    """The same of a LoRA without its product: <A, L R> = sum of (A R.T) * L, line by line.

    Args:
        adapted: The base and the factors; the base is read once.
        spectrum: Singular values of the factors' product.
        meter: Counts what it takes.
    """
    sums = Change()
    left, right = adapted.product.left, adapted.product.right
    along, across = (left, right) if adapted.a.weight.tall else (right.T, left.T)
    first, cross = 0, 0.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for x in adapted.a.lines():
            with meter.stage("change", x.nbytes, 2.0 * x.size * left.shape[1]):
                sums.count += x.size
                sums.nonfinite_a += x.size - int(np.count_nonzero(np.isfinite(x)))
                sums.a += float(np.square(x).sum())
                sums.any_a = sums.any_a or bool(x.any())
                cross += float(((x @ across.T) * along[first : first + len(x)]).sum())
            first += len(x)
        sums.difference = float(np.square(spectrum.values).sum())
    sums.dot = sums.a + cross
    sums.b = max(sums.a + 2 * cross + sums.difference, 0.0)
    # Nobody has looked which elements differ: all or none.
    sums.changed = sums.count if spectrum.values[0] > 0 else 0
    # If B were 0, the sums would leave rounding, not 0.
    sums.any_b = sums.b > 0
    return sums


def _root(total: float, is_any: bool) -> float | None:
    """Root of a sum of squares; None if it is not certain that no square was lost."""
    if not is_any:
        return 0.0
    return math.sqrt(total) if _SAFE_SQUARES[0] < total < _SAFE_SQUARES[1] else None
