"""`mlx-probe inspect`."""

from __future__ import annotations

import click
from rich.console import Console

from mlx_probe.report.terminal import checkpoint_text
from mlx_probe.run import open_checkpoint

from .options import model_argument, revision_option

__all__ = ["inspect"]


@click.command(short_help="List MODEL's tensors.")
@model_argument
@revision_option
def inspect(model: str, revision: str | None) -> None:
    """List MODEL's tensors: names, roles, shapes, types, sizes; from file headers only."""
    with open_checkpoint(model, revision) as checkpoint:
        Console(highlight=False).print(checkpoint_text(checkpoint))
