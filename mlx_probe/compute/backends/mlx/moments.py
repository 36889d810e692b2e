"""Moments on a device without float64."""

from __future__ import annotations

import math
from dataclasses import replace

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.counts import FEW, CodeCounts
from mlx_probe.compute.backends.distribution import (
    BIN_BITS,
    Tally,
    moments_of_bins,
    smallest_normal,
)
from mlx_probe.compute.backends.mlx.chunk import DeviceChunk
from mlx_probe.compute.backends.mlx.digits import scaled
from mlx_probe.compute.backends.mlx.sums import partial_sums, rough_sum, total
from mlx_probe.compute.backends.numpy.moments import CodePass
from mlx_probe.compute.backends.powersums import PowerSums
from mlx_probe.compute.backends.subnormals import SubnormalBins
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.records import Moments

__all__ = ["DeviceCodePass", "DeviceSumPass"]


class DeviceCodePass:
    """Bit patterns of types with at most 16 bits, counted on the device."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._pass = CodePass(dtype, zero_epsilon)
        self._word = {1: mx.uint8, 2: mx.uint16}[DTYPES[dtype].itemsize]

    def add(self, chunk: DeviceChunk) -> None:
        """Count the bit patterns of one chunk; the host waits once."""
        codes = chunk.stored.reshape(-1).view(self._word)
        if codes.size <= FEW:
            self._pass.add_codes(np.array(codes))
        else:
            self._pass.add_counts(np.array(_histogram(codes, 8 * self._word.size)))

    def finish(self) -> Moments:
        """Exact moments, from the same counts that numpy would make."""
        return self._pass.finish()


class DeviceSumPass:
    """Moments of float32: short partial sums on the device, combined in float64."""

    def __init__(self, zero_epsilon: float) -> None:
        self._zero_epsilon = _float32_below(zero_epsilon)
        self._counts, self._subnormals = CodeCounts(BIN_BITS), SubnormalBins("F32")
        self._nan = self._inf = self._zero = self._small = 0
        self._min, self._max = math.inf, -math.inf
        self._sums = PowerSums()
        self._fits = {"BF16": True, "F16": True}

    def add(self, chunk: DeviceChunk) -> None:
        """Sum one chunk; the host waits twice: for its scale, and for its sums."""
        x = chunk.values.reshape(-1)
        codes = x.view(mx.uint32) >> (32 - BIN_BITS)
        few = x.size <= FEW
        counted_codes = codes if few else _histogram(codes, BIN_BITS)
        nonfinite = mx.stack([mx.isnan(x).sum(), mx.isinf(x).sum()])
        survey = self._survey(x)
        mx.eval(counted_codes, nonfinite, survey)
        (self._counts.add if few else self._counts.add_table)(np.array(counted_codes))
        nans, infs = (int(count) for count in np.array(nonfinite))
        if nans or infs:
            self._nan += nans
            self._inf += infs
            # MLX cannot select by a mask; damaged tensors are rare enough for the host.
            host = np.array(x)
            x = mx.array(host[np.isfinite(host)])
            if not x.size:
                return
            survey = self._survey(x)
        counted, extremes = (np.array(part) for part in survey)
        zero, below, small, beyond_bf16, beyond_f16 = (int(count) for count in counted)
        self._zero += zero
        self._small += small
        self._fits["BF16"] &= not beyond_bf16
        self._fits["F16"] &= not beyond_f16
        if below > zero:
            self._add_subnormals(np.array(x))
            return
        least, most = (float(extreme) for extreme in extremes)
        self._min, self._max = min(self._min, least), max(self._max, most)
        self._sums = self._sums.merge(_power_sums(x, max(-least, most)))

    def _add_subnormals(self, x: NDArray[np.float32]) -> None:
        """Extremes and sums of a chunk with subnormals, which a GPU may take for zeros."""
        values = x.astype(np.float64)
        self._min, self._max = (
            min(self._min, float(values.min())),
            max(self._max, float(values.max())),
        )
        self._sums = self._sums.merge(PowerSums.of(values))
        magnitudes = np.abs(values)
        self._subnormals.add(x[(magnitudes > 0) & (magnitudes < smallest_normal("F32"))])

    def _survey(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """Counts of zeros, subnormals too, small ones, not in BF16, not in F16; the extremes."""
        words = x.view(mx.uint32)
        counted = [
            # Zeros by their bits: a GPU may flush subnormals to zero in comparisons.
            (words & 0x7FFFFFFF) == 0,
            (words & 0x7FFFFFFF) < 0x00800000,
            mx.abs(x) <= self._zero_epsilon,
            (words & 0xFFFF) != 0,
            x.astype(mx.float16).astype(mx.float32) != x,
        ]
        return mx.stack([each.sum() for each in counted]), mx.stack([x.min(), x.max()])

    def finish(self) -> Moments:
        """Moments of everything added."""
        counts = self._nan, self._inf, self._zero, self._small
        low, high = self._min, self._max
        tally = Tally(*counts, low, high, self._sums, is_constant=low == high)
        fits = [name for name, held in self._fits.items() if held]
        bins = self._subnormals.bins()
        return moments_of_bins(self._counts.occurrences(), tally, "F32", fits, bins)


def _histogram(codes: mx.array, bits: int) -> mx.array:
    return mx.zeros(1 << bits, mx.int32).at[codes.astype(mx.uint32)].add(1)


def _float32_below(limit: float) -> float:
    """Largest float32 up to a limit: the same elements lie within either."""
    with np.errstate(over="ignore"):
        nearest = np.float32(limit)
    # Python floats: numpy would compare in float32, where the two are equal.
    above = float(nearest) > limit
    return float(np.nextafter(nearest, np.float32(-np.inf)) if above else nearest)


def _power_sums(x: mx.array, largest: float) -> PowerSums:
    """Central moment sums of finite float32 elements, none larger than ``largest``.

    The elements are scaled by a power of two into (-1, 1), so that fourth powers that count
    neither overflow nor underflow. A mean that is large beside the spread is subtracted first; a
    small one is not, because the difference would be rounded. What is subtracted is a float32
    near the mean, computed on the device: sums about any point give those about the mean.
    """
    exponent = int(np.frexp(largest)[1])
    x = scaled(x, -exponent)
    # Sums of 64 multiples of 2**-12 are exact, so that only the small rest is rounded: a mean
    # that is a millionth of the spread is still right.
    coarse = mx.round(x * 4096.0) * (1 / 4096.0)
    parts = [partial_sums(coarse), partial_sums(x - coarse)]
    near = (rough_sum(parts[0]) + rough_sum(parts[1])) / x.size
    spread = rough_sum(partial_sums(mx.square(x))) / (16 * x.size)
    shift = mx.where(mx.square(near) > spread, near, 0.0)
    d = x - shift
    d2 = mx.square(d)
    parts += [partial_sums(d2), partial_sums(d2 * d), partial_sums(mx.square(d2))]
    mx.eval(shift, parts)
    sum_coarse, sum_rest, *raw = (total(part) for part in parts)
    about, mean = float(np.array(shift)), (sum_coarse + sum_rest) / x.size
    raw = [(mean - about) * x.size, *raw]
    sums = PowerSums.of_shifted(x.size, about, np.array(raw))
    # The host computes in float64, which holds the powers of any float32.
    return replace(sums, exponent=exponent).in_units(0)
