"""`mlx-probe cluster check`: whether the workers of a cluster may take part in an analysis."""

from __future__ import annotations

from contextlib import nullcontext

import click
from rich.console import Console

from mlx_probe.analysis.budget import memory_budget
from mlx_probe.analysis.cluster.config import ClusterConfig
from mlx_probe.analysis.cluster.connection import connected
from mlx_probe.analysis.cluster.survey import Request, Survey, survey
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.cli.analysis_options import backend_options
from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import config_option, revision_option
from mlx_probe.cli.progress import fetching
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.cluster import survey_text

__all__ = ["check_command"]


@click.command(
    "check",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe cluster check tcp://192.168.1.10:8786",
        "mlx-probe cluster check tcp://192.168.1.10:8786 --model Qwen/Qwen3-0.6B",
        "mlx-probe cluster check local:2 --json",
    ),
)
@click.argument("address")
@backend_options
@click.option("--model", metavar="MODEL", help="Compare the workers' copies of it with yours.")
@revision_option
@click.option(
    "--model-path-on-workers",
    "model_paths",
    multiple=True,
    metavar="[HOST=]PATH",
    help="Where the workers have MODEL, if not where you have it; may be repeated, with the name "
    "of a host or worker.",
)
@click.option(
    "--full-hash",
    is_flag=True,
    help="Compare copies by the SHA-256 of whole files, not of headers and samples.",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=True,
    help="Show the speed of each machine, measured where it is not known yet.",
)
@config_option
@json_option
def check_command(
    address: str,
    backend: str,
    device: str,
    model: str | None,
    revision: str | None,
    model_paths: tuple[str, ...],
    full_hash: bool,
    calibrate: bool,
    as_json: bool,
) -> None:
    """Check the workers of the cluster at ADDRESS before an analysis is spread over them.

    ADDRESS is that of Dask's scheduler, such as tcp://192.168.1.10:8786, or local:N for N workers
    that are started on this machine.

    It shows what each worker is, which of them an analysis would refuse and why, and what differs
    between the others. The exit code is 1 if there is no worker or one would be refused.
    """
    config = ClusterConfig(address, model_paths, full_hash)
    if model is None and (model_paths or full_hash or revision):
        raise ConfigError(
            "--revision, --model-path-on-workers and --full-hash are about a model",
            "Name it: --model MODEL",
        )
    progress = Console(stderr=True, highlight=False)
    checkpoint = open_checkpoint(model, revision, fetching=fetching(False)) if model else None
    with (
        checkpoint or nullcontext(),
        progress.status(tr("asking the workers")) if progress.is_terminal else nullcontext(),
    ):
        request = Request(backend, device, calibrate, checkpoint, model_paths, full_hash)
        result = _survey(config, request)
    if as_json:
        print_document({"address": address, **result.describe()})
    else:
        output().print(survey_text(result))
    if not result.workers:
        raise click.ClickException("the cluster has no worker")
    if result.refused:
        raise click.ClickException(
            f"{len(result.refused)} of {len(result.workers)} workers would be refused"
        )


def _survey(config: ClusterConfig, request: Request) -> Survey:
    with connected(config, memory_budget(0).limit) as connection:
        return survey(connection.client, request)
