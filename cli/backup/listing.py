"""`backup list`: the snapshots of an archive."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.library.backup import open_repository
from mlx_probe.report.terminal.backup import snapshots_text
from mlx_probe.report.terminal.plain import plain

from .common import repo_option, working

__all__ = ["list_command"]


@click.command("list", cls=Command, examples=("mlx-probe backup list --repo ~/backup",))
@repo_option
@json_option
@click.pass_context
def list_command(ctx: click.Context, /, repo: Path, as_json: bool) -> None:
    """List the snapshots of an archive, the oldest first.

    The exit code is 1 if one cannot be read; the others are listed.
    """
    with working(True, ""):
        snapshots, damage = open_repository(repo).snapshots()
    if as_json:
        print_document([each.describe() for each in snapshots])
    else:
        output().print(snapshots_text(snapshots))
    for fact in damage:
        message = tr("Warning: {message}", message=translated(fact))
        click.echo(plain(message), err=True)
    if damage:
        ctx.exit(1)
