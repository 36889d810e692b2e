"""The blocks of a model, as parts that can be compared: attention, MLP, experts and others.

Parts of equal roles and shapes are compared with each other and with nothing else, so that a
hybrid stack compares attention with attention and recurrent layers with recurrent layers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.analysis.block_position import position_of
from mlx_probe.analysis.side_tables.heads.circuits import (
    CIRCUITS,
    attention_layers,
    circuit_factors,
)

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Checkpoint, Weight

__all__ = ["Part", "Piece", "Place", "Unread", "model_parts"]

_HEADED = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
# Smaller matrices hold too few numbers to tell a copy from chance.
_FEWEST = 256
_PLAIN_ORDER = "its inner order is not known, and only the stored order is compared"


@dataclass(frozen=True, order=True)
class Place:
    """Where a block is.

    Attributes:
        model: 0 for the model that is asked about, 1 and up for those it is compared with.
        stack: Name up to the block's number; see `position_of`.
        layer: Number of the block.
    """

    model: int
    stack: str
    layer: int


@dataclass(frozen=True)
class Piece:
    """The matrices of one role in a part.

    Attributes:
        role: Block type, with the end of the name where several matrices of a part share it.
        weights: One matrix, or one for each expert.
        inner: Axis of hidden units or heads; None where it is not known.
        heads: Heads along that axis; 0 where these are hidden units.
    """

    role: str
    weights: tuple[Weight, ...]
    inner: int | None = None
    heads: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of each matrix."""
        return self.weights[0].shape

    @property
    def numel(self) -> int:
        """Elements of all matrices."""
        return sum(weight.numel for weight in self.weights)


@dataclass(frozen=True)
class Part:
    """A part of a block.

    Attributes:
        place: Its block.
        name: "attention", "mlp", "experts", "shared", or a component.
        pieces: Its matrices, by role.
        order: What the network may permute inside of it: "heads", "units", "experts", or "".
        problem: Why an order is not looked for; None where it is.
    """

    place: Place
    name: str
    pieces: tuple[Piece, ...]
    order: str
    problem: str | None

    @property
    def signature(self) -> tuple[object, ...]:
        """Parts with the same one are compared."""
        return self.name, self.order, *((p.role, p.shape, len(p.weights)) for p in self.pieces)

    @property
    def numel(self) -> int:
        """Elements of all matrices."""
        return sum(piece.numel for piece in self.pieces)


@dataclass(frozen=True)
class Unread:
    """A part that is not compared.

    Attributes:
        place: Its block.
        name: As `Part.name`.
        reason: Why.
    """

    place: Place
    name: str
    reason: str


def model_parts(checkpoint: Checkpoint, model: int = 0) -> tuple[list[Part], list[Unread]]:
    """The parts of all blocks in the order of their blocks, and those that cannot be read.

    Args:
        checkpoint: The model; only headers are read.
        model: See `Place`.
    """
    weights = checkpoint.weights()
    split = {weight.name for weight in weights if weight.part is not None}
    groups: dict[tuple[Place, str], list[Weight]] = defaultdict(list)
    for weight in weights:
        stack, layer = position_of(weight)
        fused_whole = weight.part is None and weight.name in split
        if layer is None or weight.rows is None or fused_whole or weight.numel < _FEWEST:
            continue
        groups[Place(model, stack, layer), _part_name(weight)].append(weight)
    heads = _heads_of(weights, checkpoint, model)
    width = checkpoint.architecture.hidden_size
    parts: list[Part] = []
    unread: list[Unread] = []
    for (place, name), members in groups.items():
        bad = next((w for w in members if not w.has_spectrum or len(w.shape) != 2), None)
        if bad is not None:
            reason = f"{bad.label}: {bad.problem or 'not a matrix of floats'}"
            unread.append(Unread(place, name, reason))
            continue
        pieces = _pieces(members)
        found = heads.get(place)
        if name == "attention" and found is not None:
            parts.append(_with_heads(place, pieces, *found))
        elif name in ("mlp", "shared"):
            parts.append(_with_units(place, name, pieces, width, "units"))
        elif name == "experts":
            parts.append(_with_units(place, name, pieces, width, "experts"))
        else:
            parts.append(Part(place, name, pieces, "", _PLAIN_ORDER))
    parts.sort(key=lambda part: (part.place, part.name))
    return parts, sorted(unread, key=lambda each: (each.place, each.name))


def _part_name(weight: Weight) -> str:
    role = weight.role
    if weight.expert_index is not None and (role.component == "moe" or role.block_type in _MLP):
        return "experts"
    if role.component == "moe":
        return "experts" if _is_router(weight) else "shared"
    if role.block_type in _HEADED and role.component != "cross_attention":
        return "attention"
    return "mlp" if role.block_type in _MLP else role.component


