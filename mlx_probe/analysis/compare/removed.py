"""What an adapter takes out of the base when it is loaded, as a product of two small factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.checkpoint.adapters.protocol import Directions, Floats
from mlx_probe.compute import lapack
from mlx_probe.core.errors import PackingError, SpectrumError

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.blocks import WeightReader
    from mlx_probe.checkpoint import Weight

__all__ = ["NonfiniteError", "removed_bytes", "removed_product"]


class NonfiniteError(PackingError):
    """NaN or infinities in what a change is made of."""


def removed_product(reader: WeightReader, directions: Directions) -> tuple[Floats, Floats]:
    """Factors of what is taken out, (rows, r) and (r, cols).

    PiSSA: the best approximation of rank r, W V V.T with the leading right singular vectors as
    columns of V; KaSA: the same of the last r. OLoRA: scale Q Q.T W with an orthonormal basis Q
    of the first r columns, which is what the first r columns of a QR factorization give. The
    singular vectors are eigenvectors of the float64 Gram matrix of the short side; the long side
    is streamed.

    Args:
        reader: Reads the base; read twice.
        directions: What is taken out.

    Raises:
        NonfiniteError: The base holds NaN or infinities, or its squares overflow.
        SpectrumError: The eigen-solver did not converge.
    """
    tall = reader.weight.tall
    if directions.method == "olora":
        basis = _basis(reader, directions.count)
        return basis * directions.scale, _within(basis, reader)
    gram = np.zeros((reader.weight.short, reader.weight.short))
    for x in reader.lines():
        lapack.add_gram(gram, x)
    if not np.isfinite(gram).all():
        raise NonfiniteError("NaN or Inf in A, or elements whose squares overflow")
    try:
        # Ascending.
        vectors = np.linalg.eigh(gram, UPLO="U")[1]
    except np.linalg.LinAlgError as error:
        raise SpectrumError(
            "LAPACK syevd did not converge for A", "Report the tensor; it has no other columns"
        ) from error
    count = min(directions.count, len(gram))
    kept = vectors[:, -count:] if directions.method == "pissa" else vectors[:, :count]
    kept = np.ascontiguousarray(kept)
    along = np.concatenate([x @ kept for x in reader.lines()]) * directions.scale
    return (along, kept.T) if tall else (kept, along.T)


def _basis(reader: WeightReader, count: int) -> Floats:
    """An orthonormal basis of the first columns."""
    if reader.weight.tall:
        columns = np.concatenate([x[:, :count] for x in reader.lines()])
    else:
        columns = np.empty((reader.weight.short, 0))
        for x in reader.lines():
            columns = np.hstack([columns, x[: count - columns.shape[1]].T])
    return np.asarray(np.linalg.qr(columns)[0])


def _within(basis: Floats, reader: WeightReader) -> Floats:
    """Q.T W, shape (r, cols)."""
    if not reader.weight.tall:
        return np.concatenate([(x @ basis).T for x in reader.lines()], axis=1)
    inner, first = np.zeros((basis.shape[1], reader.weight.short)), 0
    for x in reader.lines():
        inner += basis[first : first + len(x)].T @ x
        first += len(x)
    return inner


def removed_bytes(weight: Weight, directions: Directions) -> int:
    """Bytes that `removed_product` takes at most, blocks apart."""
    # The Gram matrix, the eigen-solver's copy, its vectors and a workspace of two more.
    solver = 0 if directions.method == "olora" else 5 * 8 * weight.short**2
    return solver + 8 * 8 * directions.count * (weight.short + weight.long)
