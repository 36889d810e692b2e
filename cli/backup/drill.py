"""`backup drill`: restore at random and compare."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.language import tr
from mlx_probe.library.backup import DrillConfig, open_repository
from mlx_probe.report.terminal.backup import drill_json, drill_text

from .common import quiet_option, repo_option, working

__all__ = ["drill_command"]


@click.command(
    "drill",
    cls=Command,
    examples=(
        "mlx-probe backup drill --repo ~/backup",
        "mlx-probe backup drill --repo ~/backup --files 100 --seed 7",
    ),
)
@repo_option
@click.option("--snapshot", help="Which one.  [default: a random one]")
@click.option(
    "--files",
    type=click.IntRange(1),
    metavar="N",
    help="Restore so many random files.  [default: all]",
)
@click.option(
    "--seed", type=click.IntRange(0), help="Repeat the choice of an earlier drill.",
)  # fmt: skip
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Restore into a temporary folder there.  [default: the system's]",
)
@quiet_option
@json_option
@click.pass_context
def drill_command(
    ctx: click.Context,
    /,
    repo: Path,
    snapshot: str | None,
    files: int | None,
    seed: int | None,
    scratch: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Restore at random, compare, and keep a report.

    A random snapshot is restored into a temporary folder. Files are read back and compared with
    their hashes, and with those on the disk that have not changed since. The report is kept in
    the archive, with its date. The exit code is 1 if a file differs or cannot be restored.
    """
    repository = open_repository(repo)
    seed = secrets.randbelow(10**6) if seed is None else seed
    config = DrillConfig(seed, snapshot, files, scratch)
    with working(quiet or as_json, tr("restoring")) as progress:
        drill = repository.drill(config, progress)
    if as_json:
        print_document(drill_json(drill))
    elif not quiet or drill.failed:
        output().print(drill_text(drill), soft_wrap=True)
    if drill.failed:
        ctx.exit(1)
