"""What the commands of the catalog share: the open database, options, questions, output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.catalog import open_database
from mlx_probe.report.terminal.text import printable

__all__ = [
    "confirm",
    "id_argument",
    "status",
    "with_database",
    "yes_option",
]

id_argument = click.argument("name", metavar="ID")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def with_database(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the open catalog, which is opened when the command runs, not for its help."""

    @click.pass_context
    @wraps(command)
    def run(ctx: click.Context, /, **options: Any) -> None:
        with open_database(ctx.obj) as database:
            command(database, **options)

    return run


def confirm(question: str) -> None:
    """Ask the user.

    Args:
        question: One that can be answered by yes or no.

    Raises:
        ConfigError: Nobody is there to answer.
        ResultError: The answer is no.
    """
    try:
        agreed = click.confirm(question)
    except click.Abort:
        raise ConfigError("nothing was done: no answer", "Add --yes") from None
    if not agreed:
        raise ResultError("nothing was done", "Run the command again to be asked again")


@contextmanager
def status(quiet: bool, what: str) -> Iterator[Callable[[Path], None]]:
    """A line on a terminal that shows the file or folder being worked on.

    Args:
        quiet: Show nothing.
        what: The work, such as "looking for models".

    Yields:
        To be called with each path.
    """
    errors = Console(stderr=True, highlight=False)
    if quiet or not errors.is_terminal:
        yield lambda path: None
        return
    with errors.status(what) as line:
        yield lambda path: line.update(f"{what}: {printable(str(path)[-60:])}")
