"""The steps at which a run keeps its weights."""

from __future__ import annotations

from itertools import count, takewhile

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.train.config import SnapshotConfig

__all__ = ["snapshot_steps"]


def snapshot_steps(config: SnapshotConfig, total: int) -> frozenset[int]:
    """The steps after which the weights are kept.

    Weights change most at the beginning: equal distances on a logarithmic axis show every phase
    of learning with few snapshots. These are 0, 1, round(10^(k / per_decade)) for k = 1, 2 ...,
    the last step, and those that the configuration names.

    Args:
        config: How many for each tenfold of the steps, and which others.
        total: Steps of the run.

    Raises:
        ConfigError: A step that the configuration names comes after the last one.
    """
    beyond = [step for step in config.at if step > total]
    if beyond:
        raise ConfigError(
            f"snapshots.at cannot be {beyond[0]}: the run has {total} steps",
            f"Give steps between 0 and {total}",
        )
    if not config.per_decade:
        return frozenset(config.at)
    spaced = (round(10 ** (k / config.per_decade)) for k in count(1))
    return frozenset({0, 1, total, *takewhile(lambda step: step < total, spaced), *config.at})
