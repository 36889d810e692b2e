"""The MLX backend: element work in float32 on the GPU stream, LAPACK on the CPU stream.

The same operations run on MLX's CPU stream where there is no GPU, which is how they are
tested. Nothing here is float64 on the GPU: no GPU that MLX drives computes in it. Types that
need float64 (F64, 32- and 64-bit integers) go through numpy's passes on the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.backends.chunk import Chunk
from mlx_probe.backends.distribution import BIN_BITS, Tally, moments_of_bins
from mlx_probe.backends.mlx_digits import DigitGram, scaled
from mlx_probe.backends.numpy import SlabGram, SlabQR, qr_parts
from mlx_probe.backends.numpy_moments import BinPass, CodePass
from mlx_probe.backends.powersums import PowerSums
from mlx_probe.backends.quantization import ErrorSums, QuantizationSums, affine_round
from mlx_probe.dtypes import DTYPES, float8_e4m3_values
from mlx_probe.errors import BackendError, SpectrumError
from mlx_probe.records import Moments, QuantizationError

__all__ = ["MlxBackend", "has_gpu"]

# Float32 partial sums run over this many elements and are combined in float64.
PARTIAL = 64

_NEEDS_FLOAT64 = frozenset({"F64", "I64", "I32", "U64", "U32"})


def has_gpu() -> bool:
    """Whether MLX can run on a GPU here (Metal or CUDA)."""
    return bool(mx.is_available(mx.gpu))


@dataclass(frozen=True)
class DeviceChunk:
    """Stored words and their values in MLX memory.

    Attributes:
        stored: Words as in the file.
        values: The elements as float32 (exact for every type that comes here).
    """

    stored: mx.array
    values: mx.array


class DeviceCodePass:
    """Bit patterns of types with at most 16 bits, counted on the device."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._pass = CodePass(dtype, zero_epsilon)
        self._word = {1: mx.uint8, 2: mx.uint16}[DTYPES[dtype].itemsize]

    def add(self, chunk: DeviceChunk) -> None:
        """Count the bit patterns of one chunk."""
        codes = chunk.stored.reshape(-1).view(self._word)
        self._pass.add_counts(_histogram(codes, 8 * self._word.size))

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
        """Sum one chunk."""
        x = chunk.values.reshape(-1)
        self._counts += _histogram(x.view(mx.uint32) >> (32 - BIN_BITS), BIN_BITS)
        nans, infs = int(mx.isnan(x).sum()), int(mx.isinf(x).sum())
        if nans or infs:
            self._nan += nans
            self._inf += infs
            # MLX cannot compact by a mask; damaged tensors are rare enough for the host.
            host = np.array(x)
            x = mx.array(host[np.isfinite(host)])
            if not x.size:
                return
        words = x.view(mx.uint32)
        # Zeros by their bits: a GPU may flush subnormals to zero in comparisons.
        self._zero += int(((words & 0x7FFFFFFF) == 0).sum())
        self._small += int((mx.abs(x) <= self._zero_epsilon).sum())
        self._min = min(self._min, float(x.min()))
        self._max = max(self._max, float(x.max()))
        self._fits["BF16"] &= bool(mx.all((words & 0xFFFF) == 0))
        self._fits["F16"] &= bool(mx.all(x.astype(mx.float16).astype(mx.float32) == x))
        self._sums = self._sums.merge(_power_sums(x))

    def finish(self) -> Moments:
        """Moments of everything added."""
        tally = Tally(
            self._nan, self._inf, self._zero, self._small, self._min, self._max, self._sums
        )
        fits = [name for name, held in self._fits.items() if held]
        return moments_of_bins(self._counts, tally, "F32", fits)


class HostQR:
    """Float64 singular values by sequential QR on MLX's CPU stream (see `SlabQR`)."""

    def __init__(self, rows: int, cols: int) -> None:
        self._tall = rows >= cols
        self._triangle: mx.array | None = None

    def add(self, chunk: DeviceChunk) -> None:
        """Fold one slab into the triangle."""
        x = chunk.values if self._tall else chunk.values.T
        with mx.stream(mx.cpu):
            for part in qr_parts(x):
                stacked = part.astype(mx.float64)
                if self._triangle is not None:
                    stacked = mx.concatenate([self._triangle, stacked])
                if stacked.shape[0] > stacked.shape[1]:
                    stacked = mx.linalg.qr(stacked)[1]
                self._triangle = stacked
                mx.eval(stacked)

    def singular_values(self) -> NDArray[np.float64]:
        """Singular values of everything added: float64, descending.

        Raises:
            SpectrumError: The SVD did not converge.
        """
        if self._triangle is None:
            return np.zeros(0)
        return _lapack(lambda: mx.linalg.svd(self._triangle, compute_uv=False, stream=mx.cpu))


