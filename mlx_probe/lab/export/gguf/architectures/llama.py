"""Llama, and models of that form (SmolLM2, TinyLlama)."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.architectures.architecture import (
    ATTENTION,
    FEED_FORWARD,
    Architecture,
)

__all__ = ["LLAMA"]

LLAMA = Architecture(
    "llama",
    ATTENTION | FEED_FORWARD,
    interleaved=True,
    # Llama 3.1 and later stretch the long wavelengths.
    rope_types=("default", "llama3"),
)
