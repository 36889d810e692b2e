"""What an architecture declares: its tensors' names in llama.cpp, and what its config.json says.

The names are those of llama.cpp's `src/llama-arch.cpp`; it refuses a file that lacks one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_probe.lab.export.gguf.shape import Shape

__all__ = [
    "ATTENTION",
    "FEED_FORWARD",
    "Architecture",
    "Config",
    "Metadata",
    "Place",
    "plain_rope",
]

Config = Mapping[str, Any]
# Keys without the architecture's name in front of them.
Metadata = Mapping[str, int | float | bool | str]

# Of each block, by Hugging Face's name; the axes are names of `Shape`'s attributes.
ATTENTION = {
    "input_layernorm.weight": ("attn_norm.weight", ("dim",)),
    "self_attn.q_proj.weight": ("attn_q.weight", ("query", "dim")),
    "self_attn.k_proj.weight": ("attn_k.weight", ("key", "dim")),
    "self_attn.v_proj.weight": ("attn_v.weight", ("key", "dim")),
    "self_attn.o_proj.weight": ("attn_output.weight", ("dim", "query")),
}
FEED_FORWARD = {
    "post_attention_layernorm.weight": ("ffn_norm.weight", ("dim",)),
    "mlp.gate_proj.weight": ("ffn_gate.weight", ("hidden", "dim")),
    "mlp.up_proj.weight": ("ffn_up.weight", ("hidden", "dim")),
    "mlp.down_proj.weight": ("ffn_down.weight", ("dim", "hidden")),
}
# What `*` stands for in the name of a tensor that each expert has.
_EXPERT = "*"


@dataclass(frozen=True)
class Place:
    """Where a tensor goes.

    Attributes:
        sources: Its name in Hugging Face's layout; of a stack one for each expert.
        name: Its name in the file.
        shape: Its shape in PyTorch's order.
        turned_heads: Heads whose rows change their order, see `interleave`; 0 for none.
        added: A number that is added to every element.
        stack: The name of one tensor that holds all experts, as mlx-lm writes them.
        is_exact: Whether it stays float32 whatever type is chosen.
        values: Its elements, where Hugging Face's layout has no such tensor.
    """

    sources: tuple[str, ...]
    name: str
    shape: tuple[int, ...]
    turned_heads: int = 0
    added: float = 0.0
    stack: str | None = None
    is_exact: bool = False
    values: tuple[float, ...] = ()


def _nothing(config: Config, shape: Shape) -> Metadata:
    return {}


def plain_rope(config: Config) -> Mapping[str, Any]:
    """What config.json says of the rotary embedding; empty if nothing."""
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def _no_fault(config: Config, shape: Shape) -> str | None:
    return None


def _no_notes(config: Config, shape: Shape) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Architecture:
    """One architecture of llama.cpp.

    Attributes:
        name: Its name in files.
        block: Names and axes of a block's tensors, by Hugging Face's name; `*` is an expert.
        interleaved: Whether llama.cpp's rotary embedding turns neighbours, (0, 1), (2, 3), ...,
            where Hugging Face turns the halves of a head, (0, d/2), (1, d/2 + 1), ...
        norms_from_one: Whether Hugging Face stores the norms' weights less one.
        has_windows: Whether layers may have windows; ``fault`` looks at which.
        rope: Settings of the rotary embedding.
        rope_types: Kinds of it that a file can say.
        rotates_part: Whether the rotary embedding may turn a part of a head.
        allowed: Values of keys of config.json; others make it another model. The first one is
            taken where there is no key.
        defaults: transformers' values for keys that may be left out.
        metadata: What else a file says.
        fault: What about config.json has no form in llama.cpp, as "KEY is VALUE".
        notes: Where llama.cpp differs all the same.
    """

    name: str
    block: Mapping[str, tuple[str, tuple[str, ...]]]
    interleaved: bool = False
    norms_from_one: bool = False
    has_windows: bool = False
    rope: Callable[[Config], Mapping[str, Any]] = plain_rope
    rope_types: tuple[str, ...] = ("default",)
    rotates_part: bool = False
    allowed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    metadata: Callable[[Config, Shape], Metadata] = _nothing
    fault: Callable[[Config, Shape], str | None] = _no_fault
    notes: Callable[[Config, Shape], tuple[str, ...]] = _no_notes

    def places(self, shape: Shape) -> Iterator[Place]:
        """All tensors of a model in the order of the file."""
        table = (shape.vocabulary, shape.dim)
        one = 1.0 if self.norms_from_one else 0.0
        yield Place(("model.embed_tokens.weight",), "token_embd.weight", table)
        for layer in range(shape.layers):
            for source, (name, axes) in self.block.items():
                yield self._place(shape, layer, source, name, axes)
        if shape.rope_factors:
            factors = shape.rope_factors
            yield Place((), "rope_freqs.weight", (len(factors),), values=factors)
        yield Place(("model.norm.weight",), "output_norm.weight", (shape.dim,), added=one)
        if not shape.tied_embeddings:
            yield Place(("lm_head.weight",), "output.weight", table)

    def _place(
        self, shape: Shape, layer: int, source: str, name: str, axes: tuple[str, ...]
    ) -> Place:
        prefix = f"model.layers.{layer}."
        heads = {"attn_q.weight": shape.heads, "attn_k.weight": shape.kv_heads}
        stacked = _EXPERT in source
        experts = [source.replace(_EXPERT, str(i)) for i in range(shape.experts)]
        stack = source.replace(f"experts.{_EXPERT}", "switch_mlp")
        return Place(
            tuple(prefix + each for each in experts) if stacked else (prefix + source,),
            f"blk.{layer}.{name}",
            tuple(getattr(shape, axis) for axis in axes),
            turned_heads=heads.get(name, 0) if self.interleaved else 0,
            added=1.0 if self.norms_from_one and "norm" in name else 0.0,
            stack=prefix + stack if stacked else None,
            # llama.cpp's own converter keeps what chooses the experts.
            is_exact=name == "ffn_gate_inp.weight",
        )
