"""Overlaps of the leading subspaces of the experts of a group."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Semaphore
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.loading import loaded_chunks
from mlx_probe.analysis.side_tables.elements import Matrix, read_bytes, read_into
from mlx_probe.analysis.side_tables.experts.similarity import Similarity
from mlx_probe.checkpoint.weight import chunk_extent
from mlx_probe.compute import lapack
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.compute.spectrum.leading import (
    SMALL,
    STARTING_VECTORS,
    leading_bytes,
    leading_vectors,
    leading_vectors_of_small,
)
from mlx_probe.core.dtypes import DTYPES

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Weight
    from mlx_probe.compute.backends import Backend

__all__ = [
    *("SUBSPACE", "expert_bytes", "overlaps_of", "subspace_bytes", "subspace_dim"),
    "subspace_overlaps",
]

# Leading singular vectors of an expert that are compared.
SUBSPACE = 8


def subspace_overlaps(
    members: Sequence[Weight],
    axis: int,
    usable: NDArray[np.bool_],
    backend: Backend,
    budget: int,
    seed: int,
    workers: int,
) -> Similarity | None:
    """Overlaps of the leading subspaces of all pairs.

    Args:
        members: Experts of one shape.
        axis: 0 for the left singular vectors, 1 for the right ones.
        usable: Which of them are finite and not zero, shape (E,).
        backend: Multiplies.
        budget: Bytes.
        seed: Of the random block that every Krylov space begins with.
        workers: Experts at the same time, where the budget holds as many; the result does not
            depend on it.

    Returns:
        NaN for experts that are not usable; None where the budget does not hold an expert.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    count, first = len(members), members[0]
    size, hidden = first.shape[axis], first.shape[1 - axis]
    dim = subspace_dim(first)
    shared, each = _shared_bytes(members, axis), expert_bytes(first, axis, backend)
    if shared + each > budget:
        return None
    bases = np.zeros((count, dim, size))
    start = np.random.default_rng(seed).standard_normal((hidden, STARTING_VECTORS))
    lane = Semaphore(backend.lanes or workers)

    def work(i: int) -> None:
        bases[i] = _basis(members[i], axis, dim, start, backend, lane).T

    tasks = [(int(i), each) for i in np.flatnonzero(usable)]
    with threadpool_limits(1, user_api="blas"):
        for _ in run_within_budget(work, tasks, workers, budget - shared):
            pass
    return overlaps_of(bases, usable)


def subspace_bytes(members: Sequence[Weight], axis: int, backend: Backend, budget: int) -> int:
    """Bytes that `subspace_overlaps` takes at most on one worker; 0 where it leaves them out."""
    needed = _shared_bytes(members, axis) + expert_bytes(members[0], axis, backend)
    return needed if needed <= budget else 0


def _shared_bytes(members: Sequence[Weight], axis: int) -> int:
    """Bytes of bases, random block and all pairs; each worker has an expert and its workspace."""
    count, first = len(members), members[0]
    dim = subspace_dim(first)
    shared = 8 * (count * dim * first.shape[axis] + first.shape[1 - axis] * STARTING_VECTORS)
    return shared + 8 * count**2 * (8 + dim**2)


def overlaps_of(bases: Matrix, usable: NDArray[np.bool_]) -> Similarity:
    """Overlaps of all pairs of subspaces.

    Args:
        bases: Orthonormal rows, shape (E, dim, size).
        usable: Which of them are compared, shape (E,).
    """
    count, dim, size = bases.shape
    cosines = np.zeros((count * dim, count * dim))
    lapack.add_gram(cosines, bases.reshape(count * dim, size).T)
    squares = np.square(cosines, out=cosines).reshape(count, dim, count, dim)
    # The upper triangle holds the whole block of every pair.
    above = np.triu(squares.sum(axis=(1, 3)) / dim, 1)
    overlaps = above + above.T + np.eye(count)
    overlaps[~usable] = overlaps[:, ~usable] = np.nan
    return Similarity(np.clip(overlaps, 0.0, 1.0), np.ones(count))


def subspace_dim(weight: Weight) -> int:
    """Leading singular vectors that are compared."""
    return min(SUBSPACE, *weight.shape)


def _basis(
    weight: Weight, axis: int, dim: int, start: Matrix, backend: Backend, lane: Semaphore
) -> Matrix:
    """Leading singular vectors of an expert, shape (size, dim)."""
    if weight.shape[axis] <= SMALL:
        matrix = np.empty(weight.shape)
        read_into(weight, matrix)
        return leading_vectors_of_small(matrix if axis == 0 else matrix.T, dim)
    rows, cols = weight.shape
    operator = backend.operator_pass(rows, cols, weight.chunk_dtype)
    with lane:
        for loaded in loaded_chunks(weight, backend):
            operator.add(loaded.chunk)
        return leading_vectors(operator, rows, cols, axis, dim, start)


def expert_bytes(weight: Weight, axis: int, backend: Backend) -> int:
    """Bytes that the basis of an expert takes at most."""
    size, hidden = weight.shape[axis], weight.shape[1 - axis]
    workspace = leading_bytes(size, hidden)
    if size <= SMALL:
        return 8 * weight.numel + read_bytes(size, hidden) + workspace
    slab = weight.short * min(weight.long, chunk_extent(weight.short))
    itemsize = DTYPES[weight.chunk_dtype].itemsize
    return 4 * weight.numel + backend.working_set(slab, itemsize, 0) + workspace
