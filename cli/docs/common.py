"""What the commands of `docs` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["project_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


def project_option(command: Command) -> Command:
    """--dir: the project."""
    return click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        default=".",
        help="A folder of the project.  [default: this folder]",
    )(command)
