"""Moments, sparsity and quantiles of a weight's elements.

All are over the finite elements, accumulated in float64; undefined ones are None.
"""

from __future__ import annotations

import math

from mlx_probe.core.column_texts import HERE, IN_STD, MEASURED, TEXTBOOK
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
        Metric(
            mean,
            level="basic",
            unit=_WEIGHT,
            title="Mean",
            plain="The average of all numbers in the tensor.",
            typical=IN_STD,
            caveat="A mean near 0 says nothing about the size of the elements: look at `rms`.",
            source=TEXTBOOK,
            formula="sum x / n",
        ),
        Metric(
            std,
            level="basic",
            unit=_WEIGHT,
            lower=0,
            title="Standard deviation",
            plain="How far the numbers of the tensor usually lie from their average.",
            typical=MEASURED,
            caveat="It depends on the width and the initialization of a model: compare layers of "
            "one block type, not models.",
            source=TEXTBOOK,
            formula="sqrt(sum (x - mean)^2 / n)",
        ),
        Metric(
            var,
            level="basic",
            unit="weight²",
            lower=0,
            title="Variance",
            plain="The square of the standard deviation: the usual spread of the numbers, squared.",
            typical=MEASURED,
            caveat="Its unit is squared, so a factor of 2 in the weights is a factor of 4 here.",
            source=TEXTBOOK,
            formula="sum (x - mean)^2 / n",
        ),
        Metric(
            sparsity,
            level="basic",
            lower=0,
            upper=1,
            title="Sparsity",
            plain="The share of the numbers that are zero or as good as zero.",
            typical=MEASURED,
            caveat="The limit is absolute: a tensor of very small weights counts as sparse "
            "without one zero in it.",
            source=HERE,
            formula="#{|x| <= zero_epsilon} / n",
        ),
        Metric(
            min,
            level="basic",
            unit=_WEIGHT,
            title="Smallest element",
            plain="The most negative number in the tensor, or the smallest one if none is "
            "negative.",
            typical=IN_STD,
            caveat="It is one element: a single outlier sets it, and it grows with the size of "
            "the tensor.",
            source=TEXTBOOK,
            formula="min x",
        ),
        Metric(
            max,
            level="basic",
            unit=_WEIGHT,
            title="Largest element",
            plain="The largest number in the tensor.",
            typical=IN_STD,
            caveat="It is one element: a single outlier sets it, and it grows with the size of "
            "the tensor.",
            source=TEXTBOOK,
            formula="max x",
        ),
        Metric(
            abs_max,
            level="basic",
            unit=_WEIGHT,
            lower=0,
            title="Largest magnitude",
            plain="The number that lies farthest from zero, without its sign.",
            typical=IN_STD,
            caveat="One element can make it: `q999` and `q001` show whether it stands alone.",
            source=TEXTBOOK,
            formula="max |x|",
        ),
        Metric(
            rms,
            level="basic",
            unit=_WEIGHT,
            lower=0,
            title="Root mean square",
            plain="The usual size of the numbers in the tensor, whatever their sign.",
            typical=MEASURED,
            caveat="Large elements count with their square, so few outliers can raise it.",
            source=TEXTBOOK,
            formula="sqrt(sum x^2 / n)",
        ),
        Metric(
            skewness,
            level="basic",
            title="Skewness",
            plain="Whether large numbers lie mostly on the positive or on the negative side.",
            typical=MEASURED,
            caveat="It is a third power, so a few outliers decide it in a tensor that is "
            "otherwise symmetric.",
            source=TEXTBOOK,
            formula="m3 / m2^1.5",
        ),
        # m4 >= m2^2, with equality for two-point distributions, and float64 rounding below it.
        Metric(
            kurtosis,
            level="basic",
            lower=-2.0000001,
            title="Excess kurtosis",
            plain="How much of the spread comes from few extreme numbers; 0 for a bell curve.",
            typical=MEASURED,
            caveat="It is a fourth power: one huge element makes it enormous, and rows of "
            "different size raise it without outliers.",
            source=TEXTBOOK,
            formula="m4 / m2^2 - 3",
        ),
        Metric(
            zero_fraction,
            level="basic",
            lower=0,
            upper=1,
            title="Exact zeros",
            plain="The share of the numbers that are exactly zero.",
            typical=MEASURED,
            caveat="Low-bit formats have zeros because 0 is one of their few values; that is no "
            "pruning.",
            source=HERE,
            formula="#{x = 0} / n",
        ),
        Metric(
            nan_count,
            type="int64",
            level="basic",
            lower=0,
            title="NaNs",
            plain="How many entries are no number at all, which breaks every computation with "
            "them.",
            typical=MEASURED,
            caveat="0 says that the file holds numbers, not that they are the right ones.",
            source="IEEE 754",
            formula="#{x is NaN}",
        ),
        Metric(
            inf_count,
            type="int64",
            level="basic",
            lower=0,
            title="Infinities",
            plain="How many entries are infinite, as after an overflow.",
            typical=MEASURED,
            caveat="A value that was clipped at the format's largest number is as wrong, and is "
            "not counted.",
            source="IEEE 754",
            formula="#{x is inf or -inf}",
        ),
        Metric(
            q001,
            level="basic",
            unit=_WEIGHT,
            title="0.1 % quantile",
            plain="One number in a thousand is below this value.",
            typical=IN_STD,
            caveat="A tensor of a few thousand elements has only a few below it, so it moves by "
            "chance.",
            source=TEXTBOOK,
        ),
        Metric(
            q01,
            level="basic",
            unit=_WEIGHT,
            title="1 % quantile",
            plain="One number in a hundred is below this value.",
            typical=IN_STD,
            caveat="It says nothing about the most extreme elements: see `q001` and `min`.",
            source=TEXTBOOK,
        ),
        Metric(
            q50,
            level="basic",
            unit=_WEIGHT,
            title="Median",
            plain="Half of the numbers are below this value and half above.",
            typical=IN_STD,
            caveat="It is 0 for a tensor of mostly zeros, however large the others are.",
            source=TEXTBOOK,
        ),
        Metric(
            q99,
            level="basic",
            unit=_WEIGHT,
            title="99 % quantile",
            plain="One number in a hundred is above this value.",
            typical=IN_STD,
            caveat="It says nothing about the most extreme elements: see `q999` and `max`.",
            source=TEXTBOOK,
        ),
        Metric(
            q999,
            level="basic",
            unit=_WEIGHT,
            title="99.9 % quantile",
            plain="One number in a thousand is above this value.",
            typical=IN_STD,
            caveat="A tensor of a few thousand elements has only a few above it, so it moves by "
            "chance.",
            source=TEXTBOOK,
        ),
        Metric(
            value_dtype,
            type="string",
            level="basic",
            title="Value type",
            plain="The smallest number format that could store the tensor without changing one "
            "value.",
            typical="F8_E4M3, F8_E5M2, BF16, F16, F32 or F64; BF16 in a file of type F32 means "
            "that half of it is zeros.",
            caveat="Packed weights are decoded to float32 and mostly say F32: their bits are in "
            "`bits_per_weight`.",
            source=HERE,
        ),
    ),
)
