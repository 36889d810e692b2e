"""What the commands on the catalog share: its file, the open database, questions, output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.catalog.database import default_database, open_database
from mlx_probe.report.terminal.plain import one_line

__all__ = [
    "confirm",
    "database_option",
    "status",
    "with_database",
    "yes_option",
]

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def _remember(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    ctx.obj = default_database() if path is None else path


def database_option(group: Callable[..., None]) -> Callable[..., None]:
    """--database of a group, for its commands that are `with_database`."""
    return click.option(
        "--database",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="MLX_PROBE_CATALOG",
        metavar="FILE",
        expose_value=False,
        callback=_remember,
        help="The catalog.  [default: catalog.sqlite in the system's data folder]",
    )(group)


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
        yield lambda path: line.update(f"{what}: {escape(one_line(str(path)[-60:]))}")