def _is_router(weight: Weight) -> bool:
    # The scalar gate of a shared expert has one row.
    return weight.role.block_type == "router" and min(weight.shape) > 1


def _pieces(members: Sequence[Weight]) -> tuple[Piece, ...]:
    by_role: dict[str, list[Weight]] = defaultdict(list)
    for weight in members:
        by_role[weight.role.block_type].append(weight)
    pieces = []
    for role, same in by_role.items():
        numbers = Counter(weight.expert_index for weight in same)
        if None not in numbers and max(numbers.values()) == 1:
            same.sort(key=lambda weight: weight.expert_index or 0)
            pieces.append(Piece(role, tuple(same)))
        elif len(same) == 1:
            pieces.append(Piece(role, tuple(same)))
        else:
            pieces += [Piece(f"{role} {_tail(weight)}", (weight,)) for weight in same]
    return tuple(sorted(pieces, key=lambda piece: piece.role))


def _tail(weight: Weight) -> str:
    """A name behind the block's number."""
    stack, layer = position_of(weight)
    return weight.label.removeprefix(f"{stack}.{layer}.")


def _heads_of(
    weights: Sequence[Weight], checkpoint: Checkpoint, model: int
) -> dict[Place, tuple[dict[str, tuple[int, int]], str | None]]:
    """Of each attention: axis and number of heads by role, or why they are not known."""
    found: dict[Place, tuple[dict[str, tuple[int, int]], str | None]] = {}
    for attention in attention_layers(weights):
        first = next(iter(attention.matrices.values()))[0]
        stack, layer = position_of(first)
        if layer is None or attention.component == "cross_attention":
            continue
        problem = attention.common_problem(checkpoint.architecture)
        known: dict[str, tuple[int, int]] = {}
        for left, right in CIRCUITS.values():
            if problem is None:
                factors, problem = circuit_factors(attention, left, right, checkpoint.architecture)
                for kind, factor in zip((left, right), factors or (), strict=False):
                    known[kind] = (factor.axis, factor.count)
        found[Place(model, stack, layer)] = ({} if problem else known, problem)
    return found


def _with_heads(
    place: Place,
    pieces: tuple[Piece, ...],
    known: dict[str, tuple[int, int]],
    problem: str | None,
) -> Part:
    roles = {piece.role for piece in pieces}
    if problem is None and roles != set(_HEADED):
        more = ", ".join(sorted(roles))
        problem = f"it has more than queries, keys, values and output: {more}"
    if problem is not None:
        return Part(place, "attention", pieces, "", problem)
    cut = tuple(Piece(p.role, p.weights, *known[p.role]) for p in pieces)
    return Part(place, "attention", cut, "heads", None)


def _with_units(
    place: Place, name: str, pieces: tuple[Piece, ...], width: int | None, order: str
) -> Part:
    """Hidden units are along the axis that is not the residual stream's."""
    mlp = [piece for piece in pieces if piece.role in _MLP]
    others = [piece for piece in pieces if piece.role not in _MLP]
    problem = None
    if {"up_proj", "down_proj"} - {piece.role for piece in mlp}:
        problem = "it is not of an up and a down projection"
    if any(p.role != "router" for p in others):
        problem = problem or f"{others[0].role}: what it does to the order is not known"
    transposed = any(w.part is not None and w.part.axis == 1 for p in mlp for w in p.weights)
    cut = []
    for piece in mlp:
        fits = [extent == width for extent in piece.shape]
        outputs = 1 if transposed else 0
        inner = 1 - outputs if piece.role == "down_proj" else outputs
        if sum(fits) == 1:
            inner = 1 - fits.index(True)
        cut.append(Piece(piece.role, piece.weights, inner))
    if len({piece.shape[piece.inner or 0] for piece in cut}) > 1:
        problem = problem or "gate, up and down projection have different numbers of units"
    if order == "experts" and len({len(piece.weights) for piece in cut}) > 1:
        problem = problem or "gate, up and down projection have different numbers of experts"
    router = [_router(piece, cut) for piece in others if piece.role == "router"]
    if problem is not None:
        return Part(place, name, pieces, "", problem)
    whole = tuple(sorted([*cut, *router], key=lambda piece: piece.role))
    return Part(place, name, whole, order, None)


def _router(piece: Piece, cut: Sequence[Piece]) -> Piece:
    """A router's rows are in the order of the experts."""
    experts = len(cut[0].weights) if cut else 0
    fits = [extent == experts for extent in piece.shape]
    return Piece(piece.role, piece.weights, fits.index(True) if sum(fits) == 1 else None)
