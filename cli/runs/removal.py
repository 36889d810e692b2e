"""`runs rm`, `restore`, `bin` and `forget`: runs that are not needed any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import confirm, yes_option
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import (
    empty_bin,
    find_binned,
    find_run,
    forget_runs,
    load_bin,
    load_runs,
    plan_removal,
    remove_run,
    restore_run,
)
from mlx_probe.library.experiments.bin import Binned, Removal
from mlx_probe.report.terminal.bin import bin_text, removals_text
from mlx_probe.report.terminal.plain import plain

from .common import run_argument, runs_argument, with_runs

__all__ = ["bin_command", "forget_command", "restore_command", "rm_command"]


@click.command(
    "rm",
    cls=Command,
    examples=(
        "mlx-probe runs rm 3f2a --dry-run",
        "mlx-probe runs rm 3f2a 98f4",
    ),
)
@runs_argument
@click.option("--dry-run", is_flag=True, help="Show what would be moved, and move nothing.")
@click.option(
    "--force", is_flag=True, help="Move folders that other runs or models came from, too."
)
@json_option
@with_runs
def rm_command(
    database: Database, runs: tuple[str, ...], dry_run: bool, force: bool, as_json: bool
) -> None:
    """Move run folders to a bin on their disk.

    `restore` brings them back. Refuses the folder of a running job, and folders that hold what
    other runs or models need.
    """
    chosen = [find_run(run, database) for run in runs]
    for run in chosen:
        if run.token:
            raise ResultError(
                f"run {run.id[:8]} ({run.name}) is in the bin",
                f"Get it back with `mlx-probe runs restore {run.id[:8]}`",
            )
    removals = plan_removal(database, chosen)
    refused = [each for each in removals if _refusals(each, force)]
    if not dry_run and refused:
        raise _refusal(refused[0], force)
    if not dry_run:
        for removal in removals:
            remove_run(database, removal.folder, removal.size)
    if as_json:
        print_document([_described(removal, force, not dry_run) for removal in removals])
    else:
        output().print(removals_text(removals, force, not dry_run), soft_wrap=True)
    if dry_run and refused:
        raise click.exceptions.Exit(1)


@click.command(
    "restore",
    cls=Command,
    examples=(
        "mlx-probe runs restore 3f2a",
        "mlx-probe runs restore 3f2a --to runs/again",
    ),
)
@run_argument
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to, if not where it was."
)
@json_option
@with_runs
def restore_command(database: Database, run: str, to: Path | None, as_json: bool) -> None:
    """Bring a run folder back from the bin."""
    folder = restore_run(database, find_binned(database, run).token, to)
    if as_json:
        print_document({"folder": str(folder)})
    else:
        click.echo(plain(str(folder)))


@click.command(
    "bin",
    cls=Command,
    examples=(
        "mlx-probe runs bin",
        "mlx-probe runs bin --empty",
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--empty", is_flag=True, help="Delete for good what is in the bin, or these RUNs.")
@yes_option
@json_option
@with_runs
def bin_command(
    database: Database, runs: tuple[str, ...], empty: bool, yes: bool, as_json: bool
) -> None:
    """List what is in the bin, or empty it."""
    entries = [find_binned(database, run) for run in runs] if runs else load_bin(database)
    if not empty:
        if as_json:
            print_document([_entry(entry) for entry in entries])
        else:
            output().print(bin_text(entries))
        return
    if as_json and not yes:
        raise ConfigError("--json asks no questions", "Add --yes")
    if entries and not yes:
        output().print(bin_text(entries))
        confirm(tr("Delete {count} run folders for good?", count=len(entries)))
    freed = empty_bin(database, entries)
    if as_json:
        print_document([_entry(entry) for entry in entries])
    else:
        click.echo(tr("deleted: {count}, {size}", count=len(entries), size=format_size(freed)))


@click.command(
    "forget",
    cls=Command,
    examples=(
        "mlx-probe runs forget --missing",
        "mlx-probe runs forget --folder /Volumes/Archive/runs",
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--missing", is_flag=True, help="All runs whose folders are gone.")
@click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Do not search this folder any more; may be repeated.",
)
@yes_option
@json_option
@with_runs
def forget_command(
    database: Database,
    runs: tuple[str, ...],
    missing: bool,
    folders: tuple[Path, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Remove runs from the catalog; no file is touched.

    Their notes and tags go with them.
    """
    if not runs and not missing and not folders:
        raise ConfigError("nothing to forget", "Name runs, or use --missing or --folder")
    chosen = {run.number: run for run in (find_run(run, database) for run in runs)}
    chosen |= {run.number: run for run in load_runs(database) if missing and run.missing}
    noted = [run for run in chosen.values() if run.note or run.tags]
    if noted and as_json and not yes:
        raise ConfigError("--json asks no questions", "Add --yes")
    if noted and not yes:
        question = tr(
            "{count} of {total} runs have notes or tags. Forget them?",
            count=len(noted),
            total=len(chosen),
        )
        confirm(question)
    forget_runs(database, chosen.values(), folders)
    if as_json:
        gone = [{"id": run.id, "name": run.name} for run in chosen.values()]
        print_document({"forgotten": gone, "folders": [str(folder) for folder in folders]})
    else:
        output().print(tr("forgotten: {count}", count=len(chosen)), soft_wrap=True)


def _refusals(removal: Removal, force: bool) -> list[str]:
    """Why a folder may not be moved."""
    return [reason.text for reason in removal.reasons if not (force and reason.is_need)]


def _refusal(removal: Removal, force: bool) -> ResultError:
    texts = _refusals(removal, force)
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    needed = all(reason.is_need for reason in removal.reasons)
    remedy = (
        "Remove these together with it, or add --force; --dry-run shows all of them"
        if needed
        else "`mlx-probe runs rm RUN --dry-run` shows all reasons"
    )
    return ResultError(f"{removal.folder} is not moved: {texts[0]}{more}", remedy)


def _described(removal: Removal, force: bool, is_done: bool) -> dict[str, Any]:
    return {
        "id": removal.run.id,
        "name": removal.run.name,
        "folder": str(removal.folder),
        "size": removal.size,
        "runs": [run.id for run in (removal.run, *removal.parts)],
        "reasons": _refusals(removal, force),
        "moved": is_done,
    }


def _entry(entry: Binned) -> dict[str, Any]:
    return {
        "token": entry.token,
        "origin": str(entry.origin),
        "folder": str(entry.folder),
        "state": entry.state,
        "size": entry.size,
        "created_at": entry.created_at,
        "missing": entry.missing,
        "runs": [{"id": run.id, "name": run.name, "kind": run.kind} for run in entry.runs],
    }
