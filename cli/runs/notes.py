"""`runs tag` and `runs note`: the user's own words."""

from __future__ import annotations

from typing import Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import (
    StoredRun,
    add_run_tags,
    find_run,
    load_runs,
    remove_run_tags,
    set_run_note,
)
from mlx_probe.report.terminal.plain import plain

from .common import run_argument, with_runs

__all__ = ["note_command", "tag_command"]


@click.command(
    "tag",
    cls=Command,
    examples=(
        "mlx-probe runs tag 3f2a baseline",
        "mlx-probe runs tag 3f2a baseline --remove",
    ),
)
@run_argument
@click.argument("tags", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Remove the tags.")
@json_option
@with_runs
def tag_command(
    database: Database, run: str, tags: tuple[str, ...], remove: bool, as_json: bool
) -> None:
    """Add tags to a run, to list it by."""
    found = find_run(run, database)
    (remove_run_tags if remove else add_run_tags)(database, [found], tags)
    if as_json:
        print_document(_known(database, found))


@click.command(
    "note",
    cls=Command,
    examples=(
        'mlx-probe runs note 3f2a "diverges after step 4,000: learning rate too high"',
        "mlx-probe runs note 3f2a",
    ),
)
@run_argument
@click.argument("text", required=False)
@click.option("--remove", is_flag=True, help="Remove the note.")
@json_option
@with_runs
def note_command(
    database: Database, run: str, text: str | None, remove: bool, as_json: bool
) -> None:
    """Write a note on a run, or print it."""
    found = find_run(run, database)
    if remove or text is not None:
        if remove and text:
            raise ConfigError("a note cannot be both written and removed", "Leave one out")
        # A command line need not be UTF-8.
        note = (text or "").encode("utf-8", "backslashreplace").decode("utf-8")
        set_run_note(database, found, note)
    if as_json:
        print_document(_known(database, found))
    elif found.note and not remove and text is None:
        click.echo(plain(found.note))


def _known(database: Database, run: StoredRun) -> dict[str, Any]:
    """Id, name, note and tags of a run, as they are now."""
    now = next(each for each in load_runs(database, binned=None) if each.number == run.number)
    return {"id": now.id, "name": now.name, "note": now.note, "tags": list(now.tags)}
