"""`mlx-probe moe`: mixtures of experts."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group

from .graft import graft_command

__all__ = ["moe"]


@click.group(
    cls=Group,
    commands=(graft_command,),
    examples=("mlx-probe moe graft Qwen/Qwen3-0.6B --width 96 --out ./qwen3-32x96",),
)
def moe() -> None:
    """Make mixtures of experts of dense models."""
