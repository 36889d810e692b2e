"""`mlx-probe verify`."""

from __future__ import annotations

import click

from mlx_probe.library.download import DownloadConfig
from mlx_probe.library.download import repair as run_repair
from mlx_probe.library.download import verify as run_verify
from mlx_probe.report.terminal.download import verification_json, verification_text
from mlx_probe.report.terminal.download_progress import download_progress
from mlx_probe.runs.monitor.watch import WatchConfig

from .command import Command
from .console import output
from .document import json_option, print_document
from .download import endpoint_option
from .hashing import hashing
from .options import complete_files, quiet_option, revision_option, watch_options

__all__ = ["verify"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe verify Qwen/Qwen3-0.6B",
        "mlx-probe verify models/Qwen3-0.6B --repair",
    ),
)
@click.argument("target", shell_complete=complete_files)
@click.option("--repair", is_flag=True, help="Fetch damaged and missing files again.")
@revision_option
@endpoint_option
@click.option(
    "--workers",
    type=click.IntRange(1, 32),
    metavar="N",
    default=4,
    show_default=True,
    help="Files hashed or fetched at a time.",
)
@json_option
@watch_options
@quiet_option
def verify(
    target: str,
    repair: bool,
    revision: str | None,
    endpoints: tuple[str, ...],
    workers: int,
    alert: tuple[str, ...],
    prometheus: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Hash every file of a model, and name those that are damaged, missing or short.

    TARGET is a folder, or a Hub model, which means its copy in the cache. A folder is compared
    with its mlx-probe-manifest.json; a Hub model, or a folder of the Hub's cache without a
    manifest, with the hashes on the Hub. The exit code is 1 if a file is not right.

    --repair fetches only those files, from their source; a damaged file is replaced when the new
    one is verified, not before.
    """
    config = DownloadConfig(endpoints=endpoints, workers=workers)
    rules = WatchConfig(alert=alert, prometheus=prometheus)
    with hashing("verify", target, quiet, rules) as job:
        done = run_verify(
            target,
            config,
            revision,
            on_total=job.begin,
            on_check=job.add,
        )
        if repair and done.damaged:
            progress = download_progress(quiet, lines=True)
            done = run_repair(done, config, progress, lambda _: job.gate.wait())
    if as_json:
        print_document(verification_json(done))
    elif not quiet:
        output().print(verification_text(done), soft_wrap=True)
    if done.damaged:
        raise click.ClickException(
            f"{len(done.damaged)} of {len(done.findings)} file(s) are not right"
        )
