"""The shape of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside

__all__ = ["ModelConfig"]


@dataclass(frozen=True)
class ModelConfig:
    """The shape of MiniLLM, in the terms of Hugging Face's `llama` and `qwen3`.

    Attributes:
        dim: Width of the residual stream.
        layers: Transformer blocks.
        heads: Query heads; each is dim / heads wide.
        kv_heads: Heads of keys and values, each shared by heads / kv_heads query heads.
        hidden: Width inside the feed-forward block.
        vocabulary: Tokens, the special ones included; 0 takes all that the tokenizer has.
        context: Longest sequence, in tokens; training uses sequences of this length.
        rope_theta: Base of the rotary embedding's wavelengths.
        norm_epsilon: Added to the mean square in RMSNorm.
        tied_embeddings: Whether the output head is the embedding.
        qk_norm: Whether queries and keys are normalized for each head, as in `qwen3`.

    Raises:
        ConfigError: A value makes no model.
    """

    dim: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4
    hidden: int = 352
    vocabulary: int = 1024
    context: int = 128
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    tied_embeddings: bool = True
    qk_norm: bool = False

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        positive = ("dim", "layers", "heads", "kv_heads", "hidden", "context")
        refuse_outside(
            self,
            (
                *((name, getattr(self, name) >= 1, "1 or more") for name in positive),
                ("vocabulary", self.vocabulary >= 0, "0 for all of the tokenizer's, or more"),
                ("rope_theta", 1 < self.rope_theta < math.inf, "above 1"),
                ("norm_epsilon", 0 < self.norm_epsilon < 1, "above 0 and below 1"),
                ("heads", self.dim % max(self.heads, 1) == 0, f"a divisor of dim = {self.dim}"),
            ),
        )
        refuse_outside(
            self,
            (
                # Rotary embeddings turn pairs of coordinates.
                ("heads", self.head_dim % 2 == 0, f"dim / heads even, for dim = {self.dim}"),
                ("kv_heads", self.heads % self.kv_heads == 0, f"a divisor of {self.heads} heads"),
            ),
        )

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.dim // self.heads
