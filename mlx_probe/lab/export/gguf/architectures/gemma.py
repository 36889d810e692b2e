"""Gemma: norms that are stored less one, and an embedding that is scaled by llama.cpp itself."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.architectures.architecture import (
    ATTENTION,
    FEED_FORWARD,
    Architecture,
)

__all__ = ["ALLOWED", "DEFAULTS", "GEMMA"]

# The published files say `hidden_act`, `hidden_activation`, or both.
ALLOWED = {
    "hidden_act": ("gelu_pytorch_tanh",),
    "hidden_activation": ("gelu_pytorch_tanh", None),
    "use_bidirectional_attention": (False, None),
}
DEFAULTS = {"head_dim": 256, "tie_word_embeddings": True}
GEMMA = Architecture(
    "gemma",
    ATTENTION | FEED_FORWARD,
    norms_from_one=True,
    # llama.cpp's Gemma has no head of its own.
    allowed=ALLOWED | {"tie_word_embeddings": (True,)},
    defaults=DEFAULTS | {"num_key_value_heads": 16},
)
