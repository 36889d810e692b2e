"""Qwen3: queries and keys are normalized."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.architectures.architecture import (
    ATTENTION,
    FEED_FORWARD,
    Architecture,
)

__all__ = ["QK_NORM", "QWEN3"]

QK_NORM = {
    "self_attn.q_norm.weight": ("attn_q_norm.weight", ("head_dim",)),
    "self_attn.k_norm.weight": ("attn_k_norm.weight", ("head_dim",)),
}
QWEN3 = Architecture("qwen3", ATTENTION | QK_NORM | FEED_FORWARD, defaults={"head_dim": 128})
