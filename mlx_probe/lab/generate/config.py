"""How text is generated."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside

__all__ = ["GenerateConfig", "SamplingConfig"]


@dataclass(frozen=True)
class SamplingConfig:
    """How the next token is chosen from the model's distribution.

    The settings act in this order, each on what the one before has left: repetition penalty,
    temperature, top-k, top-p, min-p.

    Attributes:
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Tokens that stay, the most likely ones; 0 for all.
        top_p: Probability of the smallest set of tokens that stays; 1 for all.
        min_p: A token stays whose probability is at least this share of the largest one's; 0
            for all.
        repetition_penalty: Divides the positive logits of tokens that were there before, and
            multiplies the negative ones; 1 for none.
        seed: Of the draws.

    Raises:
        ConfigError: A value makes no distribution.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                (
                    "temperature",
                    # Float32 divides by it.
                    self.temperature == 0 or 1e-6 <= self.temperature < math.inf,
                    "0, or 1e-6 and more",
                ),
                ("top_k", self.top_k >= 0, "0 for all tokens, or more"),
                ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
                ("min_p", 0 <= self.min_p <= 1, "between 0 and 1"),
                ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "above 0"),
                # MLX's random keys are made from 64 bits.
                ("seed", 0 <= self.seed < 1 << 64, "0 or more, below 2^64"),
            ),
        )


@dataclass(frozen=True)
class GenerateConfig:
    """How much text is generated, and how.

    Attributes:
        max_tokens: Tokens, at most.
        stop: Texts that end the generation; they are not part of what is generated.
        sampling: How each token is chosen.

    Raises:
        ConfigError: A value has no meaning.
    """

    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("max_tokens", self.max_tokens >= 1, "1 or more"),
                ("stop", all(self.stop), "texts that are not empty"),
            ),
        )
