"""How alike vectors are, pair by pair, by their Gram matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.side_tables.elements import Matrix, read_bytes, words_of
from mlx_probe.core.dtypes import DTYPES

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Weight
    from mlx_probe.compute.backends import Backend

__all__ = ["Similarity", "cosines", "router_bytes", "router_cosines"]


@dataclass(frozen=True)
class Similarity:
    """How alike vectors are, pair by pair.

    Attributes:
        values: Shape (E, E); NaN where one of the two cannot be compared.
        norms: Of the vectors, shape (E,); NaN for those that are not finite.
    """

    values: Matrix
    norms: Matrix

    def among(self, places: Sequence[int]) -> Similarity:
        """Of some of the vectors only."""
        return Similarity(self.values[np.ix_(places, places)], self.norms[list(places)])

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


def cosines(gram: Matrix) -> Similarity:
    """Cosines of vectors by their Gram matrix.

    Args:
        gram: Upper triangle, shape (E, E). Vectors with NaN or Inf, or whose squares are beyond
            float64, have no finite number on the diagonal.
    """
    gram = np.triu(gram) + np.triu(gram, 1).T
    beyond = ~np.isfinite(np.diagonal(gram))
    gram[beyond] = gram[:, beyond] = np.nan
    norms = np.sqrt(np.diagonal(gram))
    inverse = np.divide(1.0, norms, out=np.full_like(norms, np.nan), where=norms > 0)
    # One factor after the other: the product of two norms may underflow where a cosine is large.
    return Similarity(np.clip(gram * inverse[:, None] * inverse, -1.0, 1.0), norms)


def router_cosines(
    router: Weight | None, count: int, backend: Backend, budget: int
) -> Similarity | None:
    """Cosines of the router's rows, one for each expert.

    Args:
        router: A matrix with ``count`` rows or columns; None for none.
        count: Experts.
        backend: Multiplies.
        budget: Bytes.

    Returns:
        None without a router that fits into the budget.
    """
    if router is None or not router_bytes(router, count, backend, budget):
        return None
    dtype = router.chunk_dtype
    words = words_of(router, backend)
    rows = words if len(words) == count else words.T
    # The wide side is only named: a matrix with more columns than experts has their Gram matrix.
    gram = backend.gram_pass(count, max(rows.shape[1], count + 1), dtype, precise=True)
    gram.add(backend.load(rows, dtype))
    return cosines(gram.finish().matrix)


def router_bytes(router: Weight | None, count: int, backend: Backend, budget: int) -> int:
    """Bytes that `router_cosines` takes at most; 0 where it leaves them out."""
    if router is None:
        return 0
    itemsize = DTYPES[router.chunk_dtype].itemsize
    size = read_bytes(*router.shape) + 2 * itemsize * router.numel + 64 * count**2
    size += backend.working_set(router.numel, itemsize, count)
    return size if size <= budget else 0
