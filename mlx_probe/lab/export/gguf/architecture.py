"""The architectures: what llama.cpp calls their tensors, and how it turns queries and keys.

The names are those of llama.cpp's `src/llama-arch.cpp`; it refuses a file that lacks one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlx_probe.lab.export.gguf.shape import Shape

__all__ = ["ARCHITECTURES", "Architecture", "Place"]

# Of each block, by Hugging Face's name; the axes are names of `Shape`'s attributes.
_BLOCK = {
    "input_layernorm": ("attn_norm", ("dim",)),
    "self_attn.q_proj": ("attn_q", ("query", "dim")),
    "self_attn.k_proj": ("attn_k", ("key", "dim")),
    "self_attn.v_proj": ("attn_v", ("key", "dim")),
    "self_attn.o_proj": ("attn_output", ("dim", "query")),
    "post_attention_layernorm": ("ffn_norm", ("dim",)),
    "mlp.gate_proj": ("ffn_gate", ("hidden", "dim")),
    "mlp.up_proj": ("ffn_up", ("hidden", "dim")),
    "mlp.down_proj": ("ffn_down", ("dim", "hidden")),
}
_QK_NORM = {
    "self_attn.q_norm": ("attn_q_norm", ("head_dim",)),
    "self_attn.k_norm": ("attn_k_norm", ("head_dim",)),
}


@dataclass(frozen=True)
class Place:
    """Where a tensor goes.

    Attributes:
        source: Its name in Hugging Face's layout.
        name: Its name in the file.
        shape: Its shape in PyTorch's order.
        turned_heads: Heads whose rows change their order, see `interleave`; 0 for none.
    """

    source: str
    name: str
    shape: tuple[int, ...]
    turned_heads: int


@dataclass(frozen=True)
class Architecture:
    """One architecture of llama.cpp.

    Attributes:
        name: Its name in files.
        block: Names and axes of a block's tensors, by Hugging Face's name.
        interleaved: Whether llama.cpp's rotary embedding turns neighbours, (0, 1), (2, 3), ...,
            where Hugging Face turns the halves of a head, (0, d/2), (1, d/2 + 1), ...
    """

    name: str
    block: Mapping[str, tuple[str, tuple[str, ...]]]
    interleaved: bool

    def places(self, shape: Shape) -> Iterator[Place]:
        """All tensors of a model in the order of the file."""
        table = (shape.vocabulary, shape.dim)
        yield Place("model.embed_tokens.weight", "token_embd.weight", table, 0)
        heads = {"self_attn.q_proj": shape.heads, "self_attn.k_proj": shape.kv_heads}
        for layer in range(shape.layers):
            for source, (name, axes) in self.block.items():
                yield Place(
                    f"model.layers.{layer}.{source}.weight",
                    f"blk.{layer}.{name}.weight",
                    tuple(getattr(shape, axis) for axis in axes),
                    heads.get(source, 0) if self.interleaved else 0,
                )
        yield Place("model.norm.weight", "output_norm.weight", (shape.dim,), 0)
        if not shape.tied_embeddings:
            yield Place("lm_head.weight", "output.weight", table, 0)


# By model_type of config.json.
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", _BLOCK, interleaved=True),
    "qwen3": Architecture("qwen3", _BLOCK | _QK_NORM, interleaved=False),
}
