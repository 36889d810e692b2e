"""`catalog duplicates`, `dedupe` and `undo`: copies of weight files, and links instead of them."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import confirm, status, with_database, yes_option
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.hashing import hashing
from mlx_probe.cli.options import SIZE, quiet_option
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.library.catalog import (
    Database,
    Duplicates,
    find_duplicates,
    load_models,
    plan_links,
    settle,
    undoable,
)
from mlx_probe.library.catalog import dedupe as replace_by_links
from mlx_probe.library.catalog import undo as take_links_back
from mlx_probe.report.terminal.catalog import (
    done_json,
    done_text,
    duplicates_json,
    duplicates_text,
    plan_json,
    plan_text,
)

__all__ = ["dedupe_command", "duplicates_command", "undo_command"]

_larger_option = click.option(
    "--larger", type=SIZE, default=1, metavar="SIZE", help="Leave out smaller files (600MB, 1GiB)."
)


@click.command(
    "duplicates",
    cls=Command,
    examples=("mlx-probe catalog duplicates --larger 100MB",),
)
@_larger_option
@click.option("--verify", is_flag=True, help="Read the files again and trust no known hash.")
@json_option
@quiet_option
@with_database
def duplicates_command(
    database: Database, larger: int, verify: bool, as_json: bool, quiet: bool
) -> None:
    """Find weight files with the same content under several names.

    Links to one file are one file. The first of each group, marked *, is the one that `dedupe`
    keeps: the Hub cache's before Ollama's, LM Studio's and other folders', then the oldest.
    """
    result = _duplicates(database, larger, verify, quiet)
    if as_json:
        print_document(duplicates_json(result))
    elif not quiet:
        output().print(duplicates_text(result), soft_wrap=True)


@click.command(
    "dedupe",
    cls=Command,
    examples=(
        "mlx-probe catalog dedupe --dry-run",
        "mlx-probe catalog dedupe --larger 1GB --yes",
    ),
)
@_larger_option
@click.option(
    "--link",
    type=click.Choice(["hard", "symbolic"]),
    default="hard",
    show_default=True,
    help="Hard links share a disk and outlive each other; symbolic ones reach other disks.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@yes_option
@json_option
@quiet_option
@with_database
def dedupe_command(
    database: Database,
    larger: int,
    link: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Replace copies of weight files by links to one of them; `undo` takes it back.

    Every file is hashed before and read back after. A program that writes into a linked file
    in place changes it under all its names; a program that replaces the file does not.
    """
    if as_json and not (yes or dry_run):
        raise ConfigError("--json asks no questions", "Add --yes or --dry-run")
    if not dry_run:
        settle(database)
    plan = plan_links(_duplicates(database, larger, False, quiet).groups, link == "symbolic")
    if dry_run or not plan.links:
        if as_json:
            print_document(plan_json(plan))
        elif not quiet:
            output().print(plan_text(plan), soft_wrap=True)
        return
    if not yes:
        output().print(plan_text(plan), soft_wrap=True)
        count = len(plan.links)
        if link == "hard":
            confirm(tr("Replace {count} files by hard links?", count=count))
        else:
            confirm(tr("Replace {count} files by symbolic links?", count=count))
    with hashing("dedupe", "the catalog", quiet) as job:
        keepers = {planned.keeper: planned.size for planned in plan.links}
        total = sum(keepers.values()) + 2 * sum(planned.size for planned in plan.links)
        job.begin(total)
        done = replace_by_links(database, plan, job.add)
    if as_json:
        print_document(done_json(done))
    elif not quiet:
        made = tr("made hard links") if link == "hard" else tr("made symbolic links")
        output().print(done_text(done, made, tr("freed")), soft_wrap=True)
    if done.skipped:
        raise click.ClickException(f"{len(done.skipped)} files stay as they were")


@click.command(
    "undo",
    cls=Command,
    examples=(
        "mlx-probe catalog undo",
        "mlx-probe catalog undo --all --yes",
    ),
)
@click.option("--all", "everything", is_flag=True, help="Undo every dedupe, not only the last.")
@yes_option
@json_option
@quiet_option
@with_database
def undo_command(
    database: Database, everything: bool, yes: bool, as_json: bool, quiet: bool
) -> None:
    """Make the files that the last `dedupe` replaced separate files again."""
    if as_json and not yes:
        raise ConfigError("--json asks no questions", "Add --yes")
    links = undoable(database, everything)
    if links and not yes:
        confirm(tr("Make {count} links separate files again?", count=len(links)))
    with status(quiet, tr("copying")):
        done = take_links_back(database, everything)
    if as_json:
        print_document(done_json(done))
    elif not quiet:
        text = done_text(done, tr("made separate files again"), tr("used"))
        output().print(text, soft_wrap=True)
    if done.skipped:
        raise click.ClickException(f"{len(done.skipped)} files stay as they were")


def _duplicates(database: Database, larger: int, verify: bool, quiet: bool) -> Duplicates:
    with hashing("duplicates", "the catalog", quiet) as job:
        models = [model for model in load_models(database) if not model.missing]
        return find_duplicates(database, models, verify, larger, job.update)
