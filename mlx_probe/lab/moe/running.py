"""What a mixture needs in order to run for a receipt."""

from __future__ import annotations

import math

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.core.units import format_size

__all__ = ["FLOAT32", "require_finite", "require_memory"]

# Bytes of a number.
FLOAT32 = 4


def require_memory(needed: int, memory: int, remedy: str) -> None:
    """Refuse to run a mixture that does not fit in memory.

    Args:
        needed: Bytes of the mixture in float32.
        memory: Bytes that the device has.
        remedy: How to do without the run.

    Raises:
        ConfigError: It does not fit.
    """
    if needed > memory:
        raise ConfigError(
            f"to run the mixture in float32 takes {format_size(needed)}, and there are "
            f"{format_size(memory)}",
            remedy,
        )


def require_finite(loss: float, name: str) -> None:
    """Refuse a model that predicts no numbers.

    Args:
        loss: Mean nats a token.
        name: Of the model.

    Raises:
        CheckpointError: The loss is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise CheckpointError(
            f"{name} predicts probabilities that are not numbers",
            "Look for weights that are not finite with `mlx-probe analyze`",
        )
