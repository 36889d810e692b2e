"""Moments of a tensor from a histogram of its bit patterns, on the host in float64.

For types of at most 16 bits the counts of all bit patterns are the whole distribution, so that
all moments are exact. Wider floats are binned by their leading bits (sign, exponent and a part
of the fraction): that gives quantiles to within a bin, and exact sums of ulps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.counts import Occurrences
from mlx_probe.compute.backends.powersums import PowerSums
from mlx_probe.core.dtypes import DTYPES, FLOAT_FORMATS
from mlx_probe.core.records import QUANTILES, Moments
from mlx_probe.core.scaling import times_power_of_two

__all__ = ["BIN_BITS", "Bins", "Tally", "moments_of_bins", "moments_of_values", "smallest_normal"]

# Leading bits that make a bin of a 32- or 64-bit float: a bin of float32 is 2**-11 of its
# values wide, a bin of float64 2**-8.
BIN_BITS = 20

# Ends of bins, the one nearer to zero first, and how many elements they hold; of shape (bins,).
Bins = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True)
class Tally:
    """Counts, extremes and sums of a pass over 32- or 64-bit elements, beside their bins.

    Attributes:
        nan_count: NaNs.
        inf_count: Infinities.
        zero_count: Exact zeros.
        small_count: Magnitudes up to zero_epsilon.
        min: Smallest finite element; inf if there is none.
        max: Largest finite element; -inf if there is none.
        sums: Power sums of the finite elements.
        is_constant: Whether all finite elements are equal: 64-bit integers may differ where
            their extremes as float64 do not.
    """

    nan_count: int
    inf_count: int
    zero_count: int
    small_count: int
    min: float
    max: float
    sums: PowerSums
    is_constant: bool


def moments_of_values(
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    zero_epsilon: float,
    stored_format: str | None,
) -> Moments:
    """Exact moments from how often each value occurs.

    Args:
        values: Value of every bit pattern that occurs, NaN and infinities included, shape
            (patterns,).
        counts: Occurrences, all positive, shape (patterns,).
        zero_epsilon: Magnitude up to which `Moments.small_count` counts.
        stored_format: Key of `FLOAT_FORMATS`; None for integers.

    Returns:
        Moments whose quantiles equal ``numpy.quantile``'s of the expanded data.
    """
    finite = np.isfinite(values)
    nan_count = int(counts[np.isnan(values)].sum())
    inf_count = int(counts.sum() - counts[finite].sum()) - nan_count
    values, counts = values[finite], counts[finite]
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    tally = Tally(
        nan_count=nan_count,
        inf_count=inf_count,
        zero_count=int(counts[values == 0].sum()),
        small_count=int(counts[np.abs(values) <= zero_epsilon].sum()),
        min=low,
        max=high,
        sums=PowerSums.of_counts(values, counts),
        is_constant=low == high,
    )
    value_dtype = None if stored_format is None else _narrowest_format(values, stored_format)
    return _moments(tally, values, values, counts, value_dtype)


def moments_of_bins(
    occurrences: Occurrences,
    tally: Tally,
    stored_format: str | None,
    fits: Collection[str],
    subnormals: Bins | None,
) -> Moments:
    """Moments of 32- or 64-bit floats: sums from ``tally``, quantiles from the bins.

    Args:
        occurrences: Elements by their `BIN_BITS` leading bits. Those of zeros and subnormals do
            not count here.
        tally: What was computed element by element.
        stored_format: "F32" or "F64"; None for integers binned as float64.
        fits: Formats among BF16, F16 and F32 that hold every finite element exactly.
        subnormals: The ends of their bins and the counts; None without subnormals.

    Returns:
        Moments whose quantiles are within one bin (2**-11 of the value for float32, 2**-8
        for float64 and wide integers; zeros are a bin of their own).
    """
    codes, counts = occurrences
    near, far = _bin_edges(codes, stored_format or "F64")
    normal = np.isfinite(near) & (np.abs(near) >= smallest_normal(stored_format or "F64"))
    if not normal.all():
        near, far, counts = near[normal], far[normal], counts[normal]
    if tally.zero_count:
        zero = np.zeros(1)
        near, far = np.append(zero, near), np.append(zero, far)
        counts = np.append(np.int64(tally.zero_count), counts)
    if subnormals is not None:
        near = np.concatenate((subnormals[0], near))
        far = np.concatenate((subnormals[1], far))
        counts = np.concatenate((subnormals[2], counts))
    value_dtype = stored_format
    if stored_format is not None and "BF16" in fits:
        # Bins are finer than bfloat16, so the edges are the values themselves.
        value_dtype = _narrowest_format(near, "BF16")
    elif stored_format is not None:
        value_dtype = next((name for name in FLOAT_FORMATS if name in fits), stored_format)
    return _moments(tally, near, far, counts, value_dtype)


def _moments(
    tally: Tally,
    near: NDArray[np.float64],
    far: NDArray[np.float64],
    counts: NDArray[np.int64],
    value_dtype: str | None,
) -> Moments:
    sums, n = tally.sums, tally.sums.count
    mean = times_power_of_two(sums.mean, sums.exponent)
    if sums.exponent:
        # Rounding may have brought it beyond the largest float64.
        mean = min(max(mean, tally.min), tally.max)
    if n and tally.is_constant:
        # The mean of equal elements may be rounded; their spread is exactly zero.
        sums, mean = PowerSums(n, exponent=sums.exponent), tally.min
    nothing = float("nan")
    return Moments(
        count=n + tally.nan_count + tally.inf_count,
        nan_count=tally.nan_count,
        inf_count=tally.inf_count,
        zero_count=tally.zero_count,
        small_count=tally.small_count,
        mean=mean if n else nothing,
        m2=sums.s2 / n if n else nothing,
        m3=sums.s3 / n if n else nothing,
        m4=sums.s4 / n if n else nothing,
        min=tally.min,
        max=tally.max,
        quantiles=tuple(min(max(q, tally.min), tally.max) for q in _quantiles(near, far, counts)),
        value_dtype=value_dtype,
        rounding_variance=(
            _rounding_variance(near, counts, value_dtype, sums.exponent) if value_dtype else None
        ),
        exponent=sums.exponent,
    )


def smallest_normal(dtype: str) -> float:
    """Smallest positive normal number of a float format."""
    return float(2.0 ** FLOAT_FORMATS[dtype].min_exponent)


def _bin_edges(
    codes: NDArray[np.int64], dtype: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends of bins given by their leading bits, the one nearer to zero first."""
    bits = FLOAT_FORMATS[dtype].bits
    word, storage = np.dtype(f"<u{bits // 8}"), DTYPES[dtype].storage

    def value(leading: NDArray[np.int64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):  # the bins of NaNs
            return (leading.astype(word) << (bits - BIN_BITS)).view(storage).astype(np.float64)

    near, far = value(codes), value(codes + 1)
    # The far end of the last finite bin is not finite: the near end replaces it.
    return near, np.where(np.isfinite(far), far, near)


def _quantiles(
    near: NDArray[np.float64], far: NDArray[np.float64], counts: NDArray[np.int64]
) -> list[float]:
    """Quantiles, linear between order statistics; a bin spreads its own evenly over its width."""
    if not counts.size:
        return [float("nan")] * len(QUANTILES)
    lower, upper = np.minimum(near, far), np.maximum(near, far)
    order = np.argsort(lower, kind="stable")
    ends = np.cumsum(counts[order])

    def order_statistics(k: NDArray[np.int64]) -> NDArray[np.float64]:
        position = np.searchsorted(ends, k, side="right")
        i = order[position]
        within = (k - (ends[position] - counts[i]) + 0.5) / counts[i]
        return lower[i] + (upper[i] - lower[i]) * within

    last = int(ends[-1]) - 1
    position = np.array(QUANTILES) * last
    first = position.astype(np.int64)
    both = order_statistics(np.concatenate((first, np.minimum(first + 1, last))))
    below, above = both[: len(first)], both[len(first) :]
    with np.errstate(over="ignore", invalid="ignore"):  # float64 files near the range's end
        between = below + (above - below) * (position - first)
    if not np.isfinite(between).all():
        weight = position - first
        between = below * (1 - weight) + above * weight
    quantiles: list[float] = np.where(position > first, between, below).tolist()
    return quantiles


def _rounding_variance(
    magnitudes: NDArray[np.float64],
    counts: NDArray[np.int64],
    value_dtype: str,
    exponent: int,
) -> float | None:
    """Mean of ulp(x)**2 / 12 in units of 4**exponent; all values of a bin have the same ulp."""
    if not counts.size:
        return None
    form = FLOAT_FORMATS[value_dtype]
    # Without sign and fraction a float64 is the power of two below it, or zero.
    binade = (magnitudes.view(np.uint64) & np.uint64(0x7FF << 52)).view(np.float64)
    # Zeros and subnormals share the ulp of the smallest normal numbers.
    ulp = np.maximum(binade, 2.0**form.min_exponent) * 2.0 ** (1 - form.precision)
    if exponent:
        ulp = np.ldexp(ulp, -exponent)
    return float(np.dot(counts, ulp**2) / (12 * counts.sum()))


def _narrowest_format(values: NDArray[np.float64], stored: str) -> str:
    """First of `FLOAT_FORMATS` narrower than ``stored`` that holds every value, or ``stored``."""
    for name, form in FLOAT_FORMATS.items():
        if form.bits < FLOAT_FORMATS[stored].bits:
            _, exponent = np.frexp(values)
            spacing = np.maximum(exponent - 1, form.min_exponent) - form.precision + 1
            multiples = np.ldexp(values, -spacing)
            exact = bool(np.all(multiples == np.rint(multiples)))
            if exact and np.abs(values).max(initial=0.0) <= form.largest:
                return name
    return stored
