"""Which experts are compared: the groups, their routers, and why some cannot be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.analysis.block_position import position_of

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Architecture, Weight

__all__ = ["Group", "expert_groups", "problem_of"]


@dataclass(frozen=True)
class Group:
    """All experts of a layer and matrix kind, or those that a sample measures.

    Attributes:
        kind: Block type.
        members: One matrix for each expert, in the order of their numbers.
        places: The place of each member among all experts of the layer.
        experts: How many there are.
        router: The layer's router, if there is one with a row or column for each expert.
        axis: The side of the residual stream: 0 for rows, 1 for columns.
        problem: Why the experts cannot be compared; None if they can.
    """

    kind: str
    members: tuple[Weight, ...]
    places: tuple[int, ...]
    experts: int
    router: Weight | None
    axis: int
    problem: str | None

    def number(self, index: int | None) -> int | None:
        """The expert's number, by its index in the group; None for None."""
        return None if index is None else self.members[index].expert_index


def expert_groups(
    weights: Sequence[Weight], architecture: Architecture, unsampled: Collection[int] = ()
) -> list[Group]:
    """The groups in the order of their first matrices.

    Args:
        weights: The model's weights, parts of fused ones included.
        architecture: Its hidden size shows which side of a matrix is the residual stream.
        unsampled: Positions of weights that are no members; a group of such ones alone is none.
    """
    experts: dict[tuple[str, int | None, str], list[tuple[int, Weight]]] = {}
    routers: dict[tuple[str, int | None], list[Weight]] = {}
    split = {weight.name for weight in weights if weight.part is not None}
    for i, weight in enumerate(weights):
        role, position = weight.role, position_of(weight)
        if weight.rows is None or role.component not in ("moe", "mtp"):
            continue
        if role.block_type == "router":
            routers.setdefault(position, []).append(weight)
        # The parts of a fused matrix stand for it; scales and adapters are no experts.
        elif (
            weight.expert_index is not None
            and role.block_type.endswith("_proj")
            and (weight.part or weight.name not in split)
        ):
            experts.setdefault((*position, role.block_type), []).append((i, weight))
    # A fused matrix whose parts are columns is stored transposed, as (inputs, outputs). So are
    # the layer's other matrices.
    transposed = {
        key[:2] for key, ws in experts.items() if any(w.part and w.part.axis for _, w in ws)
    }
    groups = []
    for (stack, layer, kind), matrices in experts.items():
        matrices.sort(key=lambda each: each[1].expert_index or 0)
        places = tuple(place for place, (i, _) in enumerate(matrices) if i not in unsampled)
        if not places:
            continue
        members = tuple(matrices[place][1] for place in places)
        axis = _residual_axis(kind, members[0], architecture, (stack, layer) in transposed)
        router = _router(routers.get((stack, layer), ()), len(matrices))
        problem = problem_of(members)
        groups.append(Group(kind, members, places, len(matrices), router, axis, problem))
    return groups


def problem_of(members: Sequence[Weight]) -> str | None:
    """Why experts cannot be compared; None if they can."""
    for weight in members:
        if not weight.has_spectrum or len(weight.shape) != 2:
            return f"{weight.label}: {weight.problem or 'not a matrix of floats'}"
    shapes = Counter(weight.shape for weight in members)
    if len(shapes) > 1:
        return "experts of different shapes: " + ", ".join(str(list(s)) for s in list(shapes)[:3])
    numbers = Counter(weight.expert_index for weight in members)
    twice = [number for number, count in numbers.items() if count > 1]
    return f"several matrices for expert {twice[0]}" if twice else None


def _residual_axis(kind: str, weight: Weight, architecture: Architecture, transposed: bool) -> int:
    """The side of a matrix that is the residual stream's."""
    fits = [extent == architecture.hidden_size for extent in weight.shape[:2]]
    if sum(fits) == 1:
        return fits.index(True)
    outputs = 1 if transposed else 0
    return outputs if kind == "down_proj" else 1 - outputs


def _router(candidates: Sequence[Weight], experts: int) -> Weight | None:
    """The one router with a row or column for each expert; None where there is not exactly one."""
    fitting = [w for w in candidates if w.has_spectrum and experts in w.shape[:2]]
    return fitting[0] if len(fitting) == 1 and len(fitting[0].shape) == 2 else None
