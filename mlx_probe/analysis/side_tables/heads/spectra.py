"""Singular values of a head's product, by QR factorizations of its two factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.elements import (
    Matrix,
    read_bytes,
    read_into,
    values_dtype,
)

if TYPE_CHECKING:
    from mlx_probe.analysis.side_tables.heads.circuits import Factor

__all__ = ["Triangles", "circuit_bytes", "singular_values", "triangles"]

# Elements that are factorized at a time: 32 MiB in float64.
_BATCH = 1 << 22


@dataclass(frozen=True)
class Triangles:
    """Triangular factors of a matrix's heads.

    Attributes:
        values: R of W_head^T = Q R over `sizes`, float64, shape (heads, min(d, width), width).
        sizes: Frobenius norms, shape (heads,).
        finite: Whether a head has neither NaN nor Inf, shape (heads,).
    """

    values: Matrix
    sizes: Matrix
    finite: NDArray[np.bool_]


def circuit_bytes(one: Factor, two: Factor) -> int:
    """Bytes that a circuit takes at most.

    The values of one matrix and a batch of its heads in float64, or of the other; triangles and
    products of all heads.
    """
    reading = []
    for factor in (one, two):
        weight, (rows, cols) = factor.weight, factor.weight.shape
        head = factor.width * factor.outside
        # The batch, LAPACK's copy of it, and the mask of its finite elements.
        batch = 24 * min(max(head, _BATCH), head * factor.count)
        values = values_dtype(weight).itemsize * weight.numel
        reading.append(values + batch + read_bytes(rows, cols))
    triangle_bytes = 8 * one.width**2 * (one.count + two.count)
    return max(reading) + 6 * triangle_bytes


def triangles(factor: Factor) -> Triangles:
    """QR factorizations of all heads of a matrix.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
        LinAlgError: LAPACK failed.
    """
    weight = factor.weight
    matrix = np.empty(weight.shape, values_dtype(weight))
    read_into(weight, matrix)
    lines = matrix if factor.axis == 0 else matrix.T
    heads = lines.reshape(factor.count, factor.width, factor.outside)
    step = max(1, _BATCH // (factor.width * factor.outside))
    factors, finite = [], []
    for first in range(0, factor.count, step):
        tall = heads[first : first + step].swapaxes(1, 2).astype(np.float64, order="C")
        usable = np.isfinite(tall).all(axis=(1, 2))
        tall[~usable] = 0.0
        finite.append(usable)
        factors.append(np.linalg.qr(tall, mode="r"))
    values = np.concatenate(factors)
    # Scaled by the largest element first, so that no square overflows or underflows.
    largest = np.abs(values).max(axis=(1, 2), initial=0.0)
    scale = np.where(largest > 0, largest, 1.0)
    values = values / scale[:, None, None]
    norms = np.sqrt(np.square(values).sum(axis=(1, 2)))
    values /= np.where(norms > 0, norms, 1.0)[:, None, None]
    with np.errstate(over="ignore"):
        sizes = scale * norms
    return Triangles(values, sizes, np.concatenate(finite))


def singular_values(one: Triangles, two: Triangles, bound: float) -> tuple[Matrix, Matrix]:
    """Singular values of every head's product, and their error bounds.

    Args:
        one: Left factors.
        two: Right factors; each is shared by the same number of neighbouring left ones.
        bound: On the error of a singular value, for factors of Frobenius norm 1.

    Returns:
        float64 arrays of shape (heads, k), descending, and (heads,): the bound relative to the
        largest; Inf where the product's size is beyond float64.

    Raises:
        LinAlgError: The SVD did not converge.
    """
    group = len(one.values) // len(two.values)
    shared = np.repeat(np.arange(len(two.values)), group)
    core = one.values @ two.values[shared].swapaxes(1, 2)
    sigma = np.linalg.svd(core, compute_uv=False)
    with np.errstate(over="ignore", under="ignore"):
        sizes = one.sizes * two.sizes[shared]
    largest = sigma[:, 0]
    errors = np.divide(bound, largest, out=np.zeros_like(largest), where=largest > 0)
    both = (one.sizes > 0) & (two.sizes[shared] > 0)
    errors[both & ((sizes == 0) | ~np.isfinite(sizes))] = np.inf
    return sigma * np.where(np.isfinite(sizes), sizes, 0.0)[:, None], errors
