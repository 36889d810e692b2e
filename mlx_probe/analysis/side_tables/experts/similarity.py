"""How alike the matrices of a group are, pair by pair: cosines, overlaps of leading subspaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.side_tables.elements import (
    Matrix,
    band,
    read_bytes,
    read_into,
    values_dtype,
)
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.compute.spectrum.leading import STARTING_VECTORS, leading_bytes, leading_vectors
from mlx_probe.core.units import format_size

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Weight

__all__ = [
    "SUBSPACE",
    "Similarity",
    "gram_problem",
    "router_cosines",
    "subspace_dim",
    "subspace_overlaps",
    "weight_cosines",
]

# Leading singular vectors of an expert that are compared.
SUBSPACE = 8

# Elements of all experts that are read at a time, at most: 256 MiB in float64.
_BLOCK_ELEMENTS = 1 << 25


@dataclass(frozen=True)
class Similarity:
    """How alike vectors are, pair by pair.

    Attributes:
        values: Shape (E, E); NaN where one of the two cannot be compared.
        norms: Of the vectors, shape (E,); NaN for those that are not finite.
    """

    values: Matrix
    norms: Matrix

    def at(self, i: int, other: int | None) -> float | None:
        """The similarity of one pair; None without another."""
        return None if other is None else _number_or_none(self.values[i, other])

    def norm(self, i: int) -> float | None:
        """The norm of a vector; None if it is not finite."""
        return _number_or_none(self.norms[i])

    def nearest(self, i: int) -> int | None:
        """The other vector with the largest similarity; None where none has one."""
        others = self.values[i].copy()
        others[i] = np.nan
        return None if np.isnan(others).all() else int(np.nanargmax(others))

    def mean(self, i: int) -> float | None:
        """The mean similarity with the others that have one."""
        others = np.delete(self.values[i], i)
        others = others[~np.isnan(others)]
        return float(others.mean()) if len(others) else None


def _number_or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _cosines(gram: Matrix) -> Similarity:
    """Cosines of vectors by their Gram matrix."""
    norms = np.sqrt(np.diagonal(gram))
    inverse = np.divide(1.0, norms, out=np.full_like(norms, np.nan), where=norms > 0)
    # One factor after the other: the product of two norms may underflow where a cosine is large.
    return Similarity(np.clip(gram * inverse[:, None] * inverse, -1.0, 1.0), norms)


def weight_cosines(members: Sequence[Weight], budget: int) -> Similarity:
    """Cosines of the flattened experts.

    Args:
        members: Experts of one shape.
        budget: Bytes; enough for a line of two experts (see `gram_problem`).

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    return _cosines(_gram(members, budget))


@dataclass(frozen=True)
class _Lines:
    """The lines that experts are cut into: rows, or columns where the parts are columns.

    Attributes:
        count: Lines of an expert.
        width: Elements of a line.
        step: Lines that stay together.
    """

    count: int
    width: int
    step: int

    def tile_bytes(self, experts: int, tile: int, extent: int) -> int:
        """Bytes that `_gram` takes at most.

        Args:
            experts: Experts in all.
            tile: Experts in memory at a time; twice as many, if these are not all.
            extent: Lines of each.
        """
        tiles = 1 if tile == experts else 2
        # The Gram matrix and what is computed from it; the blocks, and a mask of the finite
        # elements of one; lines unpacked and decoded.
        blocks = 8 * tiles * tile * extent * self.width + extent * self.width
        return 64 * experts**2 + blocks + read_bytes(extent, self.width)


def _lines(weight: Weight) -> _Lines:
    part = weight.part
    axis = part.axis if part else 0
    step = part.length if part and not part.contiguous else 1
    return _Lines(weight.shape[axis], weight.shape[1 - axis], step)


def gram_problem(members: Sequence[Weight], budget: int) -> str | None:
    """Why a memory budget does not allow the cosines; None if it does."""
    lines, count = _lines(members[0]), len(members)
    least = lines.tile_bytes(count, min(count, 1 if count > 2 else 2), lines.step)
    if least <= budget:
        return None
    return (
        f"a memory budget of {format_size(budget)} cannot hold a line of two of {count} experts: "
        f"that takes {format_size(least)}"
    )


