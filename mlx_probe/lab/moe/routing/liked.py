"""Which tokens an expert gets more often than others do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.routing.record import LayerRouting

__all__ = ["Liked", "in_context", "liked_tokens"]

# Tokens of an expert, places in the text, and tokens before and after a place.
_MOST, _PLACES, _AROUND = 8, 3, 8
# A token that was seen once says nothing.
_LEAST = 2


@dataclass(frozen=True)
class Liked:
    """What one expert gets more of than its share.

    Attributes:
        tokens: Their ids, the most telling first.
        counts: How often each of them was given to the expert.
        seen: How often each of them is in the text.
        places: Where in the text the expert's weight for one of them is largest, one place for
            each token.
    """

    tokens: tuple[int, ...]
    counts: tuple[int, ...]
    seen: tuple[int, ...]
    places: tuple[int, ...]


def liked_tokens(layer: LayerRouting, tokens: NDArray[np.integer]) -> tuple[Liked, ...]:
    """The tokens that each expert of a layer gets more often than all assignments would say.

    Tokens are ordered by p log(p / q), p their share of the expert's tokens and q that of all
    assignments: what a token adds to the divergence of the two. Only tokens that the expert got
    twice, and with p > q, are named.

    Args:
        layer: T tokens.
        tokens: Their ids, (T,).
    """
    ids, codes, seen = np.unique(tokens, return_inverse=True, return_counts=True)
    rows, columns = np.nonzero(layer.active)
    experts, weights = layer.indices[rows, columns], layer.weights[rows, columns]
    everywhere = np.bincount(codes[rows], minlength=len(ids)) / len(rows)
    order = np.argsort(experts, kind="stable")
    ends = np.cumsum(np.bincount(experts, minlength=layer.experts))
    found = []
    for own in np.split(order, ends[:-1]):
        counts = np.bincount(codes[rows[own]], minlength=len(ids))
        share = counts / max(1, len(own))
        telling = np.zeros(len(ids))
        named = (counts >= _LEAST) & (share > everywhere)
        telling[named] = share[named] * np.log(share[named] / everywhere[named])
        best = np.argsort(-telling, kind="stable")[:_MOST]
        best = best[telling[best] > 0]
        places = [_strongest(own, rows, codes, weights, each) for each in best[:_PLACES]]
        found.append(
            Liked(
                tokens=tuple(ids[best].tolist()),
                counts=tuple(counts[best].tolist()),
                seen=tuple(seen[best].tolist()),
                places=tuple(places),
            )
        )
    return tuple(found)


def _strongest(
    own: NDArray[np.intp],
    rows: NDArray[np.intp],
    codes: NDArray[np.intp],
    weights: NDArray[np.float32],
    code: int,
) -> int:
    """The place of a token where the expert's weight for it is largest."""
    of_token = own[codes[rows[own]] == code]
    return int(rows[of_token[weights[of_token].argmax()]])


def in_context(texts: Sequence[str], place: int, first: int, last: int) -> str:
    """A token between what is around it in its row, marked: "the slings and [[ arrows]] of".

    Args:
        texts: Of all tokens.
        place: Of the token.
        first: The first token of its row.
        last: The first token of the next row.
    """
    before = "".join(texts[max(first, place - _AROUND) : place])
    after = "".join(texts[place + 1 : min(last, place + 1 + _AROUND)])
    return f"{before}[[{texts[place]}]]{after}"
