"""`mlx-probe share`: runs for guests to look at."""

from __future__ import annotations

import click

from mlx_probe.cli.command import DefaultGroup

from .audit import audit_command
from .guests import guests_command, revoke_command, token_command
from .start import start_command

__all__ = ["share"]


@click.group(
    cls=DefaultGroup,
    default="start",
    commands=(start_command, token_command, guests_command, revoke_command, audit_command),
    examples=(
        "mlx-probe share data/outputs/Qwen--Qwen3-0.6B",
        "mlx-probe share token ada --expires 2d",
        "mlx-probe share audit --last 20",
    ),
)
def share() -> None:
    """Show runs to guests, who can look and touch nothing.

    `mlx-probe share RUN...` means `mlx-probe share start RUN...`.
    """
