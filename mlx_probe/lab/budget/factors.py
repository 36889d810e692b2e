"""The best factors of a matrix for a rank.

W of rank r is nearest in the Frobenius norm if it is U_r S_r V_r.T (Eckart and Young 1936). The
short side's vectors are eigenvectors of the float64 Gram matrix; W V_r is then U_r S_r without
another factorization. Both factors get the square roots of the singular values, so that their
elements are of one size, and rounding loses the least.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import lapack
from mlx_probe.compute.eigenvectors import Tridiagonal
from mlx_probe.core.errors import CheckpointError

__all__ = ["factorize"]

_Floats = NDArray[np.float64]
# Elements whose float64 copy is in memory at a time.
_BLOCK = 1 << 22
# Eigenvalues of a Gram matrix below this share of the largest are rounding errors.
_NOISE = 64 * np.finfo(np.float64).eps


def factorize(weight: NDArray[Any], rank: int, name: str) -> tuple[_Floats, _Floats]:
    """Two factors whose product is the nearest matrix of a rank.

    Args:
        weight: (rows, cols), floats.
        rank: From 1 to the short side.
        name: Of the tensor, for the message.

    Returns:
        (rows, rank) and (rank, cols), float64.

    Raises:
        CheckpointError: An element is not finite.
        SpectrumError: LAPACK did not converge.
    """
    tall = weight.shape[0] >= weight.shape[1]
    long = weight if tall else weight.T
    gram = np.zeros((long.shape[1],) * 2)
    for block in _blocks(long):
        lapack.add_gram(gram, block)
    if not np.isfinite(gram.diagonal()).all():
        raise CheckpointError(
            f"{name} holds NaN or Inf", "`mlx-probe analyze` says where they come from"
        )
    reduced = Tridiagonal(gram)
    squares, rows = reduced.all()
    sigma = np.sqrt(np.maximum(squares[:rank], 0.0))
    vectors = reduced.from_basis(rows[:rank].T)
    # Beyond the matrix's own rank there is nothing: 0, and not the quotient of two errors.
    known = squares[:rank] > _NOISE * max(squares[0], 0.0)
    root = np.sqrt(np.where(known, sigma, 0.0))
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=known)
    product = np.concatenate([block @ (vectors * inverse) for block in _blocks(long)])
    short = (vectors * root).T
    return (product, short) if tall else (short.T, product.T)


def _blocks(long: NDArray[Any]) -> Iterator[_Floats]:
    """The rows in float64, some at a time."""
    height = max(1, _BLOCK // long.shape[1])
    for top in range(0, len(long), height):
        yield long[top : top + height].astype(np.float64)
