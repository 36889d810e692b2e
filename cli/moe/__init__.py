"""`mlx-probe moe`: mixtures of experts."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group

from .graft import graft_command
from .merge import merge_command
from .prune import prune_command
from .signals import signals_command
from .stats import stats_command
from .train import train_command

__all__ = ["moe"]


@click.group(
    cls=Group,
    commands=(
        graft_command,
        train_command,
        stats_command,
        signals_command,
        prune_command,
        merge_command,
    ),
    examples=(
        "mlx-probe moe graft Qwen/Qwen3-0.6B --width 96 --out ./qwen3-32x96",
        "mlx-probe moe stats Qwen/Qwen3-30B-A3B --out ./stats",
        "mlx-probe moe signals ./mixture --out ./signals",
    ),
)
def moe() -> None:
    """Make mixtures of experts, train their gates, describe, prune and merge them."""
