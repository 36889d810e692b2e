"""How a model is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside

__all__ = ["EvaluateConfig"]


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of an evaluation.

    Attributes:
        split: Part of tokenized data: "validation" or "train". Without effect on text.
        context: Tokens that the model sees at most; 0 for the model's own context, at most
            2,048.
        stride: Tokens between the beginnings of two windows; 0 for the context.
        max_tokens: Tokens to predict, at most; 0 for all.
        document: What one document of text is; see `DataConfig`.
        text_column: Column of JSONL and Parquet files that holds the text.
        seed: Of the resamples behind the intervals.

    Raises:
        ConfigError: A value has no meaning.
    """

    split: Literal["train", "validation"] = "validation"
    context: int = 0
    stride: int = 0
    max_tokens: int = 0
    document: str = "auto"
    text_column: str = "text"
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        numbers = ("context", "stride", "max_tokens", "seed")
        refuse_outside(
            self,
            (
                ("split", self.split in ("train", "validation"), "train, validation"),
                *((name, getattr(self, name) >= 0, "0 or more") for name in numbers),
            ),
        )
