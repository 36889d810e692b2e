"""Where the chunks of a pair come from, for the passes of a backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mlx_probe.analysis.compare.blocks import PairReader, WeightReader
from mlx_probe.analysis.loading import Loaded, loaded_chunks
from mlx_probe.checkpoint import chunk_extent
from mlx_probe.compute.backends import Backend
from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.runs.monitor import READ

__all__ = ["BlockSource", "PairChunk", "PairSource", "Replay", "WeightSource"]

_HOST = NumpyBackend()


@dataclass(frozen=True)
class PairChunk:
    """Chunks of A and of B with the same lines.

    Attributes:
        a: That of A.
        b: That of B; the same object where both are the same bytes.
        size: Elements of each.
        nbytes: Bytes of both as loaded.
    """

    a: Any
    b: Any
    size: int
    nbytes: int


class PairSource(Protocol):
    """Two tensors of one shape in a backend's memory, chunk by chunk, as often as needed."""

    @property
    def backend(self) -> Backend:
        """Whose passes take the chunks."""

    @property
    def dtypes(self) -> tuple[str, str]:
        """Types of A and of B as loaded."""

    @property
    def extents(self) -> tuple[int, int]:
        """Rows and columns of the matrix that the slabs make up."""

    @property
    def is_one_chunk(self) -> bool:
        """Whether there is a single chunk, small enough to be kept."""

    def chunks(self) -> Iterator[PairChunk]:
        """Chunks of A and of B with the same lines, in order; may raise what reading raises."""

    def host_chunks(self) -> Iterator[PairChunk]:
        """The same in the host's memory."""


@dataclass(frozen=True)
class WeightSource:
    """Two weights, or one weight beside itself.

    Attributes:
        a: Reads the first.
        b: Reads the second; ``a`` itself where both are the same bytes.
        backend: Where they are loaded.
    """

    a: WeightReader
    b: WeightReader
    backend: Backend

    @property
    def dtypes(self) -> tuple[str, str]:
        """Types of the stored words."""
        return self.a.weight.chunk_dtype, self.b.weight.chunk_dtype

    @property
    def extents(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.a.weight.extents

    @property
    def is_one_chunk(self) -> bool:
        """Whether the weights are read at once."""
        weight = self.a.weight
        return weight.long <= chunk_extent(weight.short)

    def chunks(self) -> Iterator[PairChunk]:
        """Only the shape decides how chunks are cut: those of both match."""
        return self._loaded(self.backend)

    def host_chunks(self) -> Iterator[PairChunk]:
        """The same through numpy."""
        return self._loaded(_HOST)

    def _loaded(self, backend: Backend) -> Iterator[PairChunk]:
        if self.a is self.b:
            for each in _loaded(self.a, backend):
                yield PairChunk(each.chunk, each.chunk, each.size, each.nbytes)
        else:
            both = (_loaded(side, backend) for side in (self.a, self.b))
            for x, y in zip(*both, strict=True):
                yield PairChunk(x.chunk, y.chunk, x.size, x.nbytes + y.nbytes)


@dataclass(frozen=True)
class BlockSource:
    """What is computed in float64 on the host: a weight, and what an adapter makes of it.

    Attributes:
        blocks: Makes the blocks.
        extents: The long side and the short one: a block is a slab of a tall matrix.
        backend: Of the host.
    """

    blocks: PairReader
    extents: tuple[int, int]
    backend: Backend

    # Every reading makes the changed weight again, which takes less memory than to keep it.
    is_one_chunk = False
    dtypes = ("F64", "F64")

    def chunks(self) -> Iterator[PairChunk]:
        """The blocks as chunks."""
        for x, y in self.blocks.blocks():
            yield PairChunk(Chunk(x, "F64"), Chunk(y, "F64"), x.size, x.nbytes + y.nbytes)

    def host_chunks(self) -> Iterator[PairChunk]:
        """The same chunks."""
        return self.chunks()


class Replay:
    """Reads a pair as often as asked; one that is a single chunk stays in memory after the first.

    Args:
        source: Where the chunks come from.
    """

    def __init__(self, source: PairSource) -> None:
        self.source = source
        self._kept: PairChunk | None = None
        self._reading: Iterator[PairChunk] = iter(())

    def __iter__(self) -> Iterator[PairChunk]:
        if self._kept is not None:
            yield self._kept
        elif self.source.is_one_chunk:
            # The iterator stays open: its end gives the chunk's memory back.
            self._reading = self.source.chunks()
            self._kept = next(self._reading)
            yield self._kept
        else:
            yield from self.source.chunks()

    def on_host(self) -> Iterator[PairChunk]:
        """The same chunks in the host's memory; what has to be read again is read there."""
        if self._kept is not None:
            host = self.source.backend.on_host
            yield replace(self._kept, a=host(self._kept.a), b=host(self._kept.b))
        else:
            yield from self.source.host_chunks()

    def close(self) -> None:
        """Give the memory of the chunk back."""
        self._kept = None
        for _ in self._reading:
            pass


def _loaded(reader: WeightReader, backend: Backend) -> Iterator[Loaded]:
    """The chunks of a weight in a backend's memory."""
    if not reader.interleaved:
        yield from reader.metered(loaded_chunks(reader.weight, backend))
        return
    for each in reader.metered(loaded_chunks(reader.weight, _HOST)):
        with reader.meter.stage(READ):
            host = _HOST.on_host(each.chunk)
            chunk = backend.load(reader.in_halves(host.stored), host.dtype)
        yield Loaded(chunk, each.size, each.nbytes)
