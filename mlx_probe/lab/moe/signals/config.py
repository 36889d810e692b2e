"""Settings of `mlx-probe moe signals`."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside

__all__ = ["SignalsConfig"]


@dataclass(frozen=True)
class SignalsConfig:
    """How signals are measured.

    Attributes:
        tokens: Tokens of the text that are predicted, as many windows as are full.
        window: Tokens of a window: what the model reads at once.
        block: Units of a block of the map; it divides the width of the residual stream.
        alpha: Of Predictive Integrity: how fast it falls.
        gamma: Of Predictive Integrity: the share of the gradient norm.
        delta: Of the integral over a run: what unsteadiness costs.
        decay: Of the running means that the standardized form is compared with.

    Raises:
        ConfigError: A value has no meaning.
    """

    tokens: int = 2048
    window: int = 64
    block: int = 64
    alpha: float = 1.0
    gamma: float = 0.5
    delta: float = 1.0
    decay: float = 0.99

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("tokens", self.tokens >= 1, "1 or more"),
                ("window", self.window >= 1, "1 or more"),
                ("block", self.block >= 1, "1 or more"),
                ("alpha", self.alpha > 0, "above 0"),
                ("gamma", 0 <= self.gamma <= 1, "0 to 1"),
                ("delta", self.delta >= 0, "0 or more"),
                ("decay", 0 < self.decay < 1, "above 0 and below 1"),
            ),
        )
