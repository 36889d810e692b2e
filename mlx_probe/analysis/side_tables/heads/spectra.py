"""Singular values of a head's product, by triangular factors of its two matrices."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Semaphore
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.elements import Matrix
from mlx_probe.analysis.side_tables.heads.triangles import Triangles, factor_bytes, triangles

if TYPE_CHECKING:
    from mlx_probe.analysis.side_tables.heads.circuits import Factor
    from mlx_probe.compute.backends import Backend

__all__ = ["HeadSpectra", "circuit_bytes", "head_spectra"]


@dataclass(frozen=True)
class HeadSpectra:
    """Singular values of the products of all heads of a circuit.

    Attributes:
        values: Descending, float64, shape (heads, k).
        errors: Bound on their errors over the largest, shape (heads,); Inf where the product's
            size is beyond float64.
        finite: Whether neither factor has NaN or Inf, shape (heads,).
        by_gram: Whether a factor's triangle is that of its Gram matrix, shape (heads,).
    """

    values: Matrix
    errors: Matrix
    finite: NDArray[np.bool_]
    by_gram: NDArray[np.bool_]


def head_spectra(one: Factor, two: Factor, backend: Backend, lane: Semaphore) -> HeadSpectra:
    """Spectra of all heads of a circuit.

    Args:
        one: Left factor.
        two: Right factor; each of its heads is shared by as many neighbouring left ones.
        backend: Multiplies.
        lane: Held while the backend works.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
        LinAlgError: LAPACK failed.
    """
    left, right = triangles(one, backend, lane), triangles(two, backend, lane)
    shared = np.repeat(np.arange(two.count), one.count // two.count)
    sigma = np.linalg.svd(left.values @ right.values[shared].swapaxes(1, 2), compute_uv=False)
    with np.errstate(over="ignore", under="ignore"):
        sizes = left.sizes * right.sizes[shared]
    largest = sigma[:, 0]
    absolute = _absolute_bound(one, two, left, right, shared)
    errors = np.divide(absolute, largest, out=np.zeros_like(largest), where=largest > 0)
    errors += np.where(largest > 0, left.relative + right.relative[shared], 0.0)
    both = (left.sizes > 0) & (right.sizes[shared] > 0)
    errors[both & ((sizes == 0) | ~np.isfinite(sizes))] = np.inf
    return HeadSpectra(
        values=sigma * np.where(np.isfinite(sizes), sizes, 0.0)[:, None],
        errors=errors,
        finite=left.finite & right.finite[shared],
        by_gram=left.by_gram | right.by_gram[shared],
    )


def _absolute_bound(
    one: Factor, two: Factor, left: Triangles, right: Triangles, shared: NDArray[np.intp]
) -> Matrix:
    """Bound on errors that do not shrink with a singular value, for factors of norm 1."""
    rounding = np.finfo(np.float64).eps * (one.outside + two.outside + one.width)
    return np.asarray(rounding + left.omitted + right.omitted[shared])


def circuit_bytes(one: Factor, two: Factor, backend: Backend) -> int:
    """Bytes that a circuit takes at most: one factor at a time, triangles and products of both."""
    reading = max(factor_bytes(factor, backend) for factor in (one, two))
    return reading + 6 * 8 * one.width**2 * (one.count + two.count)
