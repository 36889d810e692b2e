"""Moments on a device without float64."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from mlx_probe.compute.backends.distribution import BIN_BITS, Tally, moments_of_bins
from mlx_probe.compute.backends.mlx.chunk import DeviceChunk
from mlx_probe.compute.backends.mlx.digits import scaled
from mlx_probe.compute.backends.mlx.sums import partial_sums, rough_sum, total
from mlx_probe.compute.backends.numpy.moments import CodePass
from mlx_probe.compute.backends.powersums import PowerSums
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
        self._pass.add_counts(np.array(_histogram(codes, 8 * self._word.size)))

    def finish(self) -> Moments:
        """Exact moments, from the same counts that numpy would make."""
        return self._pass.finish()


class DeviceSumPass:
    """Moments of float32: short partial sums on the device, combined in float64."""

    def __init__(self, zero_epsilon: float) -> None:
        self._zero_epsilon = _float32_below(zero_epsilon)
        self._counts = np.zeros(1 << BIN_BITS, np.int64)
        self._nan = self._inf = self._zero = self._small = 0
        self._min, self._max = np.inf, -np.inf
        self._sums = PowerSums()
        self._fits = {"BF16": True, "F16": True}

    def add(self, chunk: DeviceChunk) -> None:
        """Sum one chunk; the host waits twice: for its scale, and for its sums."""
        x = chunk.values.reshape(-1)
        histogram = _histogram(x.view(mx.uint32) >> (32 - BIN_BITS), BIN_BITS)
        nonfinite = mx.stack([mx.isnan(x).sum(), mx.isinf(x).sum()])
        survey = self._survey(x)
        mx.eval(histogram, nonfinite, survey)
        self._counts += np.array(histogram)
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
        zero, small, beyond_bf16, beyond_f16 = (int(count) for count in counted)
        self._zero += zero
        self._small += small
        self._fits["BF16"] &= not beyond_bf16
        self._fits["F16"] &= not beyond_f16
        least, most = (float(extreme) for extreme in extremes)
        self._min, self._max = min(self._min, least), max(self._max, most)
        self._sums = self._sums.merge(_power_sums(x, max(-least, most)))

    def _survey(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """Counts of zeros, small ones, not in bfloat16, not in float16; the extremes."""
        words = x.view(mx.uint32)
        counted = [
            # Zeros by their bits: a GPU may flush subnormals to zero in comparisons.
            (words & 0x7FFFFFFF) == 0,
            mx.abs(x) <= self._zero_epsilon,
            (words & 0xFFFF) != 0,
            x.astype(mx.float16).astype(mx.float32) != x,
        ]
        return mx.stack([each.sum() for each in counted]), mx.stack([x.min(), x.max()])

    def finish(self) -> Moments:
        """Moments of everything added."""
        tally = Tally(
            self._nan, self._inf, self._zero, self._small, self._min, self._max, self._sums
        )
        fits = [name for name, held in self._fits.items() if held]
        return moments_of_bins(self._counts, tally, "F32", fits)


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
    return PowerSums(
        sums.count,
        float(np.ldexp(sums.mean, exponent)),
        *(float(np.ldexp(s, k * exponent)) for k, s in ((2, sums.s2), (3, sums.s3), (4, sums.s4))),
    )
