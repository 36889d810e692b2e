"""What decides an extracted adapter."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.derived_model import DTYPES

__all__ = ["ExtractConfig", "refuse_nonsense"]


@dataclass(frozen=True)
class ExtractConfig:
    """How a difference becomes an adapter.

    Attributes:
        rank: Rank of each matrix's factors at most; None if ``energy`` alone decides.
        energy: The smallest rank that keeps this share of the sum of squares of a matrix's
            difference; None for ``rank`` everywhere.
        dtype: Type of the factors, a key of `DTYPES`.
        modules_to_save: Whether norms that changed are stored whole, in PEFT's form.
    """

    rank: int | None = None
    energy: float | None = None
    dtype: str = "float32"
    modules_to_save: bool = False


def refuse_nonsense(config: ExtractConfig) -> None:
    """Refuse values that no adapter can be made with.

    Raises:
        ConfigError: A value is outside its domain.
    """
    if config.rank is None and config.energy is None:
        raise ConfigError(
            "neither a rank nor a share of the energy is given",
            "Give --extract-lora RANK, or --energy E",
        )
    if config.rank is not None and config.rank < 1:
        raise ConfigError(f"the rank is {config.rank}", "Choose 1 or more")
    if config.energy is not None and not 0 < config.energy < 1:
        raise ConfigError(f"the energy is {config.energy}", "Choose a share above 0 and below 1")
    if config.dtype not in DTYPES:
        raise ConfigError(f"dtype is {config.dtype}", f"Choose {', '.join(DTYPES)}")
