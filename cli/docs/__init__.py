"""`mlx-probe docs`: documents of a project."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group

from .check import check_command
from .init import index_command, init_command, log_command
from .new import new_command
from .notebook import notebook_command
from .rules import rules_command

__all__ = ["docs"]


@click.group(
    cls=Group,
    commands=(
        init_command,
        new_command,
        notebook_command,
        check_command,
        index_command,
        log_command,
        rules_command,
    ),
    examples=(
        "mlx-probe docs init notes",
        'mlx-probe docs new experiment "Rank after tuning" --run runs/tuned',
        "mlx-probe docs check notes",
    ),
)
def docs() -> None:
    """Write documents of experiments and models, and keep them true."""
