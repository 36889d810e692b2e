"""`backup restore`: a snapshot into a new folder."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.language import tr
from mlx_probe.library.backup import check_weights, open_repository
from mlx_probe.report.terminal.backup import restored_json, restored_text

from .common import quiet_option, repo_option, snapshot_argument, working

__all__ = ["restore_command"]

_INCOMPLETE = 3


@click.command(
    "restore",
    cls=Command,
    examples=("mlx-probe backup restore latest --repo ~/backup --out restored",),
)
@snapshot_argument
@repo_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A new or empty folder.",
)
@click.option(
    "--skip-damaged", is_flag=True, help="Restore what is whole where the archive is damaged."
)
@quiet_option
@json_option
@click.pass_context
def restore_command(
    ctx: click.Context,
    /,
    snapshot: str,
    repo: Path,
    out: Path,
    skip_damaged: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Restore SNAPSHOT into a new folder.

    Modes, times and links are as they were. Paths are those below the folder that all backed up
    paths have in common. Every file is checked by its hash. The folder gets its name at the
    end: it is whole, or not there.
    """
    repository = open_repository(repo)
    with working(quiet or as_json, tr("restoring")) as progress:
        restored = repository.restore(snapshot, out, skip_damaged, progress)
        weights = check_weights(restored.weights, restored.snapshot.base, progress.on_path)
    if as_json:
        print_document(restored_json(restored, weights))
    elif not quiet or restored.lost or weights:
        output().print(restored_text(restored, weights), soft_wrap=True)
    if restored.lost:
        ctx.exit(_INCOMPLETE)
