"""Tokens that a difference reads and writes: its directions beside embeddings and output head.

A matrix that reads the residual stream sees a token as its embedding, through the norm before it.
What B - A adds is largest along its leading right singular vector v: the tokens whose embeddings
have the largest cosine with v are those that it reads. What B - A of a matrix that writes the
stream adds points along its leading left singular vector u: the tokens whose rows of the output
head, through the last norm, have the largest cosine with u are those that it makes likelier, or
less likely with the other sign. Signs are arbitrary, but belong together: what is read with + is
written with +.

This looks at weights alone. Deep in a network the stream holds more than one token's embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.compare.blocks import Floats, WeightReader, whole
from mlx_probe.analysis.low_rank.stream_places import Stream
from mlx_probe.checkpoint import Weight
from mlx_probe.runs.monitor import UsageMeter

__all__ = [
    "DIRECTIONS",
    "ChangedToken",
    "Direction",
    "TokenMatch",
    "TokenView",
    "described",
    "read_and_written",
]

Singles: TypeAlias = NDArray[np.float32]

# Directions of each matrix, tokens of each sign, and random directions that the largest cosine
# over the vocabulary is compared with.
DIRECTIONS, TOKENS, RANDOM = 4, 5, 40
# Tokens whose inputs change most.
_CHANGED = 10
_SEED = (0x70C, 22)


@dataclass(frozen=True)
class Direction:
    """A singular direction of a difference on the residual stream's side.

    Attributes:
        weight: The matrix of the base.
        side: "reads" or "writes".
        number: From 1, the strongest.
        share: Share of the change's sum of squares that it has.
        sigma: Its singular value, relative to what the base's matrix makes of a random input of
            length 1: ||A||_F / sqrt(width).
        vector: Of unit length, shape (width,).
    """

    weight: Weight
    side: str
    number: int
    share: float
    sigma: float
    vector: Floats


@dataclass(frozen=True)
class TokenMatch:
    """A token that lies along a direction.

    Attributes:
        direction: The direction.
        sign: 1 or -1.
        place: From 1, the largest cosine of this sign.
        token: Its number.
        cosine: With its sign.
        null: The largest magnitude of a cosine over the vocabulary for each of `RANDOM` random
            directions, the largest of all of them.
    """

    direction: Direction
    sign: int
    place: int
    token: int
    cosine: float
    null: float


@dataclass(frozen=True)
class ChangedToken:
    """A token whose embedding the changed matrices take differently.

    Attributes:
        token: Its number.
        change: Root mean square over the matrices that read of ||(B - A) x|| on the directions
            that were looked at, x the token's embedding through the norm, at length 1, relative
            to what A makes of a random input. All directions together change it at least so much.
    """

    token: int
    change: float


@dataclass(frozen=True)
class TokenView:
    """Tokens beside a difference.

    Attributes:
        matches: Tokens along each direction, both signs, in the order of the directions.
        changed: The tokens whose inputs change most, first; empty where no matrix reads.
    """

    matches: Sequence[TokenMatch]
    changed: Sequence[ChangedToken]


def read_and_written(
    directions: Sequence[Direction], stream: Stream, meter: UsageMeter
) -> TokenView:
    """The tokens along each direction, and those that all of them together change most.

    The embeddings and the head are read once each.

    Args:
        directions: Any number.
        stream: Where tokens enter and leave.
        meter: Counts what is read.

    Raises:
        CheckpointError: A file is closed, gone or changed.
        PackingError: Pieces of a packed weight contradict each other.
        Stopped: The gate is closed for good.
    """
    groups: dict[str, dict[str, _Group]] = {"reads": {}, "writes": {}}
    for position, each in enumerate(directions):
        gain = _gain(each, stream, meter)
        groups[each.side].setdefault(gain.name, _Group(gain, [])).positions.append(position)
    found: dict[int, list[TokenMatch]] = {}
    changes = np.zeros(stream.embedding.extents[0])
    for side, table in (("reads", stream.embedding), ("writes", stream.head)):
        together = list(groups[side].values())
        for group, (scores, null) in zip(
            together, _along(table, together, directions, meter), strict=True
        ):
            if side == "reads":
                sigma = [directions[i].sigma for i in group.positions]
                changes += np.square(scores) @ np.square(sigma)
            for position, ranked in zip(group.positions, _best(scores), strict=True):
                found[position] = [
                    TokenMatch(
                        directions[position], sign, place + 1, int(token), float(cosine), null
                    )
                    for sign, (tokens, cosines) in zip((1, -1), ranked, strict=True)
                    for place, (token, cosine) in enumerate(zip(tokens, cosines, strict=True))
                ]
    matches = [match for position in range(len(directions)) for match in found[position]]
    readers = len({each.weight.label for each in directions if each.side == "reads"})
    order = np.argsort(-changes, kind="stable")[:_CHANGED].tolist() if readers else []
    roots = [ChangedToken(i, float(np.sqrt(changes[i] / readers))) for i in order]
    return TokenView(matches, [each for each in roots if each.change > 0])


@dataclass(frozen=True)
class _Gain:
    """What a norm does to the direction of a row.

    Attributes:
        name: Of its weight; "" for none.
        factors: What it multiplies by, shape (width,); None for no norm.
        centred: Whether it takes the mean away first.
    """

    name: str
    factors: Singles | None
    centred: bool

    def apply(self, rows: Singles) -> Singles:
        """Rows as they come out of the norm, up to their lengths."""
        if self.centred:
            rows = rows - rows.mean(axis=1, keepdims=True)
        return rows if self.factors is None else rows * self.factors


def _gain(direction: Direction, stream: Stream, meter: UsageMeter) -> _Gain:
    if direction.side == "writes":
        norm = stream.final
    else:
        role = direction.weight.role
        norm = stream.norms.get((role.layer_index, role.component))
    if norm is None:
        return _Gain("", None, False)
    weight, centred = norm
    factors = whole(weight, meter)
    if stream.zero_centred:
        factors = 1 + factors
    return _Gain(weight.name, factors.astype(np.float32), centred)


_Ranked: TypeAlias = tuple[NDArray[Any], Singles]
_Best: TypeAlias = list[tuple[_Ranked, _Ranked]]


@dataclass(frozen=True)
class _Group:
    """Directions behind one norm.

    Attributes:
        gain: The norm.
        positions: Of the directions.
    """

    gain: _Gain
    positions: list[int]


def _along(
    table: Weight, groups: Sequence[_Group], directions: Sequence[Direction], meter: UsageMeter
) -> list[tuple[Singles, float]]:
    """The cosine of each token with each direction of a group, and the null; one reading."""
    if not groups:
        return []
    random = np.random.default_rng(_SEED).standard_normal((table.extents[1], RANDOM))
    random /= np.linalg.norm(random, axis=0)
    vectors = [
        np.hstack([np.stack([directions[i].vector for i in group.positions], axis=1), random])
        for group in groups
    ]
    # A cosine to seven digits is enough, in half of the time.
    narrow = [each.astype(np.float32) for each in vectors]
    cosines: list[list[Singles]] = [[] for _ in groups]
    nulls = [0.0] * len(groups)
    for block in _rows(table, meter):
        plain = block.astype(np.float32)
        for number, (group, both) in enumerate(zip(groups, narrow, strict=True)):
            with meter.stage("vectors", flops=2.0 * block.size * both.shape[1]):
                rows = group.gain.apply(plain)
                lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
                made = rows @ both
                # A token without an embedding lies along nothing.
                np.divide(made, lengths, out=made, where=lengths > 0)
            count = len(group.positions)
            largest = float(np.abs(made[:, count:]).max(initial=0.0))
            nulls[number] = max(nulls[number], largest)
            cosines[number].append(np.ascontiguousarray(made[:, :count]))
    return [(np.concatenate(each), null) for each, null in zip(cosines, nulls, strict=True)]


def _best(scores: Singles) -> _Best:
    """The tokens of the largest and of the smallest cosine with each vector."""
    best: _Best = []
    for column in scores.T:
        order = np.argsort(-column, kind="stable")
        first, last = order[:TOKENS], order[::-1][:TOKENS]
        best.append(((first, column[first]), (last, column[last])))
    return best


def _rows(table: Weight, meter: UsageMeter) -> Iterator[Floats]:
    """The rows of a table in blocks, whatever its long side is."""
    reader = WeightReader(table, 0, meter)
    if table.tall:
        yield from reader.lines()
    else:
        yield np.ascontiguousarray(np.concatenate(list(reader.lines())).T)


def described(match: TokenMatch, texts: Sequence[str]) -> Mapping[str, Any]:
    """A token as a row of the table of tokens.

    Args:
        match: The token.
        texts: The texts of all tokens; empty where the model has no tokenizer.
    """
    weight, token = match.direction.weight, match.token
    return {
        "param_name": weight.name,
        "layer_index": weight.role.layer_index,
        "block_type": weight.role.block_type,
        "component": weight.role.component,
        "expert_index": weight.expert_index,
        "token_side": match.direction.side,
        "direction": match.direction.number,
        "direction_share": match.direction.share,
        "sign": match.sign,
        "place": match.place,
        "token_id": token,
        "token": texts[token] if token < len(texts) else None,
        "token_cosine": match.cosine,
        "null_cosine": match.null,
    }
