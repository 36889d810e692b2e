"""Moments, sparsity and quantiles of a weight's elements.

All are over the finite elements, accumulated in float64; undefined ones are None.
"""

from __future__ import annotations

import math

from mlx_probe.core.records import QUANTILES
from mlx_probe.metrics.measurement import Measurement, Metric, MetricFamily

__all__ = ["MOMENTS"]


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def mean(m: Measurement) -> float | None:
    """Arithmetic mean."""
    return _defined(m.moments.mean)


def std(m: Measurement) -> float | None:
    """Standard deviation (population, ddof 0)."""
    return _defined(m.absolute(math.sqrt(m.moments.m2), m.moments.exponent))


def var(m: Measurement) -> float | None:
    """Variance (population, ddof 0); null outside of float64's range."""
    return _defined(m.absolute(m.moments.m2, m.moments.exponent, power=2))


def sparsity(m: Measurement) -> float | None:
    """Share of elements with |x| <= zero_epsilon."""
    n = m.moments.finite_count
    return m.moments.small_count / n if n else None


def min(m: Measurement) -> float | None:
    """Smallest element."""
    return m.moments.min if m.moments.finite_count else None


def max(m: Measurement) -> float | None:
    """Largest element."""
    return m.moments.max if m.moments.finite_count else None


def abs_max(m: Measurement) -> float | None:
    """Largest magnitude."""
    if not m.moments.finite_count:
        return None
    return -m.moments.min if -m.moments.min > m.moments.max else m.moments.max


def rms(m: Measurement) -> float | None:
    """Root of the mean square."""
    return _defined(m.absolute(math.sqrt(m.moments.mean_square), m.moments.exponent))


def skewness(m: Measurement) -> float | None:
    """Third standardized moment, m3 / m2^1.5; undefined for constant tensors."""
    m2 = m.moments.m2
    # Dividing twice keeps the powers of tiny variances from underflowing.
    return _defined(m.moments.m3 / m2 / math.sqrt(m2)) if m2 > 0 else None


def kurtosis(m: Measurement) -> float | None:
    """Excess kurtosis, m4 / m2^2 - 3 (population); 0 for a Gaussian."""
    m2 = m.moments.m2
    return _defined(m.moments.m4 / m2 / m2 - 3.0) if m2 > 0 else None


def zero_fraction(m: Measurement) -> float | None:
    """Share of exact zeros."""
    n = m.moments.finite_count
    return m.moments.zero_count / n if n else None


def nan_count(m: Measurement) -> int:
    """Number of NaNs."""
    return m.moments.nan_count


def inf_count(m: Measurement) -> int:
    """Number of infinities."""
    return m.moments.inf_count


def _quantile(m: Measurement, q: float) -> float | None:
    return _defined(m.moments.quantiles[QUANTILES.index(q)])


def q001(m: Measurement) -> float | None:
    """0.1 % quantile; exact up to 16 bits, within 2^-11 relative for F32, 2^-8 for wider."""
    return _quantile(m, 0.001)


def q01(m: Measurement) -> float | None:
    """1 % quantile, as exact as q001."""
    return _quantile(m, 0.01)


def q50(m: Measurement) -> float | None:
    """Median, as exact as q001."""
    return _quantile(m, 0.5)


def q99(m: Measurement) -> float | None:
    """99 % quantile, as exact as q001."""
    return _quantile(m, 0.99)


def q999(m: Measurement) -> float | None:
    """99.9 % quantile, as exact as q001."""
    return _quantile(m, 0.999)


def value_dtype(m: Measurement) -> str | None:
    """Narrowest float type that holds every element exactly; null for integers."""
    return m.moments.value_dtype


_WEIGHT = "weight"

MOMENTS = MetricFamily(
    "moments",
    "Moments",
    "What values does a weight hold, and how are they spread?",
    (
        Metric(mean, level="basic", unit=_WEIGHT),
        Metric(std, level="basic", unit=_WEIGHT, lower=0),
        Metric(var, level="basic", unit="weight²", lower=0),
        Metric(sparsity, level="basic", lower=0, upper=1),
        Metric(min, level="basic", unit=_WEIGHT),
        Metric(max, level="basic", unit=_WEIGHT),
        Metric(abs_max, level="basic", unit=_WEIGHT, lower=0),
        Metric(rms, level="basic", unit=_WEIGHT, lower=0),
        Metric(skewness, level="basic"),
        # m4 >= m2^2, with equality for two-point distributions, and float64 rounding below it.
        Metric(kurtosis, level="basic", lower=-2.0000001),
        Metric(zero_fraction, level="basic", lower=0, upper=1),
        Metric(nan_count, type="int64", level="basic", lower=0),
        Metric(inf_count, type="int64", level="basic", lower=0),
        Metric(q001, level="basic", unit=_WEIGHT),
        Metric(q01, level="basic", unit=_WEIGHT),
        Metric(q50, level="basic", unit=_WEIGHT),
        Metric(q99, level="basic", unit=_WEIGHT),
        Metric(q999, level="basic", unit=_WEIGHT),
        Metric(value_dtype, type="string", level="basic"),
    ),
)
