"""`mlx-probe docs`: documents of a project."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group

from .check import check_command

__all__ = ["docs"]


@click.group(
    cls=Group,
    commands=(check_command,),
    examples=("mlx-probe docs check docs",),
)
def docs() -> None:
    """Write documents of experiments and models, and keep them true."""
