"""The rank of a difference, from a part of its rows: at most the rank of the whole.

A part of a matrix of rank r has rank r at most. Singular values below the norm of the rounding
errors of the two files say nothing; see `compare.rounding`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.lineage.storage import value_format
from mlx_probe.core.dtypes import FLOAT_FORMATS

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.matched import Matched

__all__ = ["RankNumbers", "difference_rank"]

# Columns that are looked at; the rank is that of a part anyway.
_COLUMNS = 2048
# Above the edge of the rounding errors, whose norm is random.
_MARGIN = 1.25


@dataclass(frozen=True)
class RankNumbers:
    """The singular values of a part of a difference.

    Attributes:
        rank: Those above the edge of rounding.
        full: Rows or columns of the part, the smaller number: the largest rank possible.
        contrast: The largest singular value over the edge.
    """

    rank: int
    full: int
    contrast: float

    @property
    def is_low(self) -> bool:
        """Whether the rank is too small to be that of the part by chance."""
        return 0 < self.rank <= self.full // 3


def difference_rank(pair: Matched) -> RankNumbers | None:
    """Singular values of B - A at the sampled rows.

    Args:
        pair: Comparable matrices.

    Returns:
        None if nothing differs, if one of them is packed, or if the part is too small.
    """
    stored = [each.stored for each in (pair.a, pair.b)]
    if pair.a.packed or pair.b.packed or not all(form in FLOAT_FORMATS for form in stored):
        return None
    forms = value_format(pair.x, stored[0]), value_format(pair.y, stored[1])
    x, y = (v[:, :_COLUMNS].astype(np.float64) for v in (pair.x, pair.y))
    delta = y - x
    full = min(delta.shape)
    if full < 6 or not delta.any():
        return None
    sigma = np.linalg.svd(delta, compute_uv=False)
    edge = _MARGIN * max(_edge(x, forms[0]), _edge(y, forms[1]))
    edge = max(edge, float(sigma[0]) * np.finfo(np.float64).eps * max(delta.shape))
    return RankNumbers(int((sigma > edge).sum()), full, float(sigma[0] / edge))


def _edge(x: NDArray[np.float64], form: str) -> float:
    """Norm to expect of errors of rounding to a format; see `RoundingEdge`."""
    known = FLOAT_FORMATS[form]
    _, exponents = np.frexp(x)
    powers = np.where(x == 0, 0.0, np.ldexp(1.0, np.maximum(exponents - 1, known.min_exponent)))
    squares = powers**2
    root = math.sqrt(squares.sum(axis=1).max()) + math.sqrt(squares.sum(axis=0).max())
    return root * 2.0 ** (1 - known.precision) / math.sqrt(12)
