"""`catalog space`: what takes how much, and what of it may go."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import confirm, with_database, yes_option
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size
from mlx_probe.library.catalog import Database
from mlx_probe.library.space.kinds import REMOVABLE, SPACE_KINDS

__all__ = ["space_command"]


@click.command(
    "space",
    cls=Command,
    examples=(
        "mlx-probe catalog space",
        "mlx-probe catalog space --remove old-revisions --remove partial",
        "mlx-probe catalog space --empty-bin",
    ),
)
@click.option(
    "--remove",
    "kinds",
    multiple=True,
    type=click.Choice([*REMOVABLE]),
    metavar="KIND",
    help=f"Move these to a bin on their disk, after a question: {', '.join(REMOVABLE)}. "
    "May be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--restore", "batch", metavar="BATCH", help="Move what --remove removed back.")
@click.option("--empty-bin", is_flag=True, help="Delete for good what --remove removed.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many of the largest items to show.",
)
@yes_option
@json_option
@with_database
def space_command(
    database: Database,
    kinds: tuple[str, ...],
    dry_run: bool,
    batch: str | None,
    empty_bin: bool,
    limit: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what takes how much on this disk, and what of it nothing needs.

    Nothing that a reference, run, link, open file or other model needs is shown as free to go;
    the rest is moved only with --remove, and deleted only with --empty-bin.
    """
    if sum((bool(kinds), batch is not None, empty_bin)) > 1:
        raise ConfigError("--remove, --restore and --empty-bin exclude each other", "Give one")
    if batch is not None:
        _restore(database, batch, as_json)
    elif empty_bin:
        _empty(database, dry_run, yes, as_json)
    elif kinds:
        _remove(database, kinds, limit, dry_run, yes, as_json)
    else:
        _show(database, limit, as_json)


def _show(database: Database, limit: int, as_json: bool) -> None:
    from mlx_probe.library.space import survey_space
    from mlx_probe.report.terminal.space import space_json, space_text

    survey = survey_space(database)
    if as_json:
        given = click.get_current_context().get_parameter_source("limit")
        is_default = given is click.core.ParameterSource.DEFAULT
        print_document(space_json(survey, tuple(SPACE_KINDS), None if is_default else limit))
    else:
        output().print(space_text(survey, tuple(SPACE_KINDS), limit), soft_wrap=True)


def _remove(
    database: Database, kinds: tuple[str, ...], limit: int, dry_run: bool, yes: bool, as_json: bool
) -> None:
    from mlx_probe.library.space import Moved, find_items, put_away
    from mlx_probe.report.terminal.space import moved_json, moved_text, space_json, space_text

    _require_answer(dry_run or yes, as_json)
    survey = find_items(database, kinds)
    if not as_json:
        output().print(space_text(survey, kinds, limit), soft_wrap=True)
    if dry_run:
        if as_json:
            print_document(space_json(survey, kinds, None))
        return
    done = Moved()
    if survey.items:
        if not yes:
            confirm(tr("Move {count} to the bin?", count=len(survey.items)))
        done = put_away(database, survey.items)
    if as_json:
        print_document(moved_json(done))
    elif survey.items:
        output().print(moved_text(done, tr("{count} paths are in the bin")), soft_wrap=True)
        if done.batch:
            size = format_size(done.size)
            lines = (
                tr("`mlx-probe catalog space --restore {batch}` moves them back", batch=done.batch),
                tr("`mlx-probe catalog space --empty-bin` frees {size}", size=size),
            )
            output().print("\n".join(lines), soft_wrap=True)
    _report_skipped(len(done.skipped))


def _restore(database: Database, name: str, as_json: bool) -> None:
    from mlx_probe.library.space import find_batches, restore_batch
    from mlx_probe.report.terminal.space import moved_json, moved_text

    (batch,) = find_batches(database, [name])
    done = restore_batch(database, batch)
    if as_json:
        print_document(moved_json(done))
    else:
        output().print(moved_text(done, tr("{count} paths are back")), soft_wrap=True)
    _report_skipped(len(done.skipped))


def _empty(database: Database, dry_run: bool, yes: bool, as_json: bool) -> None:
    from mlx_probe.library.space import Moved, batches, empty_batches
    from mlx_probe.report.terminal.space import batches_text, moved_json, moved_text

    _require_answer(dry_run or yes, as_json)
    found = batches(database)
    if found and not as_json:
        output().print(batches_text(found))
    done = Moved()
    if not dry_run and found:
        if not yes:
            confirm(tr("Delete these for good?"))
        done = empty_batches(database, found)
    if as_json:
        print_document(moved_json(done))
    elif not dry_run:
        text = tr("{count} paths are deleted: {size} freed") if found else tr("The bin is empty")
        output().print(moved_text(done, text), soft_wrap=True)
    _report_skipped(len(done.skipped))


def _require_answer(given: bool, as_json: bool) -> None:
    if as_json and not given:
        raise ConfigError("--json asks no questions", "Add --yes or --dry-run")


def _report_skipped(count: int) -> None:
    if count:
        raise click.ClickException(f"{count} paths stay as they were")
