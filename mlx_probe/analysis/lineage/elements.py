"""Numbers of two samples at the same positions: correlation, signs, equal elements, zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.matched import Matched

__all__ = ["ElementNumbers", "compare_elements"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ElementNumbers:
    """What one pair of matrices shows, element by element.

    Attributes:
        count: Elements that were compared.
        correlation: Of the elements, each row and each column less its mean.
        scaled: The same after columns and then rows are divided by their norms: a factor for
            each input or output channel does not change it.
        signs: Share of equal signs where neither is 0; 0.5 for independent ones.
        difference: Frobenius norm of B - A over the larger one of A's and B's.
        identical: Share of equal elements.
        zeros_a: Share of zeros in A.
        zeros_b: The same in B.
        new_in_b: Share of elements that are 0 in B and not in A.
        new_in_a: The reverse.
        kept: Of elements that are 0 in neither, the share that differs by less than a
            thousandth of the matrix's root mean square.
        rescaled: Relative difference that is left when each column, or each row, of A is
            multiplied by the best factor of its own.
        zero_size: Mean magnitude in the one where the other alone is 0, over the mean
            magnitude of all; None without any. Less than 1: small elements were set to 0.
    """

    count: int
    correlation: float
    scaled: float
    signs: float
    difference: float
    identical: float
    zeros_a: float
    zeros_b: float
    new_in_b: float
    new_in_a: float
    kept: float
    rescaled: float
    zero_size: float | None


def compare_elements(pair: Matched) -> ElementNumbers:
    """Compare a pair of matrices element by element.

    Args:
        pair: Comparable; see `Matched`.
    """
    x, y = pair.x, pair.y
    zero_x, zero_y = x == 0, y == 0
    neither = ~(zero_x | zero_y)
    equal_signs = np.signbit(x) == np.signbit(y)
    both = int(neither.sum())
    squares = max(_sum_of_squares(x), _sum_of_squares(y))
    scale = float(np.sqrt(squares / x.size))
    close = np.abs(y - x) < 1e-3 * scale
    new_in_b, new_in_a = zero_y & ~zero_x, zero_x & ~zero_y
    return ElementNumbers(
        count=x.size,
        correlation=correlation(centred(x), centred(y)),
        scaled=correlation(unscaled(x), unscaled(y)),
        signs=float(equal_signs[neither].mean()) if both else 0.5,
        difference=_ratio(_sum_of_squares(y - x), squares),
        identical=float((x == y).mean()),
        zeros_a=float(zero_x.mean()),
        zeros_b=float(zero_y.mean()),
        new_in_b=float(new_in_b.mean()),
        new_in_a=float(new_in_a.mean()),
        kept=float(close[neither].mean()) if both else 0.0,
        rescaled=min(_rescaled(p, q) for p, q in ((x, y), (x.T, y.T), (y, x), (y.T, x.T))),
        zero_size=_zero_size(x, y, new_in_b, new_in_a),
    )


def _rescaled(x: Floats, y: Floats) -> float:
    """Relative difference of B and A with the best factor for each column of A."""
    squares = np.einsum("ij,ij->j", x, x)
    products = np.einsum("ij,ij->j", x, y)
    factors = np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0)
    return _ratio(_sum_of_squares(y - factors * x), _sum_of_squares(y))


def _zero_size(
    x: Floats, y: Floats, new_in_b: NDArray[np.bool_], new_in_a: NDArray[np.bool_]
) -> float | None:
    full, where = (x, new_in_b) if new_in_b.sum() >= new_in_a.sum() else (y, new_in_a)
    if not where.any():
        return None
    size = np.abs(full)
    return float(size[where].mean() / size.mean())


def _sum_of_squares(x: Floats) -> float:
    flat = x.ravel()
    # In blocks: a sum of many float32 products would lose digits.
    return float(
        sum(
            float(np.dot(part.astype(np.float64), part.astype(np.float64)))
            for part in np.array_split(flat, max(1, flat.size >> 18))
        )
    )


def _ratio(difference: float, whole: float) -> float:
    if whole == 0:
        return 0.0 if difference == 0 else float("inf")
    return float(np.sqrt(difference / whole))


def correlation(x: Floats, y: Floats) -> float:
    """Cosine of two arrays; 0 if one of them is all 0."""
    norms = _sum_of_squares(x) * _sum_of_squares(y)
    if norms <= 0:
        return 0.0
    product = float(np.einsum("ij,ij->i", x, y, dtype=np.float64).sum())
    return float(product / np.sqrt(norms))


def centred(x: Floats) -> Floats:
    """Rows and columns less their means, which models share without being related.

    Columns only where there are rows enough to say what their mean is.
    """
    x = x - x.mean(axis=1, keepdims=True)
    return x - x.mean(axis=0, keepdims=True) if len(x) >= 8 else x


def unscaled(x: Floats) -> Floats:
    """Columns, then rows, centred and divided by their norms; zeros stay zeros."""
    x = centred(x)
    norms = np.linalg.norm(x, axis=0, keepdims=True)
    x = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(np.divide(x, norms, out=np.zeros_like(x), where=norms > 0))