class DeviceQuantizationPass:
    """Affine rounding errors on the device."""

    def __init__(self, rows: int, cols: int, dtype: str, bits: Sequence[int]) -> None:
        self._sums = ErrorSums(rows, cols, bits)
        kept = {"BF16": mx.bfloat16, "F16": mx.float16}.get(dtype)
        self._keep = None if kept is None else lambda x: x.astype(kept).astype(mx.float32)

    def add(self, chunk: DeviceChunk) -> None:
        """Round one slab and add up what that changes."""
        x = chunk.values
        squared = {}
        for bits in self._sums.bits:
            error = x - affine_round(mx, x, bits, self._keep)
            squared[bits] = _sum_of_squares(error.reshape(-1))
        magnitude = mx.abs(x)
        self._sums.add_slab(
            np.array(magnitude.max(axis=1)), np.array(magnitude.max(axis=0)), squared
        )

    def finish(self) -> QuantizationError:
        """The errors over everything added."""
        return self._sums.finish()


class MlxBackend:
    """MLX on its GPU stream, or on its CPU stream.

    Args:
        device: "gpu", "cpu", or "auto" for the GPU where there is one.

    Raises:
        BackendError: ``device`` is "gpu" and MLX sees none.
    """

    name = "mlx"
    # One matrix at a time keeps the GPU's queue full; more only multiply the memory.
    default_workers = 1

    def __init__(self, device: str) -> None:
        if device == "gpu" and not has_gpu():
            raise BackendError(
                "MLX sees no GPU on this machine",
                "Use --device cpu, or --backend numpy, which is faster on a CPU",
            )
        on_gpu = device != "cpu" and has_gpu()
        self._stream = mx.gpu if on_gpu else mx.cpu
        name = mx.device_info(self._stream).get("device_name", "unknown")
        self.device = f"gpu: {name}" if on_gpu else "cpu"

    def load(self, stored: NDArray[Any], dtype: str) -> DeviceChunk | Chunk:
        """Copy stored words into MLX memory and decode them to float32."""
        if dtype in _NEEDS_FLOAT64:
            return Chunk(np.array(stored, order="C"), dtype)
        # MLX's default device decides where a thread's operations run.
        mx.set_default_device(self._stream)
        # Files need not align their tensors; MLX expects whole words.
        words = mx.array(np.require(stored, requirements=("C", "ALIGNED")))
        values = _decode(words, dtype)
        mx.eval(values)
        return DeviceChunk(words, values)

    def element_pass(
        self, dtype: str, zero_epsilon: float
    ) -> DeviceCodePass | DeviceSumPass | BinPass:
        """Moments: by bit patterns up to 16 bits, by partial sums for float32."""
        if dtype in _NEEDS_FLOAT64:
            return BinPass(dtype, zero_epsilon)
        if DTYPES[dtype].itemsize <= 2:
            return DeviceCodePass(dtype, zero_epsilon)
        return DeviceSumPass(zero_epsilon)

    def gram_pass(self, rows: int, cols: int, dtype: str) -> DigitGram | SlabGram:
        """Exact Gram matrix from digits: three up to 16-bit types, four for float32."""
        if dtype in _NEEDS_FLOAT64:
            return SlabGram(rows, cols)
        return DigitGram(rows, cols, digits=3 if DTYPES[dtype].itemsize <= 2 else 4)

    def triangular_pass(self, rows: int, cols: int, dtype: str) -> HostQR | SlabQR:
        """Float64 QR on the CPU stream."""
        return SlabQR(rows, cols) if dtype in _NEEDS_FLOAT64 else HostQR(rows, cols)

    def quantization_pass(
        self, rows: int, cols: int, dtype: str, bits: Sequence[int]
    ) -> DeviceQuantizationPass | QuantizationSums:
        """Affine rounding errors."""
        kind = QuantizationSums if dtype in _NEEDS_FLOAT64 else DeviceQuantizationPass
        return kind(rows, cols, dtype, bits)

    def eigvalsh(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Eigenvalues, ascending (LAPACK syevd on the CPU stream, float64).

        Raises:
            SpectrumError: The iteration did not converge.
        """
        host = mx.array(matrix, dtype=mx.float64)
        return _lapack(lambda: mx.linalg.eigvalsh(host, stream=mx.cpu))

    def working_set(self, slab_elements: int, short: int) -> int:
        """A slab as words, float32 and digits; int64 products; float64 matrices on the host."""
        return 64 * slab_elements + 112 * short**2 + (32 << BIN_BITS)

    def device_memory(self) -> tuple[int, int]:
        """Bytes that MLX holds now and held at most."""
        return int(mx.get_active_memory()), int(mx.get_peak_memory())


def _decode(words: mx.array, dtype: str) -> mx.array:
    """Float32 values of stored words; exact for every type of at most 32 bits."""
    if dtype == "BF16":
        return words.view(mx.bfloat16).astype(mx.float32)
    if dtype == "F8_E4M3":
        return mx.array(float8_e4m3_values())[words]
    if dtype == "F8_E5M2":
        return (words.astype(mx.uint16) << 8).view(mx.float16).astype(mx.float32)
    if dtype == "BOOL":
        return (words != 0).astype(mx.float32)
    return words.astype(mx.float32)


def _histogram(codes: mx.array, bits: int) -> NDArray[np.int32]:
    counts = mx.zeros(1 << bits, mx.int32).at[codes.astype(mx.uint32)].add(1)
    return np.array(counts)


def _float32_below(limit: float) -> float:
    """Largest float32 up to a limit: the same elements lie within either."""
    with np.errstate(over="ignore"):
        nearest = np.float32(limit)
    # Python floats: numpy would compare in float32, where the two are equal.
    above = float(nearest) > limit
    return float(np.nextafter(nearest, np.float32(-np.inf)) if above else nearest)


def _partial_sums(x: mx.array) -> NDArray[np.float32]:
    """Sums of consecutive `PARTIAL` elements of a vector; the last one may be shorter."""
    whole = x.size // PARTIAL * PARTIAL
    parts = [x[:whole].reshape(-1, PARTIAL).sum(axis=1), x[whole:].sum(keepdims=True)]
    return np.array(mx.concatenate(parts))


def _sum(x: mx.array) -> float:
    return float(np.sum(_partial_sums(x), dtype=np.float64))


def _sum_of_squares(x: mx.array) -> float:
    """Scaled by a power of two, so that float32 squares neither overflow nor underflow."""
    exponent = int(np.frexp(float(mx.abs(x).max()))[1])
    return float(np.ldexp(_sum(mx.square(scaled(x, -exponent))), 2 * exponent))


def _power_sums(x: mx.array) -> PowerSums:
    """Central moment sums of finite float32 elements.

    The elements are scaled by a power of two into (-1, 1), so that fourth powers neither
    overflow nor underflow where they count. A mean that is large beside the spread is
    subtracted first; a small one is not, because the difference would be rounded.
    """
    exponent = int(np.frexp(float(mx.abs(x).max()))[1])
    x = scaled(x, -exponent)
    # Sums of 64 multiples of 2**-12 are exact, which leaves rounding only to the small rest:
    # weights whose mean is a millionth of their spread still get it right.
    coarse = mx.round(x * 4096.0) * (1 / 4096.0)
    mean = (_sum(coarse) + _sum(x - coarse)) / x.size
    square_sum = _sum(mx.square(x))
    shift = np.float32(mean if mean**2 * x.size > square_sum / 16 else 0.0)
    d = x - mx.array(shift)
    d2 = mx.square(d)
    raw = [(mean - float(shift)) * x.size, _sum(d2), _sum(d2 * d), _sum(mx.square(d2))]
    sums = PowerSums.of_shifted(x.size, float(shift), np.array(raw))
    return PowerSums(
        sums.count,
        float(np.ldexp(sums.mean, exponent)),
        *(float(np.ldexp(s, k * exponent)) for k, s in ((2, sums.s2), (3, sums.s3), (4, sums.s4))),
    )


def _lapack(factorize: Any) -> NDArray[np.float64]:
    """Run a float64 factorization on the CPU stream and fetch its values."""
    try:
        result: NDArray[np.float64] = np.array(factorize())
    except (RuntimeError, ValueError) as error:
        raise SpectrumError(
            f"LAPACK through MLX: {error}", "Report the tensor, or use --backend numpy"
        ) from error
    return result
