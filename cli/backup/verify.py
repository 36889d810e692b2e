"""`backup verify`: read an archive back."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.language import tr
from mlx_probe.library.backup import open_repository
from mlx_probe.report.terminal.backup import verification_json, verification_text

from .common import quiet_option, repo_option, working

__all__ = ["verify_command"]


@click.command("verify", cls=Command, examples=("mlx-probe backup verify --repo ~/backup",))
@repo_option
@quiet_option
@json_option
@click.pass_context
def verify_command(ctx: click.Context, /, repo: Path, quiet: bool, as_json: bool) -> None:
    """Read every byte of an archive back.

    Each is compared with its hash. The exit code is 1 if anything is damaged or missing: each
    such file is named, with the snapshots and paths that need it.
    """
    repository = open_repository(repo)
    with working(quiet or as_json, tr("reading back")) as progress:
        verification = repository.verify(progress)
    if as_json:
        print_document(verification_json(verification, repository))
    elif not quiet or verification.damage:
        output().print(verification_text(verification, repository), soft_wrap=True)
    if verification.damage:
        ctx.exit(1)
