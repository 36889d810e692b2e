"""`backup create`: make a snapshot."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.small_options import SIZE, complete_files
from mlx_probe.core.language import tr
from mlx_probe.library.backup import (
    LARGE,
    REPOSITORIES,
    BackupConfig,
    choose_repository,
    default_paths,
    resolve,
)
from mlx_probe.report.terminal.backup import created_json, created_text, paths_text

from .common import quiet_option, repo_option, working

__all__ = ["create_command"]

_INCOMPLETE = 3  # as restic


@click.command(
    "create",
    cls=Command,
    examples=(
        "mlx-probe backup create --repo /Volumes/Backup/mlx-probe",
        "mlx-probe backup create data/outputs notes --repo ~/backup --include-weights",
    ),
)
@click.argument(
    "paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path),
    shell_complete=complete_files,
)  # fmt: skip
@repo_option
@click.option(
    "--with",
    "kind",
    type=click.Choice(list(REPOSITORIES)),
    help="Format of a new archive: ours, or that of restic.  [default: restic if it is installed]",
)
@click.option("--include-weights", is_flag=True, help="Store large weight files too.")
@click.option(
    "--weights-above",
    type=SIZE,
    metavar="SIZE",
    default=LARGE,
    show_default="64MB",
    help="Weight files below this size are always stored.",
)
@click.option("--rescan", is_flag=True, help="Read files that have not changed, too.")
@quiet_option
@json_option
@click.pass_context
def create_command(
    ctx: click.Context,
    /,
    paths: tuple[Path, ...],
    repo: Path,
    kind: str | None,
    include_weights: bool,
    weights_above: int,
    rescan: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a snapshot of PATHs.

    Without PATH, of runs, documents, configuration and catalog. What is in the archive already
    is not stored again. The exit code is 3 if a file could not be read, or changed while it was
    read: the snapshot is there, and the others are in it.
    """
    config = BackupConfig(include_weights, weights_above, rescan)
    kinds = None
    if not paths:
        kinds = default_paths(config.catalog, Path.cwd())
        paths = tuple(path for _, path in kinds)
    roots = resolve(paths, repo)
    repository = choose_repository(repo, kind)
    console = output(quiet or as_json)
    console.print(paths_text(roots, kinds, repository), soft_wrap=True)
    with working(quiet, tr("backing up")) as progress:
        created = repository.create(roots, config, progress)
    is_incomplete = any(each.is_lost for each in created.left_out)
    if as_json:
        print_document(created_json(created, repository))
    else:
        output(quiet and not is_incomplete).print(created_text(created), soft_wrap=True)
    if is_incomplete:
        ctx.exit(_INCOMPLETE)
