"""Which matrices make up a head's products: attention layers, and how their factors are cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.block_position import position_of
from mlx_probe.analysis.side_tables.heads.between import is_beside, module_of

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Architecture, Weight

__all__ = ["CIRCUITS", "Attention", "Factor", "attention_layers", "circuit_factors"]

# Encoders of other kinds: the configuration's own head counts are not theirs.
_TOWERS = ("vision", "audio", "projector")
_COMPONENTS = ("attention", "cross_attention", "mtp", *_TOWERS)
_FACTORS = ("q_proj", "k_proj", "v_proj", "o_proj")
# The block types of a product's left and right factor.
CIRCUITS = {"qk": ("q_proj", "k_proj"), "ov": ("o_proj", "v_proj")}
# Other forms of queries, keys and values, and why there is no product then.
_LATENT = "multi-head latent attention: keys and values come out of one low-rank projection"
_OTHER_FORMS = {
    **dict.fromkeys(("q_a_proj", "q_b_proj", "kv_a_proj", "kv_b_proj"), _LATENT),
    **dict.fromkeys(("k_b_proj", "v_b_proj", "o_a_proj", "o_b_proj"), _LATENT),
    **dict.fromkeys(("qkv_proj", "kv_proj", "qk_proj", "gate_qkv_proj", "q_gate_proj"), None),
}


@dataclass(frozen=True)
class Attention:
    """One layer's attention.

    Attributes:
        layer_index: Number of the block.
        component: As in the table.
        matrices: Block type to the matrices of that type.
        beside: Other tensors of the modules that hold the matrices.
    """

    layer_index: int | None
    component: str
    matrices: Mapping[str, Sequence[Weight]]
    beside: Sequence[Weight]

    def common_problem(self, architecture: Architecture) -> str | None:
        """Why neither product can be made; None if at least one may be possible."""
        if self.component in _TOWERS:
            return f"head counts are read for the language model, not for {self.component}"
        split = {w.name for kind in _FACTORS for w in self.matrices.get(kind, ()) if w.part}
        for kind, reason in _OTHER_FORMS.items():
            whole = [w for w in self.matrices.get(kind, ()) if w.name not in split]
            if whole:
                unsplit = whole[0].unsplit or "its layout is not one of queries, keys and values"
                return reason or f"{kind} is fused, and {unsplit}"
        shared = architecture.kv_shared or 0
        if shared and (self.layer_index or 0) >= (architecture.layers or 0) - shared:
            return "its keys and values are those of an earlier layer"
        heads, kv_heads = architecture.heads, architecture.kv_heads
        if heads is None or kv_heads is None:
            return "the model does not give one number of heads for all layers"
        if heads % kv_heads:
            return f"{heads} query heads cannot share {kv_heads} key and value heads"
        return None

    def outcome(self, status: str, reason: str) -> dict[str, Any]:
        """The only row of a layer without products."""
        position = {"layer_index": self.layer_index, "component": self.component}
        return {**position, "status": status, "status_reason": reason}


@dataclass(frozen=True)
class Factor:
    """One matrix, to be cut into heads.

    Attributes:
        weight: The matrix.
        axis: 0 if heads are runs of its rows, 1 if of its columns.
        count: Heads.
    """

    weight: Weight
    axis: int
    count: int

    @property
    def lines(self) -> int:
        """Rows or columns of all heads together."""
        return self.weight.shape[self.axis]

    @property
    def width(self) -> int:
        """Rows or columns of a head."""
        return self.lines // self.count

    @property
    def outside(self) -> int:
        """Extent of the other side: d_model, as a rule."""
        return self.weight.shape[1 - self.axis]


def attention_layers(weights: Sequence[Weight]) -> list[Attention]:
    """The attention layers, in the order of their first matrices."""
    layers: dict[tuple[str, int | None, str], dict[str, list[Weight]]] = {}
    others: dict[tuple[str, int | None], list[Weight]] = defaultdict(list)
    for weight in weights:
        position = position_of(weight)
        kind = weight.role.block_type
        if kind not in _FACTORS and kind not in _OTHER_FORMS:
            others[position].append(weight)
        elif weight.rows is not None and weight.role.component in _COMPONENTS:
            matrices = layers.setdefault((*position, weight.role.component), defaultdict(list))
            matrices[kind].append(weight)
    return [
        Attention(layer, component, matrices, _beside(matrices, others[stack, layer]))
        for (stack, layer, component), matrices in layers.items()
    ]


def _beside(matrices: Mapping[str, Sequence[Weight]], others: Sequence[Weight]) -> list[Weight]:
    modules = {module_of(weight.name) for same in matrices.values() for weight in same}
    return [weight for weight in others if any(is_beside(weight.name, m) for m in modules)]


def circuit_factors(
    attention: Attention, left: str, right: str, architecture: Architecture
) -> tuple[tuple[Factor, Factor] | None, str | None]:
    """The two matrices of a circuit, or why they cannot be cut into heads.

    Args:
        attention: The layer.
        left: Block type of the left factor.
        right: Block type of the right factor.
        architecture: Head counts.
    """
    heads, kv_heads = architecture.heads or 1, architecture.kv_heads or 1
    for kind in (left, right):
        matrices = attention.matrices.get(kind, ())
        if len(matrices) != 1:
            names = ", ".join(weight.label for weight in matrices[:3])
            return None, f"several {kind}: {names}" if matrices else f"no {kind}"
        (weight,) = matrices
        if not weight.has_spectrum or len(weight.shape) != 2:
            return None, f"{kind}: {weight.problem or 'not a matrix of floats'}"
    one, two = attention.matrices[left][0], attention.matrices[right][0]
    # GPT-2's Conv1D stores (inputs, outputs). Only the axis of a fused matrix's parts shows it.
    parts = [w.part for kind in _FACTORS for w in attention.matrices.get(kind, ()) if w.part]
    outputs = int(any(part.axis == 1 for part in parts))
    factors = (
        Factor(one, outputs if left == "q_proj" else 1 - outputs, heads),
        Factor(two, outputs, kv_heads),
    )
    for factor, kind in zip(factors, (left, right), strict=True):
        if factor.lines % factor.count:
            return None, f"{kind}: {factor.lines} lines are not {factor.count} heads"
    widths = factors[0].width, factors[1].width
    contradiction = "head counts contradict the shapes"
    if widths[0] != widths[1]:
        return None, (f"{contradiction}: {left} has heads of {widths[0]}, {right} of {widths[1]}")
    known = architecture.head_dim
    queries = attention.matrices.get("q_proj", ())
    # Values may be wider than queries, but then the queries show that the number of heads is right.
    counted = left == "o_proj" and any(known and heads * known in w.shape for w in queries)
    if known is not None and widths[0] != known and not counted:
        return None, (
            f"{contradiction}: heads of {widths[0]} by the shapes, of {known} by the configuration"
        )
    return factors, None
