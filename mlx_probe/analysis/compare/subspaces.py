"""Leading singular directions of two matrices: how far they overlap, and which are new.

"Short" vectors have the length of the matrix's short side (right ones of a tall matrix, left ones
of a wide one), "long" ones that of the long side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends import Gram
from mlx_probe.compute.eigenvectors import Tridiagonal, reduction_bytes
from mlx_probe.compute.spectrum.bounds import gram_eigenvalue_bound, squares_are_safe

__all__ = [
    "Floats",
    "Leading",
    "Subspaces",
    "compare_subspaces",
    "cross_flops",
    "leading_directions",
    "reduction_flops",
    "subspace_bytes",
    "subspace_flops",
]

Floats = NDArray[np.float64]

# A direction is kept if its eigenvalue is this many times the error bound of an eigenvalue: its
# length is then known to a percent. That is sigma > 1.2e-6 sigma_1 up to an order of 4,096.
_BEYOND_ERROR = 100

# Far more than rounding adds to a sum of squared cosines.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Leading:
    """Leading singular values of a matrix, and its short vectors.

    Attributes:
        sigma: Descending, shape (k,).
        vectors: Orthonormal columns, shape (M, k).
    """

    sigma: Floats
    vectors: Floats


@dataclass(frozen=True)
class Subspaces:
    """What the singular vectors of A and B have in common.

    Attributes:
        directions: Leading directions k that are compared.
        short_overlap: Mean squared cosine of the principal angles between the leading k.
        long_overlap: The same on the other side.
        searched: Leading directions of B among which intruders were searched.
        short_intruders: Intruders among them.
        long_intruders: The same on the other side.
    """

    directions: int
    short_overlap: float
    long_overlap: float
    searched: int
    short_intruders: int
    long_intruders: int


def leading_directions(gram: Gram, most: int) -> Leading | None:
    """Leading singular values and short vectors of a matrix.

    Directions whose singular value is within the error of a Gram matrix (about 1e-6 of the
    largest) are left out.

    Args:
        gram: Gram matrix of the short side; destroyed.
        most: Directions at most.

    Returns:
        At least one direction; None for a matrix that is 0, or so large or small that squares
        are unsafe.

    Raises:
        SpectrumError: The eigen-solver did not converge.
    """
    if not squares_are_safe(gram.matrix):
        return None
    whole = Tridiagonal(gram.matrix)
    values, vectors = whole.leading(min(most, len(gram.matrix)))
    kept = _kept(values, gram)
    return Leading(np.sqrt(values[:kept]), whole.from_basis(vectors[:kept].T))


def compare_subspaces(
    gram_a: Gram,
    b: Leading,
    cross: Floats,
    directions: int,
    intruder_directions: int,
    epsilon: float,
) -> Subspaces | None:
    """Overlap of the leading singular directions of A and B, and B's intruder dimensions.

    With orthonormal bases of the leading k directions as columns of U and V, the cosines of the
    principal angles are the singular values of U.T V (Björck and Golub 1973); the overlap is
    ||U.T V||_F^2 / k. A singular vector y_j of the tuned matrix B, j up to ``intruder_directions``
    in descending order of singular values, is an intruder dimension if max_i |cos(y_j, x_i)| <
    ``epsilon`` over all singular vectors x_i of the base A (Shuttleworth et al. 2024, arXiv
    2410.21228). Left vectors, the magnitude of the cosine (signs of singular vectors mean
    nothing) and the defaults 10 and 0.5 are those of PEFT's `reduce_intruder_dimension`.

    Short vectors v are eigenvectors of float64 Gram matrices. Those of the long side are never
    formed: their cosines are v_A.T (A.T B V_B) / (sigma_A sigma_B). All x_i are computed only if
    the leading ones leave it open whether one of B's is an intruder: squared cosines with
    orthonormal vectors add up to at most 1, so that often no other x_i can reach ``epsilon``.

    Args:
        gram_a: Gram matrix of the short side of A; destroyed.
        b: The leading directions of B.
        cross: A.T B V_B (of a wide matrix A B.T V_B), shape (M, k).
        directions: Directions to compare, at least 1.
        intruder_directions: Directions of B among which to search, at least 1.
        epsilon: Cosine below which a direction is new.

    Returns:
        The subspaces; None where A is 0, or so large or small that squares are unsafe.

    Raises:
        SpectrumError: The eigen-solver did not converge.
    """
    if not squares_are_safe(gram_a.matrix):
        return None
    count, searched = len(b.sigma), min(intruder_directions, len(b.sigma))
    whole = Tridiagonal(gram_a.matrix)
    # In the basis of the reduction A's vectors need not be rotated back.
    both = whole.to_basis(np.hstack([b.vectors, cross]))

    def cosines(values: Floats, vectors: Floats) -> tuple[Floats, Floats]:
        kept = _kept(values, gram_a)
        products = vectors[:kept] @ both
        lengths = np.sqrt(values[:kept, None]) * b.sigma
        return products[:, :count], products[:, count:] / lengths

    most = min(max(directions, intruder_directions), len(gram_a.matrix))
    in_short, in_long = cosines(*whole.leading(most))
    if len(in_short) == most and not all(
        _is_decided(side[:, :searched], epsilon) for side in (in_short, in_long)
    ):
        in_short, in_long = cosines(*whole.all())
    k = min(directions, len(in_short), count)

    def overlap(cosines: Floats) -> float:
        return min(float(np.square(cosines[:k, :k]).sum()) / k, 1.0)

    def intruders(cosines: Floats) -> int:
        return int(np.count_nonzero(np.abs(cosines[:, :searched]).max(axis=0) < epsilon))

    return Subspaces(
        directions=k,
        short_overlap=overlap(in_short),
        long_overlap=overlap(in_long),
        searched=searched,
        short_intruders=intruders(in_short),
        long_intruders=intruders(in_long),
    )


def subspace_bytes(short: int, directions: int) -> int:
    """Bytes that comparing takes at most, blocks apart.

    The Gram matrix and the leading directions of B, while all vectors of A are computed; before
    that, the Gram matrices of both.

    Args:
        short: Extent M of the short side.
        directions: Leading directions of B.
    """
    return 8 * short * (short + 8 * directions) + reduction_bytes(short, short)


def subspace_flops(numel: int, short: int, directions: int) -> float:
    """Floating-point operations of comparing, the Gram matrices apart.

    Args:
        numel: Elements of one matrix.
        short: Extent M of the short side.
        directions: Leading directions of B.
    """
    leading = min(directions, short)
    return cross_flops(numel, leading) + 2 * reduction_flops(short, leading)


def cross_flops(numel: int, directions: int) -> float:
    """Floating-point operations of A.T (B V_B)."""
    return 4.0 * numel * directions


def reduction_flops(short: int, directions: int) -> float:
    """Floating-point operations of a reduction, and of the rotation of some vectors."""
    return 4 / 3 * float(short) ** 3 + 2.0 * directions * float(short) ** 2


def _kept(values: Floats, gram: Gram) -> int:
    """Directions whose length is known to a percent."""
    error = gram_eigenvalue_bound(float(values[0]), len(gram.matrix))
    least = max(_BEYOND_ERROR * error, (_BEYOND_ERROR * gram.omitted) ** 2)
    return int(np.count_nonzero(values > least))


def _is_decided(cosines: Floats, epsilon: float) -> bool:
    """Whether vectors beside those of the rows cannot change which columns are intruders."""
    squares = np.square(cosines)
    near = squares.max(axis=0) >= epsilon**2
    left = 1 - squares.sum(axis=0) + _ROUNDING
    return bool(np.all(near | (left < epsilon**2)))
