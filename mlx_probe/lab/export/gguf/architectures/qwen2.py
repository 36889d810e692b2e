"""Qwen2 and Qwen2.5: queries, keys and values have biases."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.architectures.architecture import (
    ATTENTION,
    FEED_FORWARD,
    Architecture,
)

__all__ = ["QWEN2"]

_BIASES = {
    "self_attn.q_proj.bias": ("attn_q.bias", ("query",)),
    "self_attn.k_proj.bias": ("attn_k.bias", ("key",)),
    "self_attn.v_proj.bias": ("attn_v.bias", ("key",)),
}
QWEN2 = Architecture(
    "qwen2",
    ATTENTION | _BIASES | FEED_FORWARD,
    # Qwen2Config has no such option: there are biases always, and config.json may say so.
    allowed={"attention_bias": (True, None)},
    defaults={"num_key_value_heads": 32},
)
