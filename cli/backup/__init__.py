"""`mlx-probe backup`: snapshots of runs, documents, configuration and catalog."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Group

from .create import create_command
from .drill import drill_command
from .listing import list_command
from .prune import prune_command
from .restore import restore_command
from .schedule import schedule_command
from .verify import verify_command

__all__ = ["backup"]

_COMMANDS = (
    create_command,
    list_command,
    verify_command,
    restore_command,
    drill_command,
    prune_command,
    schedule_command,
)


@click.group(
    cls=Group,
    commands=_COMMANDS,
    examples=(
        "mlx-probe backup create --repo /Volumes/Backup/mlx-probe",
        "mlx-probe backup restore latest --repo /Volumes/Backup/mlx-probe --out back",
    ),
)
def backup() -> None:
    """Back up runs, documents, configuration and catalog, and restore them.

    An archive is a folder, on another disk if possible. SNAPSHOT is an id, the beginning of one,
    or latest. Large weight files are kept by path and hash, unless --include-weights is given.
    """
