"""The whole transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.model.block import Block
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.dropout import draw_keys, dropout
from mlx_probe.lab.model.rms_norm import RMSNorm

__all__ = ["MiniLLM"]


class Transformer(nn.Module):
    """Tokens to the normalized residual stream after the last block.

    Args:
        config: The shape of the model.
        probability: The chance that a number of the embedding or of a block's outputs is dropped.
    """

    def __init__(self, config: ModelConfig, probability: float = 0.0) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.dim)
        self.dropout = probability
        self.layers = [Block(config, probability) for _ in range(config.layers)]
        self.norm = RMSNorm(config.dim, config.norm_epsilon)

    def __call__(self, tokens: mx.array, cache: Sequence[Any] | None, again: bool) -> mx.array:
        """The stream, shape (batch, positions, dim).

        Args:
            tokens: Shape (batch, positions).
            cache: One cache of keys and values for each block.
            again: Whether the inside of each block is computed again in the backward pass.
        """
        dropping = self.training and self.dropout > 0
        # One for the embedding and two for each block.
        keys = draw_keys(2 * len(self.layers) + 1) if dropping else None
        x = dropout(self.embed_tokens(tokens), self.dropout, None if keys is None else keys[0])
        caches = [None] * len(self.layers) if cache is None else cache
        mask = _mask(x, caches[0] if caches else None)
        for i, (layer, kept) in enumerate(zip(self.layers, caches, strict=True)):
            block: Callable[..., mx.array] = nn.utils.checkpoint(layer) if again else layer
            x = block(x, mask, kept, None if keys is None else keys[2 * i + 1 : 2 * i + 3])
        return self.norm(x)


class MiniLLM(nn.Module):
    """A decoder-only language model with exactly the parameters of `llama`.

    With ``qk_norm`` they are those of `qwen3`. Names are Hugging Face's, so that the weights are
    a stock checkpoint. Touvron and others 2023, "LLaMA: open and efficient foundation language
    models", arXiv:2302.13971; Qwen team 2025, "Qwen3 technical report", arXiv:2505.09388.

    Args:
        config: The shape; its vocabulary is 1 or more here.
        dropout: Probability that a number of the embedding or of a block's outputs is dropped
            while training (`model.train()`).

    Attributes:
        config: The shape.
        checkpointing: Whether the inside of each block is computed again in the backward pass:
            activations of one block are kept instead of those of all (Chen and others 2016,
            "Training deep nets with sublinear memory cost", arXiv:1604.06174). The numbers are
            the same.
    """

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.model = Transformer(config, dropout)
        if not config.tied_embeddings:
            self.lm_head = nn.Linear(config.dim, config.vocabulary, bias=False)

    def __call__(self, tokens: mx.array, cache: Sequence[Any] | None = None) -> mx.array:
        """Scores of each next token.

        Args:
            tokens: Shape (batch, positions), integers below the vocabulary.
            cache: One `KVCache` of mlx-lm for each block, in generation.

        Returns:
            Logits, shape (batch, positions, vocabulary).
        """
        x = self.model(tokens, cache, self.checkpointing and self.training)
        if self.config.tied_embeddings:
            # Press and Wolf 2017, "Using the output embedding to improve language models".
            logits: mx.array = self.model.embed_tokens.as_linear(x)
        else:
            logits = self.lm_head(x)
        return logits

    @property
    def layers(self) -> list[Block]:
        """The blocks: mlx-lm makes one cache for each."""
        blocks: list[Block] = self.model.layers
        return blocks


def _mask(x: mx.array, cache: Any) -> Any:
    """Which keys a query sees: those up to itself."""
    if cache is not None and hasattr(cache, "make_mask"):
        return cache.make_mask(x.shape[1], return_array=False, window_size=None)
    return None if x.shape[1] == 1 else "causal"
