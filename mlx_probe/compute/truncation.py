"""The best approximation of a matrix by one of low rank, from its lines as they are read.

Eckart and Young 1936, "The approximation of one matrix by another of lower rank": the leading
singular triples are the closest matrix of their rank in the Frobenius norm, and what is left has
the norm of the other singular values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.eigenvectors import Tridiagonal, reduction_bytes
from mlx_probe.core.errors import SpectrumError

__all__ = ["GRAM", "SUBSPACE", "Truncated", "gram_bytes", "subspace_bytes", "truncate"]

Floats = NDArray[np.float64]
Lines = Callable[[], Iterator[Floats]]

# The two methods, by the name that tables have.
GRAM, SUBSPACE = "gram_f64", "subspace_f64"

# Vectors of the subspace beside those that are asked for, and how often it is multiplied at most.
_BESIDE, _MOST_STEPS = 16, 24
# The iteration ends when a step adds less than this share to what the leading vectors hold.
_SETTLED = 1e-7
# Vectors that are looked at first where the rank follows from a share of the energy.
_FIRST = 16
# A share of the energy that rounding may take away.
_ROUNDING = 1e-12
# Lines that are multiplied at once.
_HEIGHT = 1024
_SEED = (0x10FA, 22)


@dataclass(frozen=True)
class Truncated:
    """Leading singular triples of a matrix whose lines have M elements, N lines in all.

    Attributes:
        along: Orthonormal columns, shape (N, r): singular vectors of the long side.
        sigma: Singular values, descending, shape (r,).
        across: Orthonormal columns, shape (M, r): singular vectors of the short side.
        energy: Sum of squares of all elements of the matrix.
        method: `GRAM` or `SUBSPACE`.
        settled: Whether the method came to its end; always so with `GRAM`.
    """

    along: Floats
    sigma: Floats
    across: Floats
    energy: float
    method: str
    settled: bool

    @property
    def rank(self) -> int:
        """Number of triples."""
        return len(self.sigma)

    @property
    def kept(self) -> float:
        """Share of the sum of squares that the triples hold."""
        return min(float(np.square(self.sigma).sum()) / self.energy, 1.0) if self.energy else 1.0


def truncate(
    lines: Lines,
    short: int,
    rank: int | None,
    energy: float | None,
    method: str = GRAM,
) -> Truncated:
    """Leading singular triples of a matrix, by rank or by their share of the sum of squares.

    `GRAM`: eigenvectors of the float64 Gram matrix of the short side span the leading space; the
    triples are those of the matrix on it (Rayleigh and Ritz), by QR and SVD. An error of the
    space enters what is kept squared, so that triples down to about 1e-8 of sigma_1 are as LAPACK's
    gesdd has them. `SUBSPACE`: block power iteration with Rayleigh and Ritz from a random block
    (Halko, Martinsson and Tropp 2011, SIAM Review 53, algorithm 4.4), where no Gram matrix fits
    into memory. It reads the matrix once for each step and ends when steps add nothing more.

    Args:
        lines: Reads the matrix in blocks of lines, shape (k, M), finite, as often as it is called.
        short: M, at least 1.
        rank: Triples at most; None for as many as ``energy`` asks for.
        energy: Share of the sum of squares that is kept at least, above 0 and below 1; None for
            as many triples as ``rank``.
        method: `GRAM` or `SUBSPACE`.

    Returns:
        At most ``rank`` triples. There are fewer where the matrix has a lower rank, and none for
        a matrix of zeros.

    Raises:
        SpectrumError: LAPACK did not converge.
    """
    reached = (rank or short, 1.0 if energy is None else energy)
    find = _by_gram if method == GRAM else _by_subspace
    space, total, settled = find(lines, short, *reached)
    if not total:
        return Truncated(np.empty((0, 0)), np.empty(0), np.empty((short, 0)), 0.0, method, True)
    along, sigma, across = _triples(lines, space)
    count = min(_count(np.square(sigma), total, *reached), len(sigma))
    return Truncated(along[:, :count], sigma[:count], across[:, :count], total, method, settled)


def gram_bytes(short: int, long: int, rank: int) -> int:
    """Bytes that `truncate` takes at most by `GRAM`, blocks of lines apart.

    Args:
        short: Extent M of the short side.
        long: Extent N of the long side.
        rank: Triples at most.
    """
    count = min(rank, short)
    # The Gram matrix with a product that is added to it, and then its reduction.
    solving = max(16 * short**2, reduction_bytes(short, count)) + 8 * _HEIGHT * short
    return solving + _factor_bytes(short, long, count)


def subspace_bytes(short: int, long: int, rank: int) -> int:
    """The same by `SUBSPACE`."""
    width = min(rank + _BESIDE, short)
    return 8 * 6 * width * short + 8 * _HEIGHT * short + _factor_bytes(short, long, width)


def _factor_bytes(short: int, long: int, count: int) -> int:
    # The image, the QR factorization and its copy, and the vectors.
    return 8 * count * (4 * long + 3 * short)


def _by_gram(lines: Lines, short: int, rank: int, energy: float) -> tuple[Floats, float, bool]:
    gram = np.zeros((short, short))
    for block in _batched(lines()):
        gram += block.T @ block
    total = float(np.trace(gram))
    if not total:
        return np.empty((short, 0)), 0.0, True
    whole = Tridiagonal(gram)
    count = min(rank, short) if energy >= 1 else min(_FIRST, rank, short)
    while True:
        values, vectors = whole.leading(count)
        needed = _count(values, total, rank, energy)
        if needed <= count or count == min(rank, short):
            break
        count = min(2 * count, rank, short)
    kept = min(needed, count)
    return whole.from_basis(np.array(vectors[:kept].T)), total, True


def _by_subspace(lines: Lines, short: int, rank: int, energy: float) -> tuple[Floats, float, bool]:
    rng = np.random.default_rng(_SEED)
    aim = min(rank, short) if energy >= 1 else min(_FIRST, rank)
    width = min(aim + _BESIDE, short)
    block = np.linalg.qr(rng.standard_normal((short, width)))[0]
    total, before, settled = 0.0, 0.0, False
    steps = 0
    while steps < _MOST_STEPS:
        steps += 1
        image, total = _gram_times(lines, block)
        if not total:
            return np.empty((short, 0)), 0.0, True
        values, inner = _descending(block.T @ image)
        held = float(np.clip(values[:aim], 0.0, None).sum())
        settled = width == short or held - before <= _SETTLED * total
        needed = _count(np.clip(values, 0.0, None), total, rank, energy)
        if settled and (needed <= aim or aim == min(rank, short)):
            return block @ inner[:, : min(needed, aim)], total, True
        before = held
        if settled or (steps == _MOST_STEPS and needed > aim and aim < min(rank, short)):
            # The share is not reached: the space has to grow.
            aim, steps = min(2 * aim, rank, short), 0
            width, before, settled = min(aim + _BESIDE, short), 0.0, False
            fresh = rng.standard_normal((short, width - image.shape[1]))
            image = np.hstack([image @ inner, fresh * np.sqrt(total / short)])
        block = np.linalg.qr(image)[0]
    image, total = _gram_times(lines, block)
    values, inner = _descending(block.T @ image)
    needed = _count(np.clip(values, 0.0, None), total, rank, energy)
    return block @ inner[:, : min(needed, rank, width)], total, settled


def _gram_times(lines: Lines, block: Floats) -> tuple[Floats, float]:
    """The Gram matrix of the short side times a block, and the sum of squares, in one reading."""
    image, total = np.zeros_like(block), 0.0
    for each in lines():
        image += each.T @ (each @ block)
        total += float(np.vdot(each, each))
    return image, total


def _descending(matrix: Floats) -> tuple[Floats, Floats]:
    try:
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    except np.linalg.LinAlgError as error:
        raise _no_convergence("syevd") from error
    return values[::-1], vectors[:, ::-1]


def _triples(lines: Lines, space: Floats) -> tuple[Floats, Floats, Floats]:
    """The singular triples of a matrix on a space of its short side."""
    image = np.concatenate([block @ space for block in lines()])
    basis, core = np.linalg.qr(image)
    try:
        left, sigma, right = np.linalg.svd(core)
    except np.linalg.LinAlgError as error:
        raise _no_convergence("gesdd") from error
    # Directions of rounding: the matrix has a lower rank.
    least = max(image.shape) * np.finfo(np.float64).eps * sigma[0]
    count = int(np.count_nonzero(sigma > least))
    along, across = basis @ left[:, :count], space @ right[:count].T
    # Signs mean nothing; the same ones everywhere make equal matrices equal bytes.
    strongest = across[np.abs(across).argmax(axis=0), np.arange(count)]
    signs = np.where(strongest < 0, -1.0, 1.0)
    return along * signs, sigma[:count], across * signs


def _count(values: Floats, total: float, rank: int, energy: float) -> int:
    """The smallest number of leading values that hold a share of the total, at most ``rank``.

    More than there are values if all together do not hold it.
    """
    if energy >= 1:
        return rank
    reached = np.cumsum(values) >= (energy - _ROUNDING) * total
    needed = int(np.argmax(reached)) + 1 if reached.any() else len(values) + 1
    return min(needed, rank)


def _batched(blocks: Iterator[Floats]) -> Iterator[Floats]:
    """Blocks put together, so that a product has more lines than a Gram matrix is worth."""
    waiting: list[Floats] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= _HEIGHT:
            yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0]
            waiting = []
    if waiting:
        yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0]


def _no_convergence(routine: str) -> SpectrumError:
    return SpectrumError(
        f"LAPACK {routine} did not converge", "Report the tensor; its other columns are valid"
    )
