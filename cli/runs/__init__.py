"""`mlx-probe runs`: the runs on this machine, of every kind."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group
from mlx_probe.cli.database import database_option

from .best import best_command
from .compare import compare_command, diff_command
from .export import export_command
from .lineage import lineage_command
from .listing import list_command
from .notes import note_command, tag_command
from .removal import bin_command, forget_command, restore_command, rm_command
from .reproduce import reproduce_command
from .scan import scan_command
from .show import show_command
from .sweep import sweep_command

__all__ = ["runs"]

_COMMANDS = (
    scan_command,
    list_command,
    show_command,
    compare_command,
    diff_command,
    best_command,
    tag_command,
    note_command,
    lineage_command,
    export_command,
    rm_command,
    restore_command,
    bin_command,
    forget_command,
    reproduce_command,
    sweep_command,
)


@click.group(
    cls=Group,
    commands=_COMMANDS,
    examples=(
        "mlx-probe runs scan",
        'mlx-probe runs list --kind train --where "val_loss<3.2"',
    ),
)
@database_option
def runs() -> None:
    """Find runs again, compare them, and keep them in order.

    `scan` first. RUN is the path of a run folder, the beginning of an id as `list` prints it, or
    a folder's name.
    """
