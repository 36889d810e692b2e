"""Triangular factors of a matrix's heads: R with R^T R = W_head W_head^T.

Two ways. The Cholesky factor of the Gram matrix, which a backend multiplies in batches of equal
heads, or a Householder QR factorization of the elements in float64, which takes three times as
long and computes on the host.

A Gram matrix that is off by E has the factor of a matrix (I + F)^(1/2) R up to a rotation, with
|F| at most |E| |R^-1|^2. Multiplied from one side, that changes every singular value of a product
by a factor of at most (1 + |F|)^(1/2) (Eisenstat and Ipsen 1995, "Relative perturbation
techniques for singular value problems"): also small ones keep their digits, as long as the
head itself is well-conditioned. Where |F| may exceed `_LARGEST_CHANGE`, QR computes the factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Semaphore
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.elements import Matrix, read_bytes, words_of
from mlx_probe.compute.spectrum.bounds import gram_eigenvalue_bound, squares_are_safe
from mlx_probe.core.dtypes import DTYPES, decode

if TYPE_CHECKING:
    from mlx_probe.analysis.side_tables.heads.circuits import Factor
    from mlx_probe.compute.backends import Backend, Gram

__all__ = ["Triangles", "factor_bytes", "triangles"]

# Elements that are factorized at a time: 32 MiB in float64.
_BATCH = 1 << 22

# Bound on |F| up to which the Gram matrix's factor is taken: half of it is the relative error of a
# singular value.
_LARGEST_CHANGE = 1e-9


@dataclass(frozen=True)
class Triangles:
    """Triangular factors of a matrix's heads.

    Attributes:
        values: R over `sizes`, float64, shape (heads, min(d, width), width).
        sizes: Frobenius norms, shape (heads,).
        finite: Whether a head has neither NaN nor Inf, shape (heads,).
        relative: Bound on the relative change of each singular value of a product by the errors
            of a Gram matrix, shape (heads,).
        omitted: Bound on what a backend left out of the elements, over `sizes`, shape (heads,).
        by_gram: Whether the factor is that of a Gram matrix, shape (heads,).
    """

    values: Matrix
    sizes: Matrix
    finite: NDArray[np.bool_]
    relative: Matrix
    omitted: Matrix
    by_gram: NDArray[np.bool_]


def triangles(factor: Factor, backend: Backend, lane: Semaphore) -> Triangles:
    """Triangular factors of all heads of a matrix.

    Args:
        factor: The matrix.
        backend: Multiplies.
        lane: Held while the backend works.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
        LinAlgError: LAPACK failed.
    """
    with lane:
        words = words_of(factor.weight, backend)
    lines = words if factor.axis == 0 else words.T
    heads = lines.reshape(factor.count, factor.width, factor.outside)
    order = min(factor.outside, factor.width)
    made = Triangles(
        values=np.zeros((factor.count, order, factor.width)),
        sizes=np.zeros(factor.count),
        finite=np.ones(factor.count, np.bool_),
        relative=np.zeros(factor.count),
        omitted=np.zeros(factor.count),
        by_gram=np.zeros(factor.count, np.bool_),
    )
    dtype = factor.weight.chunk_dtype
    # Otherwise the short side, which backends multiply, is not the head's.
    if factor.width < factor.outside:
        _by_gram(heads, dtype, backend, lane, made)
    _by_qr(heads, dtype, np.flatnonzero(~made.by_gram), made)
    return made


def _by_gram(
    heads: NDArray[Any], dtype: str, backend: Backend, lane: Semaphore, made: Triangles
) -> None:
    """Fill in the factors of heads whose Gram matrices are exact enough."""
    count, width, outside = heads.shape
    size = max(1, backend.batch_size(width, outside))
    grams: list[Gram] = []
    for first in range(0, count, size):
        with lane:
            chunks = [backend.load(head, dtype) for head in heads[first : first + size]]
            grams += backend.gram_batch(chunks, width, outside, dtype, precise=True)
    safe = [head for head, gram in enumerate(grams) if squares_are_safe(gram.matrix)]
    if not safe:
        return
    traces = np.array([np.trace(grams[head].matrix) for head in safe])
    upper = np.stack([grams[head].matrix for head in safe]) / traces[:, None, None]
    lower, changes = _cholesky(upper.swapaxes(1, 2))
    changes *= gram_eigenvalue_bound(1.0, width)
    good = changes <= _LARGEST_CHANGE
    chosen, sizes = np.array(safe)[good], np.sqrt(traces[good])
    made.values[chosen] = lower[good].swapaxes(1, 2)
    made.sizes[chosen] = sizes
    made.relative[chosen] = changes[good] / 2
    made.omitted[chosen] = np.array([grams[head].omitted for head in chosen]) / sizes
    made.by_gram[chosen] = True


def _cholesky(matrices: Matrix) -> tuple[Matrix, Matrix]:
    """Cholesky factors of a batch, and bounds on the squared norms of their inverses.

    Args:
        matrices: Lower triangles, shape (heads, n, n).

    Returns:
        Lower triangles, same shape, and bounds of shape (heads,); Inf where a matrix has no
        factor.
    """
    try:
        lower: Matrix = np.asarray(np.linalg.cholesky(matrices), np.float64)
        inverse: Matrix = np.abs(np.linalg.inv(lower))
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.zeros_like(matrices), np.full(1, np.inf)
        # One by one, to find those that have none.
        parts = [_cholesky(matrices[i : i + 1]) for i in range(len(matrices))]
        return np.concatenate([part[0] for part in parts]), np.concatenate([p[1] for p in parts])
    # The largest sums of columns and of rows: their product bounds the square of the norm.
    bounds: Matrix = inverse.sum(axis=1).max(axis=1) * inverse.sum(axis=2).max(axis=1)
    return lower, bounds


def _by_qr(heads: NDArray[Any], dtype: str, chosen: NDArray[np.intp], made: Triangles) -> None:
    """Fill in the factors of some heads by QR factorizations in float64."""
    _, width, outside = heads.shape
    step = max(1, _BATCH // (width * outside))
    for first in range(0, len(chosen), step):
        some = chosen[first : first + step]
        # Signalling NaNs become quiet ones, which is intended.
        with np.errstate(invalid="ignore"):
            tall = decode(heads[some], dtype).swapaxes(1, 2).astype(np.float64, order="C")
        usable = np.isfinite(tall).all(axis=(1, 2))
        tall[~usable] = 0.0
        made.finite[some] = usable
        made.values[some], made.sizes[some] = _normed(np.asarray(np.linalg.qr(tall, mode="r")))


def _normed(values: Matrix) -> tuple[Matrix, Matrix]:
    """Matrices over their Frobenius norms, and these, shape (heads,)."""
    # Scaled by the largest element first, so that no square overflows or underflows.
    largest = np.abs(values).max(axis=(1, 2), initial=0.0)
    scale = np.where(largest > 0, largest, 1.0)
    values = values / scale[:, None, None]
    norms = np.sqrt(np.square(values).sum(axis=(1, 2)))
    values /= np.where(norms > 0, norms, 1.0)[:, None, None]
    with np.errstate(over="ignore"):
        return values, scale * norms


def factor_bytes(factor: Factor, backend: Backend) -> int:
    """Bytes that `triangles` takes at most, without its result."""
    weight, head = factor.weight, factor.width * factor.outside
    itemsize = DTYPES[weight.chunk_dtype].itemsize
    # The batch as words and decoded, in float64, LAPACK's copy, the mask of its finite elements.
    by_qr = 32 * min(max(head, _BATCH), head * factor.count)
    size = min(factor.count, max(1, backend.batch_size(factor.width, factor.outside)))
    by_gram = backend.working_set(size * head, itemsize, factor.width)
    # All Gram matrices, as they come and scaled; their factors, and the inverses of these.
    by_gram += 8 * 7 * factor.count * factor.width**2
    return itemsize * weight.numel + read_bytes(*weight.shape) + max(by_qr, by_gram)
