"""Central moment sums that add up over chunks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.scaling import times_power_of_two

__all__ = ["PowerSums"]


@dataclass(frozen=True)
class PowerSums:
    """Count, mean and central power sums of some elements, in float64.

    Attributes:
        count: Number of elements.
        mean: Their mean.
        s2: Sum of (x - mean)**2.
        s3: Sum of (x - mean)**3.
        s4: Sum of (x - mean)**4.
        exponent: Elements, mean and sums are in units of 2**exponent and its powers; 0 unless
            elements are extreme (`unit_exponent`).
    """

    count: int = 0
    mean: float = 0.0
    s2: float = 0.0
    s3: float = 0.0
    s4: float = 0.0
    exponent: int = 0

    @classmethod
    def of(
        cls,
        x: NDArray[np.float64],
        deviations: NDArray[np.float64] | None = None,
        squares: NDArray[np.float64] | None = None,
        exponent: int = 0,
    ) -> PowerSums:
        """Sums over a non-empty vector, in two reads of it.

        Args:
            x: The elements in units of 2**exponent, shape (n,).
            deviations: Overwritten, shape (n,), ``x`` itself allowed; None makes an array.
            squares: Overwritten, shape (n,); None makes an array.
            exponent: The unit's.
        """
        mean = float(x.mean())
        d = np.subtract(x, mean, out=deviations)
        d2 = np.multiply(d, d, out=squares)
        sums = float(d2.sum()), float(np.dot(d2, d)), float(np.dot(d2, d2))
        return cls(x.size, mean, *sums, exponent)

    @classmethod
    def of_counts(cls, values: NDArray[np.float64], counts: NDArray[np.int64]) -> PowerSums:
        """Sums over values that occur ``counts`` times; both of shape (distinct,)."""
        n = int(counts.sum())
        if n == 0:
            return cls()
        mean = float(np.dot(counts, values) / n)
        d = values - mean
        d2 = d * d
        weighted = counts * d2
        s3, s4 = (float(np.dot(weighted, p)) for p in (d, d2))
        return cls(n, mean, float(weighted.sum()), s3, s4)

    @classmethod
    def of_shifted(cls, count: int, shift: float, raw: NDArray[np.float64]) -> PowerSums:
        """Sums from raw power sums about a shift near the mean.

        Args:
            count: Number of elements.
            shift: The point c.
            raw: Sums of (x - c)**k for k = 1, 2, 3, 4; shape (4,).
        """
        r1, r2, r3, r4 = (float(r) for r in raw)
        d = r1 / count
        s2 = r2 - d * r1
        s3 = r3 - 3 * d * r2 + 2 * d * d * r1
        s4 = r4 - 4 * d * r3 + 6 * d * d * r2 - 3 * d**3 * r1
        return cls(count, shift + d, s2, s3, s4)

    def merge(self, other: PowerSums) -> PowerSums:
        """Sums over both sets.

        Source: Pébay 2008, "Formulas for robust, one-pass parallel computation of covariances
        and arbitrary-order statistical moments", SAND2008-6212.
        """
        if self.count == 0 or other.count == 0:
            return other if self.count == 0 else self
        if self.exponent != other.exponent:
            # The larger elements decide; zeros have no size.
            sizes = [each.exponent for each in (self, other) if each.mean or each.s2]
            unit = max(sizes, default=0)
            return self.in_units(unit).merge(other.in_units(unit))
        a, b = self.count, other.count
        n = a + b
        delta = other.mean - self.mean
        step = delta / n
        # Products, not powers: Python's ** raises where a product overflows to infinity.
        s2 = self.s2 + other.s2 + delta * step * a * b
        s3 = (
            self.s3
            + other.s3
            + delta * step * step * a * b * (a - b)
            + 3 * step * (a * other.s2 - b * self.s2)
        )
        s4 = (
            self.s4
            + other.s4
            + delta * step * step * step * a * b * (a * a - a * b + b * b)
            + 6 * step * step * (a * a * other.s2 + b * b * self.s2)
            + 4 * step * (a * other.s3 - b * self.s3)
        )
        return PowerSums(n, self.mean + b * step, s2, s3, s4, self.exponent)

    def in_units(self, exponent: int) -> PowerSums:
        """The same sums in other units."""
        step = self.exponent - exponent
        mean, s2, s3, s4 = (
            times_power_of_two(s, k * step)
            for k, s in enumerate((self.mean, self.s2, self.s3, self.s4), 1)
        )
        return PowerSums(self.count, mean, s2, s3, s4, exponent)
