"""One row of a comparison, before it is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlx_probe.analysis.compare.adapted import Factors
from mlx_probe.checkpoint import Checkpoint, Weight, chunk_extent

__all__ = ["Pair", "role_key", "rotary_turn", "shape_text", "unreadable"]

# llama.cpp's converter brings the rotary halves of each head's query and key rows together for
# these architectures (`LlamaModel.permute` in convert_hf_to_gguf.py and what inherits from it).
_ROTARY_PAIRS = frozenset(
    (
        *("llama", "deci", "granite", "granitemoe", "baichuan", "xverse", "minicpm"),
        *("internlm2", "smollm3", "arcee"),
    )
)


@dataclass(frozen=True)
class Pair:
    """A weight of A and its counterpart in B, or one that has none.

    Attributes:
        a: The weight of A; None if only B has it.
        b: The weight of B; None if only A has it, or an adapter makes it of ``a``.
        matched_by: "name", "role" or "adapter"; None for what has no counterpart.
        status: Where it is known from the headers; None for what has to be read.
        reason: Why the status is not ok.
        turn_a: See `blocks.Side.turn`.
        turn_b: The same for B.
        factors: What an adapter does to ``a``; None for two weights, and for a weight that an
            adapter leaves as it is.
    """

    a: Weight | None
    b: Weight | None
    matched_by: str | None = None
    status: str | None = None
    reason: str | None = None
    turn_a: int = 0
    turn_b: int = 0
    factors: Factors | None = None

    @property
    def weight(self) -> Weight:
        """The weight of A, or of B where there is none."""
        weight = self.a or self.b
        assert weight is not None
        return weight


def role_key(weight: Weight) -> tuple[object, ...]:
    """What two weights that do the same job have in common."""
    role = weight.role
    return (
        role.layer_index,
        role.component,
        role.block_type,
        weight.expert_index,
        weight.name.endswith("bias"),
    )


def rotary_turn(weight: Weight, checkpoint: Checkpoint, other: Checkpoint) -> int:
    """Rows of a head that have to be brought into halves to be those of another model.

    llama.cpp stores the query and key rows of some architectures with the two halves that the
    rotary embedding pairs interleaved: the same network, in another order of rows, which
    beside transformers' order would pass for a large change.

    Returns:
        The head's extent for such a weight of a GGUF beside another format; 0 elsewhere.
    """
    architecture = checkpoint.architecture
    gguf = checkpoint.framework == "gguf" and other.framework != "gguf"
    if not gguf or architecture.model_type not in _ROTARY_PAIRS:
        return 0
    count = {"q_proj": architecture.heads, "k_proj": architecture.kv_heads or architecture.heads}
    heads = count.get(weight.role.block_type)
    rows = weight.shape[0] if weight.shape else 0
    if weight.role.component != "attention" or not heads or rows % (2 * heads):
        return 0
    return rows // heads


def unreadable(weight: Weight, turn: int) -> tuple[str, str] | None:
    """Status and reason of a weight that holds nothing to compare; None if it does."""
    if weight.problem is not None:
        return "skipped", weight.problem
    if weight.numel == 0:
        return "empty", "the tensor has no elements"
    if not weight.shape:
        return "scalar", "the tensor is 0-D: one number has no direction"
    if turn and weight.rows is not None and weight.tall:
        extent = chunk_extent(weight.short)
        if weight.rows > extent and extent % turn:
            return "skipped", f"GGUF's order of rows, in heads of {turn}, cannot be undone in parts"
    return None


def shape_text(shape: Iterable[int]) -> str:
    """A shape as people write it."""
    return " x ".join(map(str, shape)) or "a scalar"
