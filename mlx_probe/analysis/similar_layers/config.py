"""What `mlx-probe similar-layers` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError

__all__ = ["SimilarConfig"]

# More directions than that say nothing more, and take the time of a whole decomposition.
_MOST_DIRECTIONS = 64


@dataclass(frozen=True)
class SimilarConfig:
    """Settings of a comparison of layers.

    Attributes:
        directions: Leading singular directions of each matrix that are compared; 0 for none.
        alike: Smallest cosine at which two matrices count as copies of each other. 0.5 is a copy
            with noise of 1.7 times its own size added.
        seed: Of sampled elements, and of random vectors by which directions and units are found.
    """

    directions: int = 8
    alike: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.directions <= _MOST_DIRECTIONS:
            raise ConfigError(
                f"directions {self.directions} is not in 0 to {_MOST_DIRECTIONS}",
                "Choose 8, or 0 to leave singular directions out",
            )
        if not 0 < self.alike < 1:
            raise ConfigError(
                f"alike {self.alike} is not between 0 and 1",
                "Choose a cosine such as 0.5",
            )
