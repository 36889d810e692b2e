"""Settings of block influence."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside

__all__ = ["InfluenceConfig"]


@dataclass(frozen=True)
class InfluenceConfig:
    """What is read, and what is measured.

    Attributes:
        tokens: Tokens of the text that are predicted, as many windows as are full.
        window: Tokens of a window, which the model reads at once.
        removal: Whether the loss is measured with each block left out, one forward pass more for
            each block.
    """

    tokens: int = 2048
    window: int = 256
    removal: bool = False

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        numbers = ("tokens", "window")
        refuse_outside(self, [(name, getattr(self, name) >= 2, "2 or more") for name in numbers])
