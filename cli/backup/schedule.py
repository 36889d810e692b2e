"""`backup schedule`: a backup every day."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.small_options import complete_files
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.paths import cache_dir
from mlx_probe.library.backup import (
    SCHEDULERS,
    Schedule,
    default_scheduler,
    parse_time,
    resolve,
)
from mlx_probe.report.terminal.backup import schedule_text

from .common import repo_option

__all__ = ["schedule_command"]


@click.command(
    "schedule",
    cls=Command,
    examples=(
        "mlx-probe backup schedule --repo ~/backup --at 02:30",
        "mlx-probe backup schedule data notes --repo ~/backup --install",
        "mlx-probe backup schedule --repo ~/backup --uninstall",
    ),
)
@click.argument(
    "paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path),
    shell_complete=complete_files,
)  # fmt: skip
@repo_option
@click.option(
    "--at", "time", default="02:30", show_default=True, metavar="TIME", help="When, such as 02:30."
)
@click.option(
    "--scheduler",
    type=click.Choice(list(SCHEDULERS)),
    default=None,
    help="Who starts it.  [default: launchd on macOS, else cron]",
)
@click.option("--include-weights", is_flag=True, help="Store large weight files too.")
@click.option("--install", is_flag=True, help="Install the entry; without it, it is printed.")
@click.option("--uninstall", is_flag=True, help="Remove the entry of this archive.")
@json_option
def schedule_command(
    paths: tuple[Path, ...],
    repo: Path,
    time: str,
    scheduler: str | None,
    include_weights: bool,
    install: bool,
    uninstall: bool,
    as_json: bool,
) -> None:
    """Have a backup made every day.

    Prints the entry of launchd or cron; nothing is installed without --install. Without PATH,
    the default paths of `backup create`, started in this folder.
    """
    if install and uninstall:
        raise ConfigError("--install and --uninstall together", "Give one of them")
    hour, minute = parse_time(time)
    repo = repo.absolute()
    roots = [os.fspath(path) for path in resolve(paths, repo).paths] if paths else []
    arguments = [*roots, "--repo", os.fspath(repo), "--quiet"]
    arguments += ["--include-weights"] if include_weights else []
    log = cache_dir() / "backup.log"
    plan = Schedule(repo, tuple(arguments), hour, minute, Path.cwd(), log)
    kind = scheduler or default_scheduler()
    program = SCHEDULERS[kind]
    entry = program.entry(plan)
    installed = program.install(plan) if install else ""
    removed = program.uninstall(plan) if uninstall else False
    if as_json:
        document = {
            "scheduler": kind,
            "label": plan.label,
            "entry": entry,
            "installed": installed or None,
            "removed": removed,
        }
        print_document(document)
    elif not install and not uninstall:
        click.echo(entry.rstrip("\n"))
    else:
        output().print(schedule_text(plan.label, installed, removed), soft_wrap=True)
