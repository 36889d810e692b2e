"""`runs scan`: look for runs."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import status
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import quiet_option
from mlx_probe.core.language import tr
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import scan_experiments
from mlx_probe.report.terminal.experiments import scan_text

from .common import with_runs

__all__ = ["scan_command"]


@click.command(
    "scan",
    cls=Command,
    examples=(
        "mlx-probe runs scan",
        "mlx-probe runs scan ./runs /Volumes/Archive/runs",
    ),
)
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER]...")
@json_option
@quiet_option
@with_runs
def scan_command(database: Database, folders: tuple[Path, ...], as_json: bool, quiet: bool) -> None:
    """Find runs of every kind, and read what has changed.

    Without FOLDER it searches data/outputs, and the folders of earlier scans. A run that is gone
    is marked; its note and tags stay, and are those of the run again where a scan finds it
    elsewhere.
    """
    with status(quiet, tr("looking for runs")) as on_run:
        report = scan_experiments(database, folders, on_run)
    if as_json:
        print_document(
            {
                "searched": [str(folder) for folder in report.searched],
                "added": [str(marker) for marker in report.added],
                "changed": [str(marker) for marker in report.changed],
                "moved": [str(marker) for marker in report.moved],
                "unchanged": report.unchanged,
                "missing": [str(marker) for marker in report.missing],
                "damaged": [{"path": str(at), "why": why} for at, why in report.damaged],
                "troubles": [{"path": str(at), "why": why} for at, why in report.troubles],
            }
        )
    elif not quiet:
        output().print(scan_text(report), soft_wrap=True)
