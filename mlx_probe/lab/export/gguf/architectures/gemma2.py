"""Gemma 2: norms behind both halves of a block, capped logits, every other layer with a window."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.architectures.architecture import (
    ATTENTION,
    FEED_FORWARD,
    Architecture,
    Config,
    Metadata,
)
from mlx_probe.lab.export.gguf.architectures.gemma import ALLOWED, DEFAULTS
from mlx_probe.lab.export.gguf.shape import Shape

__all__ = ["BLOCK", "GEMMA2", "scale_fault"]

BLOCK = {
    **ATTENTION,
    **FEED_FORWARD,
    "post_attention_layernorm.weight": ("post_attention_norm.weight", ("dim",)),
    "pre_feedforward_layernorm.weight": ("ffn_norm.weight", ("dim",)),
    "post_feedforward_layernorm.weight": ("post_ffw_norm.weight", ("dim",)),
}
# llama.cpp tells the largest models by their layers, and scales their scores by another width.
_LARGEST = {"gemma2": 46, "gemma3_text": 62}


def _metadata(config: Config, shape: Shape) -> Metadata:
    return {
        "attention.sliding_window": int(config.get("sliding_window") or 4096),
        "attn_logit_softcapping": float(config.get("attn_logit_softcapping", 50.0)),
        "final_logit_softcapping": float(config.get("final_logit_softcapping", 30.0)),
    }


def scale_fault(config: Config, shape: Shape) -> str | None:
    """What differs from llama.cpp's scale of attention scores."""
    scalar = config.get("query_pre_attn_scalar", 256)
    largest = shape.layers == _LARGEST[shape.model_type]
    taken = shape.dim / shape.heads if largest else shape.head_dim
    return None if scalar == taken else f"query_pre_attn_scalar is {scalar}, not {taken:g}"


def _fault(config: Config, shape: Shape) -> str | None:
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if config.get(key, 1.0) is None:
            return f"{key} is {config[key]!r}"
    kinds = config.get("layer_types")
    expected = [("sliding_attention", "full_attention")[i % 2] for i in range(shape.layers)]
    if kinds not in (None, expected):
        return f"layer_types is {kinds!r}"
    return scale_fault(config, shape)


GEMMA2 = Architecture(
    "gemma2",
    BLOCK,
    norms_from_one=True,
    has_windows=True,
    allowed=ALLOWED | {"tie_word_embeddings": (True,)},
    defaults=DEFAULTS | {"num_key_value_heads": 4},
    metadata=_metadata,
    fault=_fault,
)
