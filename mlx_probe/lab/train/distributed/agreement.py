"""What all processes of a training must have in common."""

from __future__ import annotations

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.version import __version__
from mlx_probe.lab.train.distributed.world import World
from mlx_probe.lab.train.machine import Machine

__all__ = ["agreed", "check_batch"]


def agreed(fingerprint: str, data: str, machine: Machine) -> dict[str, str]:
    """What `World.check_same` compares.

    Args:
        fingerprint: Of the settings that decide a run's numbers.
        data: Fingerprint of the tokens.
        machine: What this process computes with.
    """
    return {
        "version of mlx-probe": __version__,
        "version of MLX": machine.mlx,
        "recipe": fingerprint,
        "text": data,
        "number type": machine.dtype,
    }


def check_batch(batch: int, world: World) -> None:
    """Refuse a batch that the processes cannot share.

    Raises:
        ConfigError: Some would have more rows than others; the same on all processes.
    """
    if batch % world.size:
        raise ConfigError(
            f"train.batch is {batch}, which {world.size} processes cannot share",
            f"Set train.batch to a multiple of {world.size}",
        )
