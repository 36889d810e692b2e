"""Two parts whose hidden units, heads or experts are in different orders, put into one order.

The order is found on one half of the residual stream's coordinates, and the cosine is taken on the
other half. Unrelated parts then have the cosines of unrelated numbers, though of all orders the
best one was taken: what was chosen is not what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.similar_layers.assignment import assigned
from mlx_probe.analysis.similar_layers.reading import inner_first, read_matrix

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.assignment import Order
    from mlx_probe.analysis.similar_layers.blocks import Part, Piece
    from mlx_probe.analysis.similar_layers.reading import Matrix, Numbers

__all__ = ["Aligned", "align"]

# Coordinates of a hidden unit's key, and of a head's or an expert's, which are few.
_UNIT, _WIDE = 256, 4096


@dataclass
class _Sums:
    """Products of two matrices over one half of the coordinates, and over all."""

    held: Matrix = field(default_factory=lambda: np.zeros(3))
    whole: Matrix = field(default_factory=lambda: np.zeros(3))

    def add(self, one: Numbers, other: Numbers) -> None:
        self.whole += _products(one, other)
        self.held += _products(one[..., 1::2], other[..., 1::2])


@dataclass(frozen=True)
class Aligned:
    """Two parts in the order of the first.

    Attributes:
        held: By role, cosine on the half of the coordinates that did not choose the order.
        whole: By role, cosine of all elements.
        distance: By role, ||A - B|| / ||A|| of all elements.
        moved: Units, heads or experts that are elsewhere in the second part.
        count: How many there are.
    """

    held: Mapping[str, float]
    whole: Mapping[str, float]
    distance: Mapping[str, float]
    moved: int
    count: int


def align(one: Part, other: Part, norms: Mapping[str, float], seed: int) -> Aligned | None:
    """Put the second part into the order of the first; at most two matrices are in memory.

    Args:
        one: A part with an order.
        other: Of the same signature.
        norms: Of the first part by role; roles of 0 do not count.
        seed: Of random vectors by which hidden units are found.

    Returns:
        None where no order is found: too many units have no partner.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    if one.order == "heads":
        return _by_heads(one, other, norms, seed)
    if one.order == "experts":
        return _by_experts(one, other, norms, seed)
    return _by_units(one, other, norms, seed)


def _units_keys(part: Part, norms: Mapping[str, float], expert: int, seed: int) -> Numbers:
    """Hidden units projected to few coordinates, from every other one of the residual stream."""
    keys: Numbers | None = None
    for number, piece in enumerate(_with_units(part)):
        if not norms[piece.role]:
            continue
        units = inner_first(read_matrix(piece.weights[expert]), piece)[:, ::2]
        random = np.random.default_rng([seed, number])
        draw = random.standard_normal((units.shape[1], _UNIT), np.float32)
        size = float(np.linalg.norm(units)) or 1.0
        made = units @ (draw / np.float32(size))
        keys = made if keys is None else keys + made
    assert keys is not None
    return keys


def _with_units(part: Part) -> Iterator[Piece]:
    return (p for p in part.pieces if p.role != "router" and p.inner is not None)


def _by_units(one: Part, other: Part, norms: Mapping[str, float], seed: int) -> Aligned | None:
    order = assigned(*(_units_keys(part, norms, 0, seed) for part in (one, other)))
    if order is None:
        return None
    sums: dict[str, _Sums] = {}
    for first, second in zip(_with_units(one), _with_units(other), strict=True):
        units = inner_first(read_matrix(second.weights[0]), second)[order]
        sums.setdefault(first.role, _Sums()).add(
            inner_first(read_matrix(first.weights[0]), first), units
        )
    return _aligned(sums, norms, _moved(order), len(order))


def _by_experts(one: Part, other: Part, norms: Mapping[str, float], seed: int) -> Aligned | None:
    experts = assigned(*(_expert_keys(part, norms, seed) for part in (one, other)))
    if experts is None:
        return None
    sums: dict[str, _Sums] = {}
    moved = 0
    for expert, partner in enumerate(experts):
        keys = (
            _units_keys(one, norms, expert, seed),
            _units_keys(other, norms, int(partner), seed),
        )
        order = assigned(*keys)
        if order is None:
            return None
        moved += partner != expert or _moved(order) > 0
        for first, second in zip(_with_units(one), _with_units(other), strict=True):
            units = inner_first(read_matrix(second.weights[int(partner)]), second)[order]
            sums.setdefault(first.role, _Sums()).add(
                inner_first(read_matrix(first.weights[expert]), first), units
            )
    for first, second in zip(one.pieces, other.pieces, strict=True):
        if first.role == "router" and first.inner is not None:
            rows = inner_first(read_matrix(second.weights[0]), second)[experts]
            sums.setdefault("router", _Sums()).add(
                inner_first(read_matrix(first.weights[0]), first), rows
            )
    return _aligned(sums, norms, moved, len(experts))


