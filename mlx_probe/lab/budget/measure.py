"""What each choice would cost a matrix: its rounding really done, its spectrum computed.

Rows come in blocks, so that a matrix is in memory once as it is stored, and its float32, float64
and rounded copies in parts. Wide matrices are the exception where their spectrum is computed: in
float64 they are whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import lapack
from mlx_probe.core.dtypes import FLOAT_FORMATS
from mlx_probe.lab.budget.records import Curve, Matrix
from mlx_probe.lab.budget.rounding import squared_error, squared_errors

__all__ = ["FLOATS", "measure", "rounded_share", "row_blocks", "tails_of"]

# By their names in files.
FLOATS = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}
# Elements of a block.
_BLOCK = 1 << 22


def measure(
    matrix: Matrix, arrays: Mapping[str, mx.array], tails: NDArray[np.float64] | None = None
) -> Curve:
    """The errors of every choice of a matrix.

    Args:
        matrix: The matrix.
        arrays: Its arrays by name, evaluated or not.
        tails: Those of `Curve` where they are known already.

    Returns:
        The curve, with a problem if an element is not finite.
    """
    spectrum = matrix.cut and tails is None
    energy = keep = 0.0
    rounding = dict.fromkeys(matrix.ways, 0.0)
    sums = np.zeros(min(matrix.extents) + 1)
    for index in range(matrix.stack):
        gram = _Gram(*matrix.extents) if spectrum else None
        for values, source in row_blocks(matrix, arrays, index):
            exact = np.array(values).astype(np.float64)
            squares = float(np.vdot(exact, exact))
            if not np.isfinite(squares):
                return Curve(problem="it holds NaN or Inf")
            energy += squares
            if matrix.cast:
                keep += squared_error(source.astype(mx.float32), values, exact)
            for way, error in squared_errors(source, values, exact, matrix.ways).items():
                rounding[way] += error
            if gram is not None:
                gram.add(exact)
        if gram is not None:
            sums += gram.tails()
    if spectrum:
        tails = sums
    return Curve(energy, keep, rounding, tails)


def rounded_share(dtype: str) -> float:
    r"""Squared error of rounding two balanced factors to a type, relative to what they keep.

    Rounding to p significand bits moves a number by a uniform error of up to half a unit in the
    last place: by 2^{2-2p}/12 x^2 / m^2 in the mean square, where m is the significand between 1
    and 2. Logarithmically uniform m has the mean square 3 / (2 ln 2). Each factor adds as much.

    Args:
        dtype: Type of the factors in the words of the files.
    """
    unit = 2.0 ** (2 - 2 * FLOAT_FORMATS[dtype].precision) / 12
    return float(2 * unit / (1.5 / np.log(2)))


def tails_of(singular: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of squares of the singular values beyond each rank from 0.

    Args:
        singular: Falling.
    """
    tails = np.zeros(len(singular) + 1)
    # From the smallest on, so that none of them is lost among the large ones.
    tails[:-1] = np.cumsum(singular[::-1] ** 2)[::-1]
    return tails


def row_blocks(
    matrix: Matrix, arrays: Mapping[str, mx.array], index: int
) -> Iterator[tuple[mx.array, mx.array]]:
    """Rows of one of the stacked matrices: float32 as stored, and in the type that is written."""
    rows, cols = matrix.extents
    height = max(1, _BLOCK // cols)
    kind = FLOATS[matrix.dtype]

    def part(name: str, lines: slice) -> mx.array:
        array = arrays[f"{matrix.path}.{name}"]
        # Whatever stands in front of rows and columns.
        return array.reshape(-1, *array.shape[-2:])[index, lines]

    for top in range(0, rows, height):
        lines = slice(top, min(top + height, rows))
        if matrix.packed is None:
            stored = part("weight", lines)
            yield stored.astype(mx.float32), stored.astype(kind)
            continue
        way = matrix.packed
        affine = way.mode == "affine"
        values = mx.dequantize(
            part("weight", lines),
            part("scales", lines).astype(mx.float32) if affine else part("scales", lines),
            part("biases", lines).astype(mx.float32) if affine else None,
            **way.settings(),
            dtype=mx.float32,
        )
        yield values, values.astype(kind)


class _Gram:
    """The Gram matrix of the short side, in float64, from blocks of rows."""

    def __init__(self, rows: int, cols: int) -> None:
        self._tall = rows >= cols
        self._lines: list[NDArray[np.float64]] = []
        self._matrix = np.zeros((min(rows, cols), min(rows, cols)))

    def add(self, block: NDArray[np.float64]) -> None:
        """Take in some rows."""
        if self._tall:
            lapack.add_gram(self._matrix, block)
        else:
            self._lines.append(block)

    def tails(self) -> NDArray[np.float64]:
        """Sums of the squared singular values beyond each rank from 0."""
        if self._lines:
            # A wide matrix is needed whole: its rows are products with each other.
            lapack.add_gram(self._matrix, np.concatenate(self._lines).T)
        squares = np.maximum(lapack.eigenvalues(self._matrix), 0.0)
        return np.concatenate([np.cumsum(squares)[::-1], [0.0]])
