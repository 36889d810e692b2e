"""The MLX backend: element work in float32 and integers on the GPU stream.

The same operations run on MLX's CPU stream without a GPU, and are tested there. Nothing is
float64 on the device: no GPU that MLX uses computes in it. Types that need float64 (F64, 32- and
64-bit integers) go through numpy's passes on the same memory.

Streams belong to threads: the thread that begins a pass must finish it. Any thread may use a
loaded chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import lapack
from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.distribution import BIN_BITS
from mlx_probe.compute.backends.mlx import NO_GPU, decoding
from mlx_probe.compute.backends.mlx.chunk import DeviceChunk
from mlx_probe.compute.backends.mlx.decoding.floats import float8
from mlx_probe.compute.backends.mlx.digits import group_count
from mlx_probe.compute.backends.mlx.gram import DigitGram
from mlx_probe.compute.backends.mlx.moments import DeviceCodePass, DeviceSumPass
from mlx_probe.compute.backends.mlx.operator import DeviceOperator
from mlx_probe.compute.backends.mlx.pairs import (
    DeviceChange,
    DevicePairGrams,
    OnHost,
    batched_grams,
    host_chunk,
)
from mlx_probe.compute.backends.mlx.quantization import DeviceQuantizationPass
from mlx_probe.compute.backends.numpy.backend import NumpyBackend, SlabGram
from mlx_probe.compute.backends.numpy.native import NativeChunk
from mlx_probe.compute.backends.numpy.operator import SlabOperator
from mlx_probe.compute.backends.protocol import ElementPass, Gram, PairGrams
from mlx_probe.compute.backends.quantization import QuantizationSums
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.encoding import Encoded, Encoding
from mlx_probe.core.errors import BackendError

__all__ = ["MlxBackend", "has_gpu"]

# Additional digits if three or four leave a count undecided.
PRECISE_DIGITS = 2

# Most elements and most matrices of a batch, and the largest short side: products of larger
# matrices fill a GPU alone.
BATCH_ELEMENTS, BATCH_MATRICES, BATCH_SHORT = 1 << 24, 64, 1024

_NEEDS_FLOAT64 = frozenset({"F64", "I64", "I32", "U64", "U32"})


def has_gpu() -> bool:
    """Whether MLX can run on a GPU here (Metal or CUDA)."""
    return bool(mx.is_available(mx.gpu))


class DeviceGramPass:
    """The Gram matrix of one matrix, slab by slab."""

    def __init__(self, rows: int, cols: int, digits: int, floor: float) -> None:
        self._tall = rows >= cols
        self._gram = DigitGram(min(rows, cols), digits, floor=floor)

    def add(self, chunk: DeviceChunk) -> None:
        """Add one slab's part; the host waits once, for the columns' largest elements."""
        self._gram.add((chunk.values if self._tall else chunk.values.T)[None])

    def finish(self) -> Gram:
        """The Gram matrix and the Frobenius norm of what the digits left out."""
        return self._gram.finish()[0]


class MlxBackend:
    """MLX on its GPU stream, or on its CPU stream.

    Args:
        device: "gpu", "cpu", or "auto" for the GPU where there is one.

    Raises:
        BackendError: ``device`` is "gpu" and MLX sees none.
    """

    name = "mlx"
    # One stream: elements of several weights at once would only take more memory.
    lanes = 1

    def __init__(self, device: str) -> None:
        if device == "gpu" and not has_gpu():
            raise BackendError(*NO_GPU)
        on_gpu = device != "cpu" and has_gpu()
        self._stream = mx.gpu if on_gpu else mx.cpu
        name = mx.device_info(self._stream).get("device_name", "unknown")
        self.device = f"gpu: {name}" if on_gpu else "cpu"
        self._host = NumpyBackend()
        self._flushed_below = _flushed_below(self._stream)

    @property
    def in_place(self) -> bool:
        """No: a device has the elements of a whole slab."""
        return False

    @property
    def default_workers(self) -> int:
        """One for each core: while one uses the lane, the others solve."""
        return self._host.default_workers

    def load(self, stored: NDArray[Any], dtype: str) -> DeviceChunk | Chunk | NativeChunk:
        """Copy stored words into MLX memory and decode them to float32."""
        if dtype in _NEEDS_FLOAT64:
            return self._host.load(stored, dtype)
        # The operations of a thread run on its default device.
        mx.set_default_device(self._stream)
        # Files need not align their tensors; MLX expects whole words.
        words = mx.array(np.require(stored, requirements=("C", "ALIGNED")))
        values = _decode(words, dtype)
        mx.async_eval(values)  # type: ignore[no-untyped-call]
        return DeviceChunk(words, values)

    def decodes(self, encoding: Encoding) -> bool:
        """Most; see `decoding`."""
        return decoding.decodes(encoding)

    def load_encoded(self, block: Encoded) -> DeviceChunk | Chunk | NativeChunk:
        """Copy packed words into MLX memory and decode them there.

        Blocks that the device would decode to other numbers, or not at all, are unpacked first.
        """
        mx.set_default_device(self._stream)
        values = decoding.decode_block(block, flushes=self._flushed_below > 0)
        if values is None:
            return self.load(block.unpack(), "F32")
        mx.async_eval(values)  # type: ignore[no-untyped-call]
        return DeviceChunk(values, values)

    def parts(self, chunk: Any, rows: int, cols: int) -> Iterable[Any]:
        """The chunk: a device works on as much as it can at once."""
        return (chunk,)

    def stack(self, chunks: Sequence[Any], span: slice) -> DeviceChunk | Chunk | NativeChunk:
        """A copy of words and values."""
        if not isinstance(chunks[0], DeviceChunk):
            return self._host.stack(chunks, span)
        values = mx.stack([chunk.values.reshape(-1)[span] for chunk in chunks])
        words = mx.stack([chunk.stored.reshape(-1)[span] for chunk in chunks])
        return DeviceChunk(words, values)

    def element_pass(self, dtype: str, zero_epsilon: float) -> ElementPass:
        """Moments: by bit patterns up to 16 bits, by partial sums for float32."""
        if dtype in _NEEDS_FLOAT64:
            return self._host.element_pass(dtype, zero_epsilon)
        if DTYPES[dtype].itemsize <= 2:
            return DeviceCodePass(dtype, zero_epsilon)
        return DeviceSumPass(zero_epsilon)

    def gram_pass(
        self, rows: int, cols: int, dtype: str, precise: bool = False
    ) -> DeviceGramPass | SlabGram:
        """Exact Gram matrix from digits: three up to 16-bit types, four for float32."""
        if dtype in _NEEDS_FLOAT64:
            return self._host.gram_pass(rows, cols, dtype, precise)
        digits = _digits(DTYPES[dtype].itemsize) + (PRECISE_DIGITS if precise else 0)
        return DeviceGramPass(rows, cols, digits, self._floor(dtype))

    def batch_size(self, rows: int, cols: int) -> int:
        """As many small matrices as fill a GPU that one of them would leave idle."""
        if min(rows, cols) > BATCH_SHORT:
            return 1
        return max(1, min(BATCH_MATRICES, BATCH_ELEMENTS // (rows * cols)))

    def gram_batch(
        self,
        chunks: Sequence[DeviceChunk | Chunk],
        rows: int,
        cols: int,
        dtype: str,
        precise: bool = False,
    ) -> list[Gram]:
        """Gram matrices of one batch of products, bit for bit those of `gram_pass`."""
        if dtype in _NEEDS_FLOAT64:
            return self._host.gram_batch(cast(Sequence[Chunk], chunks), rows, cols, dtype)
        digits = _digits(DTYPES[dtype].itemsize) + (PRECISE_DIGITS if precise else 0)
        x = mx.stack([chunk.values for chunk in cast(Sequence[DeviceChunk], chunks)])
        gram = DigitGram(min(rows, cols), digits, len(chunks), self._floor(dtype))
        gram.add(x if rows >= cols else x.transpose(0, 2, 1))
        return gram.finish()

    def operator_pass(self, rows: int, cols: int, dtype: str) -> DeviceOperator | SlabOperator:
        """Products in float32 on the device."""
        if dtype in _NEEDS_FLOAT64:
            return self._host.operator_pass(rows, cols, dtype)
        return DeviceOperator(rows, cols)

    def quantization_pass(
        self, rows: int, cols: int, dtype: str, bits: Sequence[int]
    ) -> DeviceQuantizationPass | QuantizationSums:
        """Affine rounding errors."""
        if dtype in _NEEDS_FLOAT64:
            return self._host.quantization_pass(rows, cols, dtype, bits)
        return DeviceQuantizationPass(rows, cols, dtype, bits)

    def change_pass(self, dtype_a: str, dtype_b: str) -> DeviceChange | OnHost:
        """Short float32 sums on the device."""
        if not _NEEDS_FLOAT64.isdisjoint((dtype_a, dtype_b)):
            return OnHost(self._host.change_pass(dtype_a, dtype_b))
        return DeviceChange()

    def pair_gram_pass(
        self, rows: int, cols: int, dtypes: tuple[str, str], difference: bool, sides: bool
    ) -> DevicePairGrams | OnHost:
        """Exact Gram matrices from digits; the difference has those of float32."""
        if not _NEEDS_FLOAT64.isdisjoint(dtypes):
            return OnHost(self._host.pair_gram_pass(rows, cols, dtypes, difference, sides))
        return DevicePairGrams(
            self.gram_pass(rows, cols, "F32") if difference else None,
            [self.gram_pass(rows, cols, dtype) for dtype in dtypes] if sides else [],
        )

    def pair_gram_batch(
        self,
        pairs: Sequence[tuple[DeviceChunk | Chunk, DeviceChunk | Chunk]],
        rows: int,
        cols: int,
        dtypes: tuple[str, str],
        sides: bool,
    ) -> list[PairGrams]:
        """Gram matrices of one batch of products, bit for bit those of `pair_gram_pass`."""
        if not _NEEDS_FLOAT64.isdisjoint(dtypes):
            host = [(self.on_host(a), self.on_host(b)) for a, b in pairs]
            return self._host.pair_gram_batch(host, rows, cols, dtypes, sides)
        return batched_grams(self.gram_batch, pairs, rows, cols, dtypes, sides)

    def on_host(self, chunk: DeviceChunk | Chunk) -> Chunk:
        """The values, copied."""
        return host_chunk(chunk)

    def working_set(self, slab_elements: int, itemsize: int, short: int) -> int:
        """Bytes of the precise Gram pass, which takes most.

        They are a slab in all stages from words to digits, with the unfinished products (at most
        33 and 37 bytes for each digit were measured); int64 sums by groups, little more than
        their upper triangles; the float64 matrix that receives these sums; the one that was not
        precise enough, or the workspace of its factorization; the counts.
        """
        digits = _digits(itemsize) + PRECISE_DIGITS
        slab = 40 * digits * slab_elements
        sums = 5 * group_count(digits) * short**2
        return slab + sums + 8 * short**2 + lapack.workspace(short) + (32 << BIN_BITS)

    def _floor(self, dtype: str) -> float:
        """Largest loss of an element; only these types have subnormals of float32."""
        return self._flushed_below if dtype in ("BF16", "F32") else 0.0

    def device_memory(self) -> tuple[int, int]:
        """Bytes that MLX holds now and held at most."""
        return int(mx.get_active_memory()), int(mx.get_peak_memory())


def _decode(words: mx.array, dtype: str) -> mx.array:
    """Float32 values of stored words; exact for every type of at most 32 bits."""
    if dtype == "BF16":
        return words.view(mx.bfloat16).astype(mx.float32)
    if dtype in ("F8_E4M3", "F8_E5M2"):
        return float8(words, dtype)
    if dtype == "BOOL":
        return (words != 0).astype(mx.float32)
    return words.astype(mx.float32)


def _flushed_below(device: mx.DeviceType) -> float:
    """Magnitude below which a device treats numbers as zero: some do so with subnormals."""
    with mx.stream(device):
        kept = mx.array(np.float32(2.0**-149)) * 2.0**100
        return 0.0 if kept.item() else 2.0**-126


def _digits(itemsize: int) -> int:
    return 3 if itemsize <= 2 else 4