def _expert_keys(part: Part, norms: Mapping[str, float], seed: int) -> Numbers:
    """The sum of each expert's units, which their order does not change, and its router row."""
    keys = []
    for piece in part.pieces:
        if not norms[piece.role] or piece.inner is None:
            continue
        if piece.role == "router":
            lines = inner_first(read_matrix(piece.weights[0]), piece)[:, ::2]
        else:
            lines = np.stack(
                [
                    inner_first(read_matrix(weight), piece)[:, ::2].sum(axis=0)
                    for weight in piece.weights
                ]
            )
        keys.append(_few(lines, seed))
    return np.hstack(keys)


def _by_heads(one: Part, other: Part, norms: Mapping[str, float], seed: int) -> Aligned | None:
    pieces = {piece.role: piece for piece in one.pieces}
    heads, groups = pieces["q_proj"].heads, pieces["k_proj"].heads
    keys = [_head_keys(part, norms, seed) for part in (one, other)]
    share = heads // groups
    # A group of heads by its key and value head, and by the sum of what uses them.
    of_groups = assigned(*(_group_keys(each, groups) for each in keys))
    if of_groups is None:
        return None
    of_heads = np.empty(heads, np.int64)
    for group, partner in enumerate(of_groups):
        mine, theirs = (
            np.hstack([each[role][at * share : (at + 1) * share] for role in ("q_proj", "o_proj")])
            for each, at in zip(keys, (group, int(partner)), strict=True)
        )
        within = assigned(mine, theirs)
        if within is None:
            return None
        of_heads[group * share : (group + 1) * share] = partner * share + within
    sums: dict[str, _Sums] = {}
    for first, second in zip(one.pieces, other.pieces, strict=True):
        order = (
            of_heads if first.heads == heads and first.role in ("q_proj", "o_proj") else of_groups
        )
        theirs = _as_heads(second)[order]
        sums.setdefault(first.role, _Sums()).add(_as_heads(first), theirs)
    return _aligned(sums, norms, _moved(of_heads), heads)


def _head_keys(part: Part, norms: Mapping[str, float], seed: int) -> dict[str, Numbers]:
    """Of each role a line for each head."""
    keys = {}
    for piece in part.pieces:
        lines = _as_heads(piece)[..., ::2].reshape(piece.heads, -1)
        size = float(np.linalg.norm(lines)) or 1.0
        keys[piece.role] = _few(lines, seed) / np.float32(size)
    return keys


def _group_keys(keys: Mapping[str, Numbers], groups: int) -> Numbers:
    """Of each key and value head a line: itself, and the sum of the heads that use it."""
    return np.hstack(
        [each.reshape(groups, -1, each.shape[1]).sum(axis=1) for each in keys.values()]
    )


def _as_heads(piece: Piece) -> Numbers:
    """(heads, width of a head, residual stream)."""
    lines = inner_first(read_matrix(piece.weights[0]), piece)
    return lines.reshape(piece.heads, -1, lines.shape[1])


def _few(lines: Numbers, seed: int) -> Numbers:
    """At most `_WIDE` coordinates, the same ones of all lines of one length."""
    width = lines.shape[1]
    if width <= _WIDE:
        return lines
    at = np.random.default_rng([seed, width]).choice(width, _WIDE, replace=False)
    return lines[:, np.sort(at)]


def _products(one: Numbers, other: Numbers) -> Matrix:
    """A.B, A.A and B.B in float64, without copies of the whole in float64."""
    sums = np.zeros(3)
    for a, b in zip(one, other, strict=True):
        x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        sums += (x @ y, x @ x, y @ y)
    return sums


def _moved(order: Order) -> int:
    return int(np.count_nonzero(order != np.arange(len(order))))


def _aligned(
    sums: Mapping[str, _Sums], norms: Mapping[str, float], moved: int, count: int
) -> Aligned:
    known = {role: each for role, each in sums.items() if norms[role]}
    return Aligned(
        {role: _cosine(each.held) for role, each in known.items()},
        {role: _cosine(each.whole) for role, each in known.items()},
        {role: _distance(each.whole) for role, each in known.items()},
        int(moved),
        count,
    )


def _cosine(sums: Matrix) -> float:
    ab, aa, bb = sums
    return float(np.clip(ab / np.sqrt(aa * bb), -1, 1)) if aa > 0 and bb > 0 else 0.0


def _distance(sums: Matrix) -> float:
    ab, aa, bb = sums
    return float(np.sqrt(max(0.0, aa + bb - 2 * ab) / aa)) if aa > 0 else float(bb > 0)
