"""`catalog scan`: look for models."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.options import quiet_option
from mlx_probe.cli.progress import hashing
from mlx_probe.library.catalog import Database, hash_models, load_models, scan
from mlx_probe.report.terminal.catalog import scan_json, scan_text
from mlx_probe.runs.folder import DEFAULT_ROOT
from mlx_probe.source.stores import STORES

from .common import console, json_option, status, with_database

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
    help='Look through this store only; may be repeated. "folder": the remembered ones.',
)
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=f"Where finished runs are; may be repeated.  [default: {DEFAULT_ROOT}]",
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
    """Look for models and read the headers of those that are new or changed.

    Without FOLDER and --store: in the caches of the Hugging Face Hub and of mlx-probe, in the
    stores of Ollama and LM Studio, and in the folders that earlier scans were given.
    """
    with status(quiet, "looking for models") as tell:
        report = scan(database, folders, stores, runs or (DEFAULT_ROOT,), tell)
    if hash_all:
        with hashing("scan", "the catalog", quiet) as job:
            report.troubles += hash_models(database, load_models(database), job.update).troubles
    if as_json:
        click.echo(scan_json(report))
    elif not quiet:
        console().print(scan_text(report), soft_wrap=True)
