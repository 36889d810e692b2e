"""`backup prune`: remove old snapshots."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.library.backup import Keep, open_repository
from mlx_probe.report.terminal.backup import pruning_json, pruning_text

from .common import repo_option, working

__all__ = ["prune_command"]


@click.command(
    "prune",
    cls=Command,
    examples=(
        "mlx-probe backup prune --repo ~/backup --keep-daily 7 --keep-monthly 12",
        "mlx-probe backup prune --repo ~/backup --keep-last 3 --yes",
    ),
)
@repo_option
@click.option("--keep-last", type=click.IntRange(0), default=0, metavar="N", help="Newest ones.")
@click.option(
    "--keep-daily", type=click.IntRange(0), default=0, metavar="N",
    help="The newest one of each of the last N days that have one.",
)  # fmt: skip
@click.option(
    "--keep-weekly", type=click.IntRange(0), default=0, metavar="N", help="The same of weeks."
)
@click.option(
    "--keep-monthly", type=click.IntRange(0), default=0, metavar="N", help="The same of months."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def prune_command(
    repo: Path,
    keep_last: int,
    keep_daily: int,
    keep_weekly: int,
    keep_monthly: int,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove old snapshots.

    Those that no --keep option keeps, and what only they needed. The options hold for each set
    of paths. Says first what would be removed, and asks.
    """
    keep = Keep(keep_last, keep_daily, keep_weekly, keep_monthly)
    repository = open_repository(repo)
    console = output(as_json)
    with working(True, ""):
        plan = repository.prune(keep, is_dry=True)
    console.print(pruning_text(plan, is_done=False), soft_wrap=True)
    if not dry_run and (plan.removed or plan.freed != 0):
        if not yes:
            if as_json:
                raise ConfigError("nothing was done: no answer", "Add --yes")
            from mlx_probe.cli.database import confirm

            confirm(tr("Remove them?"))
        with working(True, ""):
            plan = repository.prune(keep, is_dry=False)
        console.print(pruning_text(plan, is_done=True), soft_wrap=True)
    if as_json:
        print_document(pruning_json(plan, is_done=not dry_run))
