"""Leading singular vectors of a matrix that a backend keeps, by a block Krylov space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.protocol import OperatorPass

__all__ = [
    "SMALL",
    "STARTING_VECTORS",
    "leading_bytes",
    "leading_vectors",
    "leading_vectors_of_small",
]

Matrix = NDArray[np.float64]

# Vectors that the space begins with, and its blocks of as many. With 64 vectors in all, the worst
# angle to 8 true ones had a cosine of 0.97 where sigma falls as 1/sqrt(i), of 0.999 as 1/i.
STARTING_VECTORS, STEPS = 16, 4

# Length of vectors up to which the space would be half of everything or more.
SMALL = 2 * STARTING_VECTORS * STEPS


def leading_vectors(
    operator: OperatorPass, rows: int, cols: int, axis: int, count: int, start: Matrix
) -> Matrix:
    """Leading left or right singular vectors of a matrix.

    W is the matrix if the left ones are wanted, and its transpose otherwise. The vectors are
    taken from the block Krylov space of W W^T that begins with W G, G a random block (Musco and
    Musco 2015, "Randomized Block Krylov Methods for Stronger and Faster Approximate Singular
    Value Decomposition", arXiv 1504.05477). With the same G, equal matrices have equal vectors,
    and those of independent matrices are independent, because W stands between. Vectors are as
    good as what separates their singular values from the next: on flat spectra they lie among
    the leading ones.

    The products are the backend's, in float32; they turn a vector by about 1e-7 sigma_1 over
    what separates its singular value from the others. All else is float64.

    Args:
        operator: The matrix, finite and not zero; its squared norm is within float64's range.
        rows: Its rows.
        cols: Its columns.
        axis: 0 for left singular vectors, 1 for right ones.
        count: How many, at most `STARTING_VECTORS` and the length of a vector.
        start: G, shape (length of the other side, `STARTING_VECTORS`).

    Returns:
        Orthonormal columns, shape (rows or cols, count), leading first. Where the rank is lower
        the last ones are arbitrary.
    """
    is_long = (axis == 0) == (rows >= cols)
    pull, push = (operator.along, operator.across) if is_long else (operator.across, operator.along)
    block = pull(start)
    space = np.empty((len(block), STARTING_VECTORS * STEPS))
    for step in range(STEPS):
        if step:
            block = pull(_in_range(push(block))) if is_long else operator.apply(block)
        block = np.linalg.qr(block)[0]
        space[:, step * STARTING_VECTORS : (step + 1) * STARTING_VECTORS] = block
    space = np.linalg.qr(space)[0]
    # Rayleigh and Ritz.
    image = _in_range(push(space))
    return np.asarray(space @ _leading(image.T @ image, count))


def leading_vectors_of_small(matrix: Matrix, count: int) -> Matrix:
    """Leading left singular vectors, from all eigenvectors of the Gram matrix.

    Args:
        matrix: Finite and not zero, float64, shape (d, hidden); d at most `SMALL`.
        count: How many, at most d.

    Returns:
        Orthonormal columns, shape (d, count), leading first.
    """
    # Squares of tiny or huge elements must neither vanish nor overflow.
    matrix = _in_range(matrix)
    return _leading(matrix @ matrix.T, count)


def leading_bytes(size: int, hidden: int) -> int:
    """Bytes that either function takes at most beside the matrix.

    Args:
        size: Length d of the vectors.
        hidden: Length of the other side.
    """
    if size <= SMALL:
        # The scaled matrix; its Gram matrix with the eigenvectors.
        return 8 * (size * hidden + 6 * size**2)
    width = STARTING_VECTORS * STEPS
    # The space with its factorization, its image, and either in float32.
    return 8 * width * (5 * size + 3 * hidden)


def _in_range(x: Matrix) -> Matrix:
    """An array over its largest element, so that its squares are within the range of float32."""
    largest = max(float(x.max()), -float(x.min()))
    return np.divide(x, largest) if largest else x


def _leading(gram: Matrix, count: int) -> Matrix:
    """Eigenvectors of a symmetric matrix's largest eigenvalues, the largest first."""
    return np.asarray(np.linalg.eigh(gram)[1][:, : -count - 1 : -1])
