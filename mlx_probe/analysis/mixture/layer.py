"""A layer's mixture: its experts, its router, and what is added to the router's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.analysis.block_position import position_of
from mlx_probe.analysis.side_tables.experts.groups import Group, expert_groups

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Architecture, Weight

__all__ = ["KINDS", "MixtureLayer", "mixture_layers", "routers_alone"]

# The matrices of an expert, with what their columns are called. The last is that of a fused
# matrix whose two halves cannot be told apart.
KINDS: Mapping[str, str] = {
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "gate_up_proj": "gate_up",
}
_CORRECTIONS = ("e_score_correction_bias", "exp_probs_b", "exp_probs_b.bias", "expert_bias")


@dataclass(frozen=True)
class MixtureLayer:
    """The mixture of one layer.

    Attributes:
        stack: The stack of blocks that it is in; see `position_of`.
        index: Number of the block there.
        component: "moe" or "mtp".
        groups: Experts by the kind of their matrices, a key of `KINDS`.
        experts: Their numbers, ascending.
        correction: What is added to the scores of experts before the best are chosen, (experts,);
            None for nothing.
        bias: Bias of the router, (experts,); None without.
        norm: Scale of the norm in front of the block, (dim,); None if there is not exactly one.
    """

    stack: str
    index: int | None
    component: str
    groups: Mapping[str, Group]
    experts: tuple[int, ...]
    correction: Weight | None
    bias: Weight | None
    norm: Weight | None

    @property
    def router(self) -> Weight | None:
        """The matrix with a row or column for each expert; None if there is not exactly one."""
        return next((group.router for group in self.groups.values() if group.router), None)

    @property
    def weights(self) -> tuple[Weight, ...]:
        """Every matrix of the layer that is measured: those of the experts, and the router."""
        experts = [weight for group in self.groups.values() for weight in group.members]
        return (*experts, *([self.router] if self.router else ()))


def mixture_layers(
    weights: Sequence[Weight], architecture: Architecture
) -> tuple[MixtureLayer, ...]:
    """The mixtures of a model in the order of their layers; empty for a dense model.

    Args:
        weights: The model's weights, parts of fused ones included.
        architecture: See `expert_groups`.
    """
    groups: dict[tuple[str, int | None], dict[str, Group]] = {}
    for group in expert_groups(weights, architecture):
        if group.kind in KINDS:
            groups.setdefault(position_of(group.members[0]), {})[group.kind] = group
    beside: dict[tuple[str, int | None], list[Weight]] = {}
    for weight in weights:
        if weight.rows is None and weight.expert_index is None and weight.part is None:
            beside.setdefault(position_of(weight), []).append(weight)
    layers = []
    for position, kinds in groups.items():
        members = [weight for group in kinds.values() for weight in group.members]
        experts = tuple(sorted({weight.expert_index or 0 for weight in members}))
        vectors = beside.get(position, [])
        layers.append(
            MixtureLayer(
                *position,
                component=members[0].role.component,
                groups={kind: kinds[kind] for kind in KINDS if kind in kinds},
                experts=experts,
                correction=_one(vectors, _CORRECTIONS, len(experts)),
                bias=_one(vectors, ("router.bias", "gate.bias", "ffn_gate_inp.bias"), len(experts)),
                norm=_one(vectors, ("post_attention_layernorm.weight", "ffn_norm.weight")),
            )
        )
    return tuple(sorted(layers, key=lambda layer: (layer.stack, layer.index or 0)))


def routers_alone(weights: Sequence[Weight], layers: Sequence[MixtureLayer]) -> tuple[Weight, ...]:
    """Routers of layers that have no experts: they are missing, or those of another layer."""
    known = {(layer.stack, layer.index) for layer in layers}
    return tuple(
        weight
        for weight in weights
        if weight.role.block_type == "router"
        and weight.part is None
        and position_of(weight) not in known
    )


def _one(vectors: Sequence[Weight], endings: tuple[str, ...], length: int = 0) -> Weight | None:
    """The one readable vector with such a name; None where there is not exactly one."""
    found = [
        weight
        for weight in vectors
        if weight.name.endswith(endings) and (not length or weight.shape == (length,))
    ]
    return found[0] if len(found) == 1 and found[0].problem is None else None
