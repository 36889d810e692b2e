"""What a model does between the two factors of a head's product, and the product leaves out.

Two sources. Tensors beside the projections show it where it has weights: norms of queries and
keys, gates, convolutions. `families` lists by model type what has no weights. What neither
explains is said to be unknown: a tensor beside the projections whose role no rule knows, and a
model type that is not listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.analysis.side_tables.heads.families import (
    CONVOLUTION,
    GATE,
    HEAD_NORM,
    KEY_NORM,
    SCALE,
    VALUE_NORM,
    family_of,
)

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Architecture, Weight

__all__ = ["Between", "between", "is_beside", "module_of"]

# Ends of a name that are not the projection itself.
_INSIDE = frozenset(
    ("weight", "bias", "base_layer", "linear", "default", "original_module", "conv", "q", "k")
)
_NUMBER = re.compile(r"\d+")
_ATTENTION = re.compile(r"(?:attn_(?!norm|post_norm|output_norm)|[qk]_norm)")
_QK_NORM = re.compile(
    r"(?:^|\.)(?:(?:attn_)?(?:q|k|qk|query|key)_(?:norm|layer_?norm|ln)|(?:ln|norm)_[qk]"
    r"|k_rope_only_layernorm)(?:\.|\Z)"
)
_VALUE_NORM = re.compile(r"(?:^|\.)(?:attn_)?(?:v|value)_(?:norm|layer_?norm|ln)(?:\.|\Z)")
# Norms of the heads' outputs, before W_o.
_HEAD_NORM = re.compile(
    r"(?:^|\.)(?:attn_sub_norm|inner_attn_ln|sub_?ln|[og]_norm|groupnorm|sub_norm)(?:\.|\Z)"
)
# After W_o, or before W_q: BERT's, XLNet's and Perceiver's.
_OUTSIDE_NORM = re.compile(
    r"(?:^|\.)(?:LayerNorm|layer_norm|layernorm\d|pre_norm|attention_norm)\."
)
# Decays and steps of linear attention and of recurrences.
_RECURRENT = re.compile(
    r"(?:^|\.)(?:A_log|dt_bias|forget_gate|f_(?:[ab]_)?proj|b_proj|slope_rate"
    r"|(?:query|key|diagonal)_decay|in_proj_[abz]|output_gate)(?:\.|\Z)"
)
# Doge computes a mask from the values; DiffLlama weighs the second head of a pair.
_AFTER_SCORES = re.compile(r"(?:^|\.)(?:A|dt_proj\.\w+|lambda_[qk][12])\Z")
_CHOOSES_KEYS = re.compile(r"(?:^|\.)(?:indexer|compressor|index_\w+)(?:\.|\Z)")


@dataclass(frozen=True)
class Between:
    """What the product of a circuit's two factors leaves out.

    Attributes:
        words: What the model does besides, in words for the table.
        normed: Whether queries or keys are normed; None if unknown.
        problem: Why there is no product at all; None if there is one.
    """

    words: tuple[str, ...] = ()
    normed: bool | None = False
    problem: str | None = None


def module_of(name: str) -> str:
    """The module that holds a projection, by the name of the projection's tensor."""
    segments = name.split(".")
    while len(segments) > 1 and segments[-1] in _INSIDE:
        segments.pop()
    return ".".join(segments[:-1])


def is_beside(name: str, module: str) -> bool:
    """Whether a tensor is in the module of a projection."""
    if not name.startswith(f"{module}."):
        return False
    # GGUF keeps a block's tensors in one module, attention and MLP.
    whole_block = _NUMBER.fullmatch(module.rpartition(".")[2])
    return not whole_block or _ATTENTION.match(name[len(module) + 1 :]) is not None


def between(
    circuit: str, beside: Sequence[Weight], layer: int | None, architecture: Architecture
) -> Between:
    """What lies between the factors of a circuit in one layer.

    Args:
        circuit: "qk" or "ov".
        beside: The layer's tensors in the modules of its projections, without these.
        layer: Number of the block.
        architecture: The model's type and settings.
    """
    family = family_of(architecture)
    words: list[str] = []
    for weight in beside:
        word, problem = _tensor(circuit, weight)
        if problem is not None:
            return Between(problem=problem)
        words += [word] if word else []
    if family is None:
        named = architecture.model_type
        kind = f"model type {named!r}" if named else "a model without a type"
        words.append(f"unknown ({kind} is not listed)")
    else:
        problem = family.problem(circuit)
        if problem is not None:
            return Between(problem=problem)
        words += family.words(circuit, layer, architecture)
    normed = circuit == "qk" and KEY_NORM in words
    unknown = circuit == "qk" and not normed and family is None
    return Between(_once(words), None if unknown else normed)


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _tensor(circuit: str, weight: Weight) -> tuple[str | None, str | None]:
    """What a tensor beside the projections does to a circuit: a word, or why there is none."""
    name, kind = weight.name, weight.role.block_type
    if _CHOOSES_KEYS.search(name) or kind.startswith(("index_", "compressor_")):
        return None, None
    if _RECURRENT.search(name):
        return None, f"{name} belongs to linear attention, which has no softmax of scores"
    if kind == "norm":
        return _norm(circuit, name), None
    if kind == "attention_gate":
        return (GATE if circuit == "ov" else None), None
    if kind == "attention_scale":
        return (None if _AFTER_SCORES.search(name) else SCALE), None
    if kind == "conv":
        return CONVOLUTION, None
    if kind == "other":
        return None, f"no rule knows {name}, which lies beside the projections"
    return None, None


def _norm(circuit: str, name: str) -> str | None:
    if _QK_NORM.search(name):
        return KEY_NORM if circuit == "qk" else None
    if _VALUE_NORM.search(name):
        return VALUE_NORM if circuit == "ov" else None
    if _HEAD_NORM.search(name):
        return HEAD_NORM if circuit == "ov" else None
    return None if _OUTSIDE_NORM.search(name) else f"norm ({name})"
