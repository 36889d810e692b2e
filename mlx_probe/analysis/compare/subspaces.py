"""Leading singular directions of two matrices: how far they overlap, and which are new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlx_probe.analysis.compare.blocks import Floats, PairReader
from mlx_probe.compute import lapack
from mlx_probe.compute.spectrum import gram_flops
from mlx_probe.compute.spectrum.bounds import gram_eigenvalue_bound, squares_are_safe
from mlx_probe.core.errors import SpectrumError

__all__ = ["Subspaces", "compare_subspaces", "subspace_bytes", "subspace_flops"]

# A direction is kept if its eigenvalue is this many times the error bound of an eigenvalue: its
# length is then known to a percent. That is sigma > 1.2e-6 sigma_1 up to an order of 4,096.
_BEYOND_ERROR = 100


@dataclass(frozen=True)
class Subspaces:
    """What the singular vectors of A and B have in common.

    "Short" vectors have the length of the matrix's short side (right ones of a tall matrix, left
    ones of a wide one), "long" ones that of the long side.

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


def compare_subspaces(
    both: PairReader, short: int, directions: int, intruder_directions: int, epsilon: float
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
    formed: with T = A.T (B V_B), one block of lines after the other, their cosines are
    v_A.T T / (sigma_A sigma_B). Directions whose singular value is within the rounding of a Gram
    matrix (about 1e-6 of the largest) are left out.

    Args:
        both: The matrices; read twice.
        short: Extent M of the short side.
        directions: Directions to compare, at least 1.
        intruder_directions: Directions of B among which to search, at least 1.
        epsilon: Cosine below which a direction is new.

    Returns:
        The subspaces; None where a matrix is 0, or so large or small that squares are unsafe.

    Raises:
        SpectrumError: The eigen-solver did not converge.
    """
    gram = np.zeros((short, short))
    for _, y in both.blocks():
        lapack.add_gram(gram, y)
    if not squares_are_safe(gram):
        return None
    sigma_b, v_b = _directions(gram, max(directions, intruder_directions))
    gram[:] = 0.0
    cross = np.zeros((short, len(sigma_b)))
    # Nothing of a matrix whose squares overflow is used.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for x, y in both.blocks():
            lapack.add_gram(gram, x)
            cross += x.T @ (y @ v_b)
    if not squares_are_safe(gram):
        return None
    sigma_a, v_a = _directions(gram, short)
    del gram
    in_short = v_a.T @ v_b
    in_long = (v_a.T @ cross) / sigma_a[:, None] / sigma_b
    k = min(directions, len(sigma_a), len(sigma_b))
    searched = min(intruder_directions, len(sigma_b))

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

    The Gram matrix, the eigen-solver's copy, its vectors and a workspace of two more (LAPACK
    syevd); then the vectors, and three blocks of the leading ones.
    """
    return 8 * short * (5 * short + 6 * directions + 16)


def subspace_flops(numel: int, short: int, directions: int) -> float:
    """Floating-point operations of comparing.

    Two Gram matrices, two products with the leading directions, and two eigen-solvers with
    vectors: reduction 4/3 M^3, divide and conquer at most 4/3 M^3, back-transformation 2 M^3.

    Args:
        numel: Elements of one matrix.
        short: Extent M of the short side.
        directions: Leading directions of B.
    """
    products = 2 * gram_flops(numel, short) + 4.0 * numel * min(directions, short)
    return products + 2 * 14 / 3 * float(short) ** 3


def _directions(gram: Floats, most: int) -> tuple[Floats, Floats]:
    """Leading singular values, descending, and short vectors as columns, of a Gram matrix."""
    try:
        values, vectors = np.linalg.eigh(gram, UPLO="U")
    except np.linalg.LinAlgError as error:
        raise SpectrumError(
            "LAPACK syevd did not converge", "Report the tensor; its other columns are valid"
        ) from error
    least = _BEYOND_ERROR * gram_eigenvalue_bound(float(values[-1]), len(values))
    count = min(int(np.count_nonzero(values > least)), most)
    kept = slice(-1, -count - 1, -1)
    return np.sqrt(values[kept]), np.ascontiguousarray(vectors[:, kept])
