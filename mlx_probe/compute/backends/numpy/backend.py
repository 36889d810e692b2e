"""The numpy backend: float64 on the CPU, always there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import lapack
from mlx_probe.compute.backends.chunk import BLOCK_ELEMENTS, BLOCK_LINES, Chunk
from mlx_probe.compute.backends.distribution import BIN_BITS
from mlx_probe.compute.backends.numpy.moments import BinPass, CodePass
from mlx_probe.compute.backends.numpy.native import (
    NativeBinPass,
    NativeChunk,
    NativeCodePass,
    plain_chunk,
)
from mlx_probe.compute.backends.numpy.operator import SlabOperator
from mlx_probe.compute.backends.numpy.pairs import HostChange, HostPairGrams
from mlx_probe.compute.backends.protocol import ElementPass, Gram, PairGrams
from mlx_probe.compute.backends.quantization import QuantizationSums
from mlx_probe.compute.native.elements import is_available
from mlx_probe.compute.native.lines import decodes, lines_of, reads
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.encoding import Encoded, Encoding
from mlx_probe.core.machine import usable_cores

__all__ = ["NumpyBackend", "SlabGram"]


def block_lines(short: int) -> int:
    """Lines of a block: a multiple of 256, because blocks of packed columns are up to so long."""
    return max(BLOCK_LINES, BLOCK_ELEMENTS // short // 256 * 256)


class SlabGram:
    """Float64 Gram matrix of the short side, slab by slab."""

    def __init__(self, rows: int, cols: int) -> None:
        self._tall = rows >= cols
        self._matrix = np.zeros((min(rows, cols),) * 2)

    def add(self, chunk: Chunk | NativeChunk) -> None:
        """Add one slab's part to the upper triangle, block by block."""
        height = block_lines(len(self._matrix))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for part in chunk.parts(0 if self._tall else 1, height):
                values = part.values
                lapack.add_gram(self._matrix, values if self._tall else values.T)

    def finish(self) -> Gram:
        """The Gram matrix; every element entered exactly."""
        return Gram(self._matrix, omitted=0.0)


class NumpyBackend:
    """Element work and LAPACK in float64 through numpy."""

    name = "numpy"
    device = "cpu"
    lanes = 0

    @property
    def in_place(self) -> bool:
        """With compiled kernels."""
        return is_available()

    @property
    def default_workers(self) -> int:
        """One for each core."""
        return usable_cores()

    def load(self, stored: NDArray[Any], dtype: str) -> Chunk | NativeChunk:
        """Stored words where they are for the kernels; otherwise contiguous, out of the map."""
        chunk = plain_chunk(stored, dtype)
        if chunk is not None:
            chunk.lines.touch()
            return chunk
        ours = stored.flags.writeable and stored.flags.c_contiguous
        return Chunk(stored if ours else np.array(stored, order="C"), dtype)

    def decodes(self, encoding: Encoding) -> bool:
        """What the compiled kernels decode, where they are."""
        return decodes(encoding)

    def load_encoded(self, block: Encoded) -> Chunk | NativeChunk:
        """Packed words where they are: each part is decoded when a pass takes it.

        What kernels cannot read after all is unpacked at once.
        """
        lines = lines_of(block)
        if lines is None:
            return self.load(block.unpack(), "F32")
        lines.touch()
        return NativeChunk(lines)

    def parts(
        self, chunk: Chunk | NativeChunk, rows: int, cols: int
    ) -> Iterable[Chunk | NativeChunk]:
        """Parts that kernels decode once for all passes; anything else undivided."""
        if isinstance(chunk, Chunk):
            return (chunk,)
        return chunk.parts(0 if rows >= cols else 1, block_lines(min(rows, cols)))

    def stack(self, chunks: Sequence[Chunk | NativeChunk], span: slice) -> Chunk | NativeChunk:
        """A copy of the words."""
        words = np.stack([chunk.stored.reshape(-1)[span] for chunk in chunks])
        return self.load(words, chunks[0].dtype)

    def element_pass(self, dtype: str, zero_epsilon: float) -> ElementPass:
        """Moments: by bit patterns up to 16 bits, by float64 sums above."""
        narrow = DTYPES[dtype].itemsize <= 2
        if reads(dtype):
            if narrow:
                return NativeCodePass(dtype, zero_epsilon)
            return NativeBinPass(zero_epsilon)
        return (CodePass if narrow else BinPass)(dtype, zero_epsilon)

    def gram_pass(self, rows: int, cols: int, dtype: str, precise: bool = False) -> SlabGram:
        """Float64 Gram matrix, which is precise in any case."""
        return SlabGram(rows, cols)

    def batch_size(self, rows: int, cols: int) -> int:
        """1: workers take matrices one by one."""
        return 1

    def gram_batch(
        self, chunks: Sequence[Chunk], rows: int, cols: int, dtype: str, precise: bool = False
    ) -> list[Gram]:
        """One Gram matrix after the other."""
        grams = []
        for chunk in chunks:
            gram = self.gram_pass(rows, cols, dtype)
            gram.add(chunk)
            grams.append(gram.finish())
        return grams

    def operator_pass(self, rows: int, cols: int, dtype: str) -> SlabOperator:
        """Products in float32 by BLAS."""
        return SlabOperator(rows, cols)

    def quantization_pass(
        self, rows: int, cols: int, dtype: str, bits: Sequence[int]
    ) -> QuantizationSums:
        """Affine rounding errors."""
        return QuantizationSums(rows, cols, dtype, bits)

    def change_pass(self, dtype_a: str, dtype_b: str) -> HostChange:
        """Sums in float64."""
        return HostChange()

    def pair_gram_pass(
        self, rows: int, cols: int, dtypes: tuple[str, str], difference: bool, sides: bool
    ) -> HostPairGrams:
        """Float64 Gram matrices."""
        return HostPairGrams(rows, cols, difference, sides)

    def pair_gram_batch(
        self,
        pairs: Sequence[tuple[Chunk | NativeChunk, Chunk | NativeChunk]],
        rows: int,
        cols: int,
        dtypes: tuple[str, str],
        sides: bool,
    ) -> list[PairGrams]:
        """One pair after the other."""
        passes = [HostPairGrams(rows, cols, True, sides) for _ in pairs]
        for each, pair in zip(passes, pairs, strict=True):
            each.add(*pair)
        return [each.finish() for each in passes]

    def on_host(self, chunk: Chunk | NativeChunk) -> Chunk:
        """The chunk itself, with packed elements as float32."""
        return chunk if isinstance(chunk, Chunk) else Chunk(chunk.stored, chunk.dtype)

    def working_set(self, slab_elements: int, itemsize: int, short: int) -> int:
        """A slab as loaded, blocks of it in float64, the counts; the matrix that is factorized."""
        block = max(BLOCK_ELEMENTS, BLOCK_LINES * short)
        if self.in_place:
            # Only float64 leaves the cache. A table of 32-bit counts, or two.
            blocks, counts = 8 * block, 5 << BIN_BITS if itemsize > 2 else 8 << 16
        else:
            # An element of a block as stored, in float32 and in float64. Wide types have counts
            # of `BIN_BITS` leading bits, and three numbers for each pattern that occurs.
            blocks, counts = 16 * block, 12 << BIN_BITS if itemsize > 2 else 4 << 16
        return itemsize * slab_elements + blocks + counts + lapack.workspace(short)

    def device_memory(self) -> tuple[int, int]:
        """No device: zeros."""
        return 0, 0
