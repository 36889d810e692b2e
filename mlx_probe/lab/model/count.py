"""How many parameters, operations and bytes a model of a given shape takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlx_probe.lab.model.config import ModelConfig

__all__ = [
    "COPIES",
    "COPIES_OF_EXPONENTIAL",
    "Memory",
    "matrix_parameters",
    "parameter_shapes",
    "parameters",
    "training_flops_per_token",
    "training_memory",
]

# Bytes of a float32 and of a bfloat16 number.
FLOAT32, BFLOAT16 = 4, 2
# Arrays of the size of the logits, and of the gate, that exist at once beside what is kept: the
# parts of their gradients; and those of compiled steps with `exponential`, which has steps between
# (by MLX's count of its peak memory).
COPIES, COPIES_OF_EXPONENTIAL = 7, 10


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Hugging Face's name and the shape of every parameter, in the order of the forward pass."""
    dim, hidden, width = config.dim, config.hidden, config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocabulary, dim)}
    for layer in range(config.layers):
        block: dict[str, tuple[int, ...]] = {
            "input_layernorm": (dim,),
            "self_attn.q_proj": (config.heads * width, dim),
            "self_attn.k_proj": (config.kv_heads * width, dim),
            "self_attn.v_proj": (config.kv_heads * width, dim),
            "self_attn.o_proj": (dim, config.heads * width),
            **(
                {"self_attn.q_norm": (width,), "self_attn.k_norm": (width,)}
                if config.qk_norm
                else {}
            ),
            "post_attention_layernorm": (dim,),
            "mlp.gate_proj": (hidden, dim),
            "mlp.up_proj": (hidden, dim),
            "mlp.down_proj": (dim, hidden),
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": each for name, each in block.items()}
    shapes["model.norm.weight"] = (dim,)
    if not config.tied_embeddings:
        shapes["lm_head.weight"] = (config.vocabulary, dim)
    return shapes


def parameters(config: ModelConfig) -> int:
    """Numbers that are learned; a tied embedding counts once."""
    return sum(math.prod(shape) for shape in parameter_shapes(config).values())


def matrix_parameters(config: ModelConfig) -> int:
    """Parameters that every token is multiplied with: no norms, and the embedding as head only.

    Looking up a row of the embedding multiplies nothing; the output head multiplies every row.
    """
    blocks = sum(
        math.prod(shape)
        for name, shape in parameter_shapes(config).items()
        if len(shape) == 2 and name.startswith("model.layers.")
    )
    return blocks + config.vocabulary * config.dim


def training_flops_per_token(config: ModelConfig, context: int | None = None) -> int:
    r"""Floating-point operations of forward and backward pass for one token.

        6 N + 12 L d T

    N are the parameters of `matrix_parameters`: a multiplication and an addition each in the
    forward pass, and twice that in the backward pass (Kaplan and others 2020, "Scaling laws for
    neural language models", arXiv:2001.08361, section 2.1; Hoffmann and others 2022, "Training
    compute-optimal large language models", arXiv:2203.15556, appendix F). L d T are layers times
    dim times positions: scores and weighted values of attention, the masked half included
    (Chowdhery and others 2022, "PaLM", arXiv:2204.02311, appendix B). Elementwise operations,
    norms, the optimizer and what gradient checkpointing computes again do not count.

    Args:
        config: The shape of the model.
        context: Positions of a sequence; None takes the model's.
    """
    positions = config.context if context is None else context
    return 6 * matrix_parameters(config) + 12 * config.layers * config.dim * positions


@dataclass(frozen=True)
class Memory:
    """Bytes that training holds at once.

    Attributes:
        weights: Float32 weights, and their bfloat16 copy where the passes compute in it.
        gradients: One number for each parameter.
        optimizer: AdamW keeps a mean and a mean square of each number, Muon one momentum.
        activations: What the forward pass keeps for the backward pass, and the loss's copies of
            the logits; an estimate from above.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


def training_memory(
    config: ModelConfig,
    batch: int,
    optimizer: str,
    bfloat16: bool = False,
    checkpointing: bool = False,
    copies: int = COPIES,
) -> Memory:
    """Bytes of weights, gradients, optimizer state and activations.

    Args:
        config: The shape of the model.
        batch: Sequences in one forward pass.
        optimizer: "adamw", or "muon": it has the matrices of the blocks, and AdamW the rest.
        bfloat16: Whether the passes compute in bfloat16.
        checkpointing: Whether blocks are computed again in the backward pass.
        copies: Arrays as large as the logits, and as the gate, that exist at once.
    """
    count = parameters(config)
    of_muon = matrix_parameters(config) - config.vocabulary * config.dim
    states = 2 * (count - of_muon) + of_muon if optimizer == "muon" else 2 * count
    numbers = batch * config.context * _numbers_of_a_token(config, checkpointing, copies)
    return Memory(
        weights=count * (FLOAT32 + (BFLOAT16 if bfloat16 else 0)),
        gradients=count * FLOAT32,
        optimizer=states * FLOAT32,
        activations=numbers * (BFLOAT16 if bfloat16 else FLOAT32),
    )


def _numbers_of_a_token(config: ModelConfig, checkpointing: bool, copies: int) -> int:
    """Numbers kept for the backward pass for each token."""
    kv = config.kv_heads * config.head_dim
    block = (
        # The stream twice, two normalized ones, queries before and after turning, the heads'
        # outputs and both projections back into the stream.
        9 * config.dim
        # Keys before and after turning, values.
        + 3 * kv
        # Scores before and after softmax, for every earlier position and head.
        + 2 * config.heads * config.context
        # Gate, its sigmoid, the other projection, and their product.
        + 4 * config.hidden
    )
    kept = config.layers * config.dim + block if checkpointing else config.layers * block
    return kept + 2 * config.dim + copies * (config.vocabulary + config.hidden)
