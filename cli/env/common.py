"""What the commands of environments share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from mlx_probe.report.terminal.text import printable

__all__ = ["folder_option", "name_argument", "working"]

Command = TypeVar("Command", bound=Callable[..., Any])

# Columns of a line that shows what an installer does.
_WIDTH = 60


def name_argument(command: Command) -> Command:
    """The name of an environment."""
    return click.argument("name", metavar="NAME")(command)


def folder_option(command: Command) -> Command:
    """--folder: where environments are."""
    return click.option(
        "--folder",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder of environments.  [default: MLX_PROBE_ENVS, or environments in the system's "
        "data folder]",
    )(command)


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """A line on a terminal that shows what is being done.

    Args:
        what: The work.

    Yields:
        To be called with each step.
    """
    errors = Console(stderr=True, highlight=False)
    if not errors.is_terminal:
        yield lambda step: None
        return
    with errors.status(what) as line:
        yield lambda step: line.update(f"{what}: {printable(step[:_WIDTH])}")
