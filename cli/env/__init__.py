"""`mlx-probe env`: environments of packages."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group

from .check import check_command
from .create import create_command
from .describe import document_command, export_command, list_command

__all__ = ["env"]


@click.group(
    cls=Group,
    commands=(list_command, create_command, export_command, check_command, document_command),
    examples=(
        "mlx-probe env create work --template mlx",
        "mlx-probe env check work",
        "mlx-probe env list",
    ),
)
def env() -> None:
    """Make environments that never share packages, lock them, check and describe them.

    Each is a folder below MLX_PROBE_ENVS, or below the system's data folder.
    """