def _gram(members: Sequence[Weight], budget: int) -> Matrix:
    """Gram matrix of the flattened experts, summed over a few lines of all of them at a time.

    Returns:
        float64, shape (E, E); NaN for experts that are not finite.
    """
    count, lines = len(members), _lines(members[0])
    tile, extent = count, lines.step
    while lines.tile_bytes(count, tile, extent) > budget:
        tile = -(-tile // 2)
    while (
        extent < lines.count
        and 2 * extent * lines.width * tile <= _BLOCK_ELEMENTS
        and lines.tile_bytes(count, tile, 2 * extent) <= budget
    ):
        extent *= 2
    gram, finite = np.zeros((count, count)), np.ones(count, np.bool_)
    tiles = [slice(start, min(start + tile, count)) for start in range(0, count, tile)]
    with np.errstate(over="ignore", invalid="ignore"):
        for top in range(0, lines.count, extent):
            cut = top, min(top + extent, lines.count)
            for number, left in enumerate(tiles):
                one = _block(members[left], *cut, finite[left])
                gram[left, left] += one @ one.T
                for right in tiles[number + 1 :]:
                    two = _block(members[right], *cut, finite[right])
                    gram[left, right] += one @ two.T
                    # Frees this block before the next one is read.
                    del two
                del one
    gram = np.triu(gram) + np.triu(gram, 1).T
    finite &= np.isfinite(np.diagonal(gram))
    gram[~finite] = gram[:, ~finite] = np.nan
    return np.asarray(gram)


def _block(members: Sequence[Weight], top: int, bottom: int, finite: NDArray[np.bool_]) -> Matrix:
    """Some lines of some experts, flattened.

    Args:
        members: The experts.
        top: The first line.
        bottom: One past the last.
        finite: Set to False for experts with NaN or Inf, whose lines become zeros.

    Returns:
        float64, shape (experts, elements).
    """
    bands = [band(member, top, bottom) for member in members]
    block = np.empty((len(bands), *bands[0].shape))
    for i, (lines, out) in enumerate(zip(bands, block, strict=True)):
        read_into(lines, out)
        if not np.isfinite(out).all():
            finite[i] = False
            out[:] = 0.0
    return block.reshape(len(bands), -1)


def subspace_overlaps(
    members: Sequence[Weight],
    axis: int,
    usable: NDArray[np.bool_],
    budget: int,
    seed: int,
    workers: int,
) -> Similarity | None:
    """Overlaps of the leading subspaces of all pairs.

    Args:
        members: Experts of one shape.
        axis: 0 for the left singular vectors, 1 for the right ones.
        usable: Which of them are finite and not zero, shape (E,).
        budget: Bytes.
        seed: Of the random block that every Krylov space begins with.
        workers: Experts at the same time, where the budget holds as many.

    Returns:
        NaN for experts that are not usable; None where the budget does not hold an expert.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    count, first = len(members), members[0]
    size, hidden = first.shape[axis], first.shape[1 - axis]
    dim = subspace_dim(first)
    # Bases, random block and all pairs are shared; each worker has an expert and its workspace.
    shared = 8 * (count * dim * size + hidden * STARTING_VECTORS)
    shared += 8 * (8 * count**2 + 2 * count * dim**2)
    workspace = max(leading_bytes(size, hidden), read_bytes(size, hidden))
    each = values_dtype(first).itemsize * first.numel + workspace
    if shared + each > budget:
        return None
    bases = np.zeros((count, dim, size))
    start = np.random.default_rng(seed).standard_normal((hidden, STARTING_VECTORS))

    def work(i: int) -> None:
        matrix = np.empty(first.shape, values_dtype(first))
        read_into(members[i], matrix)
        bases[i] = leading_vectors(matrix if axis == 0 else matrix.T, dim, start).T

    tasks = [(int(i), each) for i in np.flatnonzero(usable)]
    with threadpool_limits(1, user_api="blas"):
        for _ in run_within_budget(work, tasks, workers, budget - shared):
            pass
    overlaps = np.full((count, count), np.nan)
    flat = bases.reshape(count * dim, size)
    for i in np.flatnonzero(usable):
        cosines = (flat @ bases[i].T).reshape(count, dim * dim)
        overlaps[i, usable] = np.square(cosines[usable]).sum(axis=1) / dim
    return Similarity(np.clip(overlaps, 0.0, 1.0), np.ones(count))


def subspace_dim(weight: Weight) -> int:
    """Leading singular vectors that are compared."""
    return min(SUBSPACE, *weight.shape)


def router_cosines(router: Weight | None, count: int, budget: int) -> Similarity | None:
    """Cosines of the router's rows, one for each expert.

    Args:
        router: A matrix with ``count`` rows or columns; None for none.
        count: Experts.
        budget: Bytes.

    Returns:
        None without a router that fits into the budget.
    """
    if router is None or 32 * router.numel + read_bytes(*router.shape) > budget:
        return None
    matrix = np.empty(router.shape)
    read_into(router, matrix)
    rows = matrix if len(matrix) == count else matrix.T
    finite = np.all(np.isfinite(rows), axis=1)
    rows = np.where(finite[:, None], rows, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        gram: Matrix = rows @ rows.T
    bad = ~(finite & np.isfinite(np.diagonal(gram)))
    gram[bad] = gram[:, bad] = np.nan
    return _cosines(gram)
