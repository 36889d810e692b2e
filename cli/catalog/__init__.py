"""`mlx-probe catalog`: the models on this machine."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group
from mlx_probe.cli.database import database_option

from .links import dedupe_command, duplicates_command, undo_command
from .notes import forget_command, note_command, tag_command
from .query import card_command, list_command, show_command
from .scan import scan_command
from .space import space_command

__all__ = ["catalog"]

_COMMANDS = (
    scan_command,
    list_command,
    show_command,
    card_command,
    note_command,
    tag_command,
    forget_command,
    duplicates_command,
    dedupe_command,
    undo_command,
    space_command,
)


@click.group(
    cls=Group,
    commands=_COMMANDS,
    examples=(
        "mlx-probe catalog scan",
        "mlx-probe catalog list --sort size --reverse",
    ),
)
@database_option
def catalog() -> None:
    """Keep a catalog of the models on this machine.

    `scan` first. ID is a model's name, its key in the list, the beginning of either, or its
    path.
    """
