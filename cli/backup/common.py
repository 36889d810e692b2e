"""What the commands of backups share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from mlx_probe.cli.small_options import quiet_option
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.language import tr
from mlx_probe.library.backup import SILENT, Progress
from mlx_probe.report.terminal.plain import may_draw

__all__ = ["quiet_option", "repo_option", "snapshot_argument", "working"]

Command = TypeVar("Command", bound=Callable[..., Any])

_REMOTE = re.compile(r"(sftp|rest|s3|b2|azure|gs|swift|rclone|https?|ssh):")


def _folder(ctx: click.Context, param: click.Parameter, value: str) -> Path:
    if _REMOTE.match(value):
        raise ConfigError(
            f"{value} is no folder of this machine",
            "Mount it and give its folder, or use restic itself with it",
        )
    return Path(value).expanduser()


def repo_option(command: Command) -> Command:
    """--repo."""
    return click.option(
        "--repo",
        required=True,
        metavar="DIR",
        callback=_folder,
        help="Folder of the archive.",
    )(command)


snapshot_argument = click.argument("snapshot", metavar="SNAPSHOT")


@contextmanager
def working(quiet: bool, what: str) -> Iterator[Progress]:
    """A line on a terminal that says how far the work is.

    Args:
        quiet: Show nothing.
        what: The work, in the reader's language.

    Yields:
        Takes the paths.

    Raises:
        ResultError: The system refused to read something.
    """
    try:
        if quiet or not may_draw():
            yield SILENT
            return
        # The catalog's commands, which take longer to import than a short backup takes.
        from mlx_probe.cli.database import status

        with status(quiet, what) as show:
            yield Progress(on_path=show)
    except OSError as error:
        name = os.fsdecode(error.filename) if error.filename is not None else tr("a file")
        raise ResultError(
            f"cannot use {name}: {os.strerror(error.errno or 0)}",
            "Check the disk and the permissions, and run the command again",
        ) from error
