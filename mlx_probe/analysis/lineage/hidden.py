"""Fingerprints that survive a permutation or rescaling of channels.

The columns of ``down_proj`` are the hidden units of the MLP, those of ``o_proj`` are the channels
of the heads, those of the embedding are the channels of the residual stream. The rows of a sample
are the same in both models, so that a column is a vector that can be looked for among the columns
of the other model, wherever it has moved to; its cosine does not depend on its scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ColumnMatch", "gram_agreement", "match_columns", "without_common"]

Floats = NDArray[np.float32]

# Columns of B that are looked for, and columns of A that they are looked for among.
_ASKED, _AMONG = 256, 16384
_LEAST_ROWS = 8
# Directions over the tokens that are taken out of each embedding.
_COMMON = 8


@dataclass(frozen=True)
class ColumnMatch:
    """The columns of B among those of A.

    Attributes:
        cosine: Median over the columns of B of the best magnitude of a cosine.
        null: The same after the signs of A's rows are drawn anew: what chance gives.
        moved: Share of columns whose best match is at another position.
        distinct: Share of matched columns of A among the columns asked for: 1 if no column
            of A is the best match of two.
        in_place: Median magnitude of the cosine with the column at the same position; None
            if there are more columns in one of them.
        exact: Share of columns whose cosine is above 1 - 1e-5.
        columns_a: Columns of A.
        columns_b: Columns of B.
    """

    cosine: float
    null: float
    moved: float
    distinct: float
    in_place: float | None
    exact: float
    columns_a: int
    columns_b: int

    @property
    def excess(self) -> float:
        """How far the cosine is above chance, on a scale where 1 is a perfect match."""
        return max(0.0, (self.cosine - self.null) / max(1e-9, 1 - self.null))


def match_columns(x: Floats, y: Floats) -> ColumnMatch | None:
    """Look for the columns of B among those of A.

    Args:
        x: Rows of A, shape (rows, columns of A).
        y: The same rows of B, shape (rows, columns of B).

    Returns:
        None if there are too few rows to tell columns apart.
    """
    if len(x) < _LEAST_ROWS or len(x) != len(y) or min(x.shape[1], y.shape[1]) < 2:
        return None
    asked = np.unique(np.linspace(0, y.shape[1] - 1, _ASKED).astype(np.intp))
    among = x[:, :_AMONG]
    ours, theirs = _unit(among), _unit(y[:, asked])
    cosines = np.abs(theirs.T @ ours)
    best = cosines.argmax(axis=1)
    sizes = cosines[np.arange(len(asked)), best]
    # Rows keep their sizes, which models share; only what belongs together is lost.
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (len(x), 1))
    chance = np.abs(theirs.T @ (signs * ours)).max(axis=1)
    return ColumnMatch(
        cosine=float(np.median(sizes)),
        null=float(np.median(chance)),
        moved=float((best != asked).mean()),
        distinct=len(np.unique(best)) / len(asked),
        in_place=_in_place(cosines, asked) if x.shape[1] == y.shape[1] else None,
        exact=float((sizes > 1 - 1e-5).mean()),
        columns_a=x.shape[1],
        columns_b=y.shape[1],
    )


def _in_place(cosines: Floats, asked: NDArray[np.intp]) -> float:
    there = asked < cosines.shape[1]
    return float(np.median(cosines[np.flatnonzero(there), asked[there]]))


def without_common(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Embeddings without what all models of one language share.

    Unrelated models that were trained on one text have nearly the same leading directions over
    the tokens, above all how frequent each token is, and every channel has a part of them. The
    leading directions of both tables are taken out of both; what is left is a model's own.

    Args:
        x: Rows of A's embedding, shape (tokens, channels).
        y: The same tokens' rows of B's.
    """
    x, y = (table - table.mean(axis=0, keepdims=True) for table in (x, y))
    count = min(_COMMON, len(x) // 8)
    leading = [np.linalg.eigh(table @ table.T)[1][:, -count:] for table in (x, y)]
    basis = np.linalg.qr(np.concatenate(leading, axis=1))[0]
    return x - basis @ (basis.T @ x), y - basis @ (basis.T @ y)


def _unit(x: Floats) -> Floats:
    x = x - x.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(x, axis=0, keepdims=True)
    return np.asarray(np.divide(x, norms, out=np.zeros_like(x), where=norms > 0))


def gram_agreement(x: Floats, y: Floats) -> float:
    """Agreement of the inner products of tokens, which no rotation of the channels changes.

    1 - ||G_B - G_A|| / sqrt(2) ||G||, with G = E E.T of rows of the embedding less their mean, of
    Frobenius norm 1: 1 if the tables are equal up to a rotation, about 0 for independent ones.

    Args:
        x: Rows of A's embedding.
        y: The same tokens' rows of B's, of any width.
    """
    grams = []
    for table in (x, y):
        rows = table - table.mean(axis=0, keepdims=True, dtype=np.float64)
        gram = rows @ rows.T
        norm = np.linalg.norm(gram)
        grams.append(gram / norm if norm > 0 else gram)
    return max(0.0, 1 - float(np.linalg.norm(grams[1] - grams[0])) / 2**0.5)
