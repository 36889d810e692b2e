"""`catalog scan`: look for models."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import status, with_database
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.hashing import hashing
from mlx_probe.cli.options import quiet_option
from mlx_probe.core.language import tr
from mlx_probe.library.catalog import Database, hash_models, load_models, scan
from mlx_probe.report.terminal.catalog import scan_json, scan_text
from mlx_probe.runs.folder import DEFAULT_ROOT
from mlx_probe.source.stores import STORES

__all__ = ["scan_command"]


@click.command(
    "scan",
    cls=Command,
    examples=(
        "mlx-probe catalog scan",
        "mlx-probe catalog scan ~/models --hash",
        "mlx-probe catalog scan --store hub",
    ),
)
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER]...")
@click.option(
    "--store",
    "stores",
    multiple=True,
    type=click.Choice(list(STORES)),
    help='Search only this store; may be repeated. "folder": the folders of earlier scans.',
)
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=f"Folder of finished runs; may be repeated.  [default: {DEFAULT_ROOT}]",
)
@click.option("--hash", "hash_all", is_flag=True, help="Hash every weight file that has no hash.")
@json_option
@quiet_option
@with_database
def scan_command(
    database: Database,
    folders: tuple[Path, ...],
    stores: tuple[str, ...],
    runs: tuple[Path, ...],
    hash_all: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find models, and read the headers of those that are new or changed.

    Without FOLDER and --store it searches the caches of the Hugging Face Hub and of mlx-probe, the
    stores of Ollama and LM Studio, and the folders of earlier scans.
    """
    with status(quiet, tr("looking for models")) as on_model:
        report = scan(database, folders, stores, runs or (DEFAULT_ROOT,), on_model)
    if hash_all:
        with hashing("scan", "the catalog", quiet) as job:
            report.troubles += hash_models(database, load_models(database), job.update).troubles
    if as_json:
        print_document(scan_json(report))
    elif not quiet:
        output().print(scan_text(report), soft_wrap=True)
