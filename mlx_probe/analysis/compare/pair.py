"""One row of a comparison, before it is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.checkpoint import Checkpoint, Weight, are_same_bytes, chunk_extent

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.adapted import Adaption

__all__ = ["Pair", "interleaved_rows", "role_key", "rotary_heads", "shape_text", "unreadable"]

# llama.cpp's converter interleaves the rotary halves of each head's query and key rows for these
# architectures (`LlamaModel.permute` in convert_hf_to_gguf.py and what inherits from it).
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
        b: The weight of B; None if only A has it, or if an adapter makes it from ``a``.
        matched_by: "name", "role" or "adapter"; None without a counterpart.
        status: If it is known from the headers; None if the pair has to be read.
        reason: Why the status is not ok.
        interleaved_a: See `blocks.WeightReader.interleaved`.
        interleaved_b: The same for B.
        adaption: How an adapter changes ``a``; None for two weights, and for a weight that the
            adapter does not change. ``b`` is then one of the adapter's tensors.
        is_change_unknown: Whether an adapter changes ``a``, or may change it, in a way that is
            not computed.
    """

    a: Weight | None
    b: Weight | None
    matched_by: str | None = None
    status: str | None = None
    reason: str | None = None
    interleaved_a: int = 0
    interleaved_b: int = 0
    adaption: Adaption | None = None
    is_change_unknown: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether both are the same bytes of one file: they are read once."""
        if self.a is None or self.b is None or self.adaption is not None:
            return False
        return self.interleaved_a == self.interleaved_b and are_same_bytes(self.a, self.b)

    @property
    def weight(self) -> Weight:
        """The weight of A, or of B where there is none."""
        weight = self.a or self.b
        assert weight is not None
        return weight


def role_key(weight: Weight) -> tuple[object, ...]:
    """Layer, component, block type, expert, and whether it is a bias: equal for one role."""
    role = weight.role
    return (
        role.layer_index,
        role.component,
        role.block_type,
        weight.expert_index,
        weight.name.endswith("bias"),
    )


def interleaved_rows(weight: Weight, checkpoint: Checkpoint, other: Checkpoint) -> int:
    """Rows of a head if its rotary halves are interleaved here and not in the other model.

    llama.cpp stores the query and key rows of some architectures with the two halves that the
    rotary embedding pairs interleaved. It is the same network with another order of rows, which
    would look like a large change beside transformers' order.

    Args:
        weight: A weight of ``checkpoint``.
        checkpoint: One of the two models.
        other: The other one.

    Returns:
        The head's rows for such a weight of a GGUF compared with another format; 0 otherwise.
    """
    return rotary_heads(weight, checkpoint) if other.framework != "gguf" else 0


def rotary_heads(weight: Weight, checkpoint: Checkpoint) -> int:
    """Rows of a head if a GGUF file has its rotary halves interleaved; 0 otherwise."""
    architecture = checkpoint.architecture
    if checkpoint.framework != "gguf" or architecture.model_type not in _ROTARY_PAIRS:
        return 0
    count = {"q_proj": architecture.heads, "k_proj": architecture.kv_heads or architecture.heads}
    heads = count.get(weight.role.block_type)
    rows = weight.shape[0] if weight.shape else 0
    if weight.role.component != "attention" or not heads or rows % (2 * heads):
        return 0
    return rows // heads


def unreadable(weight: Weight, interleaved: int) -> tuple[str, str] | None:
    """Status and reason of a weight that cannot be compared; None if it can."""
    if weight.problem is not None:
        return "skipped", weight.problem
    if weight.numel == 0:
        return "empty", "the tensor has no elements"
    if not weight.shape:
        return "scalar", "the tensor is 0-D: one number has no direction"
    if interleaved and weight.rows is not None and weight.tall:
        extent = chunk_extent(weight.short)
        if weight.rows > extent and extent % interleaved:
            reason = f"GGUF's order of rows, in heads of {interleaved}, cannot be undone in parts"
            return "skipped", reason
    return None


def shape_text(shape: Iterable[int]) -> str:
    """A shape as text: 4096 x 1024."""
    return " x ".join(map(str, shape)) or "a scalar"
