"""`mlx-probe cluster`: the machines that an analysis is spread over."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group

from .check import check_command

__all__ = ["cluster"]


@click.group(
    cls=Group,
    commands=(check_command,),
    examples=("mlx-probe cluster check tcp://192.168.1.10:8786",),
)
def cluster() -> None:
    """Look at the machines that `analyze --cluster` computes on."""
