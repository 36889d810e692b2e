"""The shape of a model: what decides its tensors and their use."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Shape"]


@dataclass(frozen=True)
class Shape:
    """Counts and constants, in the terms of `ModelConfig`.

    `ModelConfig` is what we train; here a head may have any width, and there may be experts.

    Attributes:
        model_type: The architecture, by config.json.
        dim: Width of the residual stream.
        layers: Transformer blocks.
        heads: Query heads.
        kv_heads: Heads of keys and values.
        head_dim: Width of a head.
        rotary: Coordinates of a head that the rotary embedding turns.
        hidden: Width inside the feed-forward block.
        vocabulary: Rows of the embedding.
        context: Positions that the model was trained on.
        norm_epsilon: Added to the mean square in RMSNorm.
        rope_theta: Base of the rotary embedding's wavelengths.
        tied_embeddings: Whether the output head is the embedding.
        experts: Feed-forward blocks beside each other in a layer; 0 for a single one.
        expert_hidden: Width inside one of them.
        rope_factors: What each wavelength of the rotary embedding is multiplied with; empty for
            1.
    """

    model_type: str
    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rotary: int
    hidden: int
    vocabulary: int
    context: int
    norm_epsilon: float
    rope_theta: float
    tied_embeddings: bool
    experts: int = 0
    expert_hidden: int = 0
    rope_factors: tuple[float, ...] = ()

    @property
    def query(self) -> int:
        """Rows of the query projection."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Rows of the key and value projections."""
        return self.kv_heads * self.head_dim

    @property
    def query_key_value(self) -> int:
        """Rows of the three together."""
        return self.query + 2 * self.key

    @property
    def gate_up(self) -> int:
        """Rows of gate and up projection together."""
        return 2 * self.hidden
