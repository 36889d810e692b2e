"""The Gram matrix of a group's flattened experts, over a few lines of all of them at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Semaphore
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.loading import loaded_chunks
from mlx_probe.analysis.side_tables.elements import Matrix, band, read_bytes
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.units import format_size

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Weight
    from mlx_probe.compute.backends import Backend

__all__ = ["flattened_gram", "gram_bytes", "gram_problem", "least_bytes"]

# Elements of all experts that are read at a time, at most, and of these as many as a backend
# takes at once.
_BLOCK_ELEMENTS, _SLAB_ELEMENTS = 1 << 25, 1 << 22

# Ranges of lines whose sums are made apart, for as many workers at most; each has at least as many
# elements as are read at a time. They depend on the shape only, and so do the bits of the sums.
_RANGES = 8


@dataclass(frozen=True)
class _Lines:
    """The lines that experts are cut into: rows, or columns where the parts are columns.

    Attributes:
        count: Lines of an expert.
        width: Elements of a line.
        step: Lines that stay together.
        dtype: Type of the elements.
    """

    count: int
    width: int
    step: int
    dtype: str

    def range_bytes(self, backend: Backend, experts: int, extent: int) -> int:
        """Bytes that a range of lines takes at most.

        Args:
            backend: Multiplies.
            experts: Experts in memory at a time.
            extent: Lines of each.
        """
        itemsize = DTYPES[self.dtype].itemsize
        elements = experts * extent * self.width
        slab = min(elements, max(_SLAB_ELEMENTS, experts))
        # The lines of all experts, unpacked and as words, and those of one while it is unpacked;
        # a slab and the products.
        reading = 8 * elements + read_bytes(extent, self.width)
        return reading + backend.working_set(slab, itemsize, experts)


def _lines(weight: Weight) -> _Lines:
    part = weight.part
    axis = part.axis if part else 0
    step = part.length if part and not part.contiguous else 1
    return _Lines(weight.shape[axis], weight.shape[1 - axis], step, weight.chunk_dtype)


def _shared_bytes(experts: int) -> int:
    """Bytes of the Gram matrix and of what is computed from it; and the sums of the ranges."""
    return 8 * (8 + _RANGES) * experts**2


def gram_problem(members: Sequence[Weight], backend: Backend, budget: int) -> str | None:
    """Why a memory budget does not allow the cosines; None if it does."""
    least = least_bytes(members, backend)
    if least <= budget:
        return None
    return (
        f"a memory budget of {format_size(budget)} cannot hold a line of two of {len(members)} "
        f"experts: that takes {format_size(least)}"
    )


def least_bytes(members: Sequence[Weight], backend: Backend) -> int:
    """Bytes that the cosines take at least: a line of two experts, and all pairs."""
    lines, count = _lines(members[0]), len(members)
    return _shared_bytes(count) + lines.range_bytes(backend, min(count, 2), lines.step)


def flattened_gram(
    members: Sequence[Weight], backend: Backend, budget: int, workers: int
) -> Matrix:
    """Gram matrix of the flattened experts, float64.

    Every element enters once, as long as the budget holds a line of all experts. Where it does
    not, experts are taken two groups at a time, and are read once for each other group.

    Args:
        members: Experts of one shape.
        backend: Multiplies.
        budget: Bytes; enough for a line of two experts (see `gram_problem`).
        workers: Ranges of lines at the same time, where the budget holds as many; the result
            does not depend on it.

    Returns:
        Upper triangle, shape (E, E). No finite number on the diagonal for experts that are not
        finite, or whose squares are beyond float64.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    count, lines = len(members), _lines(members[0])
    together, extent = _at_a_time(members, backend, budget)
    lane = Semaphore(backend.lanes or workers)
    ranges = _ranges(lines, count)
    size = lines.range_bytes(backend, together, extent)

    def work(number: int) -> tuple[int, Matrix]:
        total = np.zeros((count, count))
        for chosen in _tiles(count, together):
            some = [members[i] for i in chosen]
            total[np.ix_(chosen, chosen)] = _range_gram(some, backend, lane, ranges[number], extent)
        return number, total

    with threadpool_limits(1, user_api="blas"):
        tasks = [(number, size) for number in range(len(ranges))]
        sums = dict(run_within_budget(work, tasks, workers, budget - _shared_bytes(count)))
    return np.asarray(sum(sums[number] for number in range(len(ranges))))


def gram_bytes(members: Sequence[Weight], backend: Backend, budget: int) -> int:
    """Bytes that `flattened_gram` takes at most on one worker within a budget."""
    lines, count = _lines(members[0]), len(members)
    return _shared_bytes(count) + lines.range_bytes(backend, *_at_a_time(members, backend, budget))


def _at_a_time(members: Sequence[Weight], backend: Backend, budget: int) -> tuple[int, int]:
    """How many experts are in memory at a time, and how many lines of each."""
    count, lines = len(members), _lines(members[0])
    budget -= _shared_bytes(count)
    together, extent = count, lines.step
    while together > 2 and lines.range_bytes(backend, together, extent) > budget:
        together = -(-together // 2)
    while (
        extent < lines.count
        and 2 * extent * lines.width * together <= _BLOCK_ELEMENTS
        and lines.range_bytes(backend, together, 2 * extent) <= budget
    ):
        extent *= 2
    return together, extent


def _ranges(lines: _Lines, experts: int) -> list[tuple[int, int]]:
    """First line and one past the last of each range."""
    steps = lines.count // lines.step
    blocks = experts * lines.count * lines.width // _BLOCK_ELEMENTS
    count = max(1, min(_RANGES, steps, blocks))
    return list(pairwise(lines.step * (steps * i // count) for i in range(count + 1)))


def _tiles(count: int, together: int) -> Iterator[list[int]]:
    """Experts to multiply with each other, so that every pair is in one of the lists."""
    if together == count:
        yield list(range(count))
        return
    half = max(1, together // 2)
    groups = [range(i, min(i + half, count)) for i in range(0, count, half)]
    for i, left in enumerate(groups):
        for right in groups[i + 1 :]:
            yield [*left, *right]


def _range_gram(
    members: Sequence[Weight],
    backend: Backend,
    lane: Semaphore,
    lines: tuple[int, int],
    extent: int,
) -> Matrix:
    """Gram matrix of some lines of some experts, ``extent`` lines of each at a time."""
    dtype, count = members[0].chunk_dtype, len(members)
    first, last = lines
    # As the short side of a wide matrix, the experts are what is multiplied; how wide it is does
    # not matter as long as it is.
    gram = backend.gram_pass(count, count + members[0].numel, dtype, precise=True)
    with np.errstate(over="ignore", invalid="ignore"):
        for top in range(first, last, extent):
            bands = [band(member, top, min(top + extent, last)) for member in members]
            with lane:
                for slab in _slabs(bands, backend):
                    gram.add(slab)
        with lane:
            return gram.finish().matrix


def _slabs(bands: Sequence[Weight], backend: Backend) -> Iterator[Any]:
    """Equal matrices, flattened: chunks of shape (matrices, elements)."""
    step = max(1, _SLAB_ELEMENTS // len(bands))
    for chunks in zip(*(loaded_chunks(lines, backend) for lines in bands), strict=True):
        for first in range(0, chunks[0].size, step):
            span = slice(first, min(first + step, chunks[0].size))
            yield backend.stack([loaded.chunk for loaded in chunks], span)
