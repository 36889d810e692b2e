"""What the commands on runs share: RUN, and the filters of `list`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from mlx_probe.cli.database import with_database
from mlx_probe.cli.options import complete_files
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import Selection, moment, parse_conditions, settle_bin

__all__ = ["filter_options", "run_argument", "runs_argument", "selection_of", "with_runs"]

Command = TypeVar("Command", bound=Callable[..., Any])

run_argument = click.argument("run", metavar="RUN", shell_complete=complete_files)
runs_argument = click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_files
)


def with_runs(command: Callable[..., None]) -> Callable[..., None]:
    """`with_database`, after what a killed `runs rm` or `restore` left is settled."""

    @with_database
    @wraps(command)
    def run(database: Database, /, **options: Any) -> None:
        settle_bin(database)
        command(database, **options)

    return run


def filter_options(command: Command) -> Command:
    """The conditions of `runs list`, which `selection_of` reads."""
    options = (
        click.option(
            "--kind",
            "kinds",
            multiple=True,
            metavar="KIND",
            help="train, analyze ...; may be repeated.",
        ),
        click.option("--model", default="", help="Part of the name of a model that it came from."),
        click.option(
            "--tag", "tags", multiple=True, help="May be repeated; runs have all of them."
        ),
        click.option(
            "--state",
            "states",
            multiple=True,
            metavar="STATE",
            help='finished, "stopped early", interrupted, running or damaged; may be repeated.',
        ),
        click.option(
            "--since", default="", metavar="TIME", help="2026-05-31, or 7d for a week ago; UTC."
        ),
        click.option(
            "--until", default="", metavar="TIME", help="The same; a day counts as a whole."
        ),
        click.option("--missing/--present", default=None, help="Whether the folder is gone."),
        click.option(
            "--where",
            "conditions",
            multiple=True,
            metavar="CONDITION",
            help='A field, metric or setting, one of < <= > >= = != ~ and a value: "val_loss<3.2", '
            '"config.train.lr=0.001", "name~wide"; several with "and"; may be repeated.',
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def selection_of(
    kinds: tuple[str, ...],
    model: str,
    tags: tuple[str, ...],
    states: tuple[str, ...],
    since: str,
    until: str,
    missing: bool | None,
    conditions: tuple[str, ...],
) -> Selection:
    """What `filter_options` say.

    Raises:
        ConfigError: A time or a condition is none.
    """
    return Selection(
        kinds=kinds,
        model=model,
        tags=tags,
        states=states,
        since=since and moment(since),
        until=until and moment(until, is_end=True),
        missing=missing,
        conditions=parse_conditions(conditions),
    )
