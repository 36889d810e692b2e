"""`mlx-probe compare`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.core.counts import rows_text
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.documents import run_document
from mlx_probe.report.terminal.compare import comparison_summary
from mlx_probe.report.terminal.cost import cost_text
from mlx_probe.report.terminal.download_progress import download_progress
from mlx_probe.report.terminal.extraction import extraction_text
from mlx_probe.report.terminal.plain import plain
from mlx_probe.report.terminal.text import printable, warning_text
from mlx_probe.runs.load import read_table
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.run import Run

from .analysis_options import backend_options
from .command import Command
from .console import alert_line, output
from .document import json_option, print_document
from .extract_options import extract_options, extracting
from .incomplete import allow_unknown_option, refuse_unread
from .options import (
    SIZE,
    comparing_cluster_options,
    complete_files,
    config_option,
    format_option,
    out_option,
    overwrite_option,
    quiet_option,
    resume_option,
    spread_over,
    watch_options,
    workers_option,
)

__all__ = ["compare"]

_DEFAULT = CompareConfig()


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe compare Qwen/Qwen3-0.6B-Base Qwen/Qwen3-0.6B",
        "mlx-probe compare ./base ./adapter --directions 0",
        "mlx-probe compare ./base ./tuned --extract-lora 16 --out ./difference",
    ),
)
@click.argument("a", metavar="A", shell_complete=complete_files)
@click.argument("b", metavar="B", shell_complete=complete_files)
@out_option("data/outputs/<A>--vs--<B>/<time>/")
@format_option
@backend_options
@click.option("--include", multiple=True, metavar="GLOB", help="Only tensors of such names in A.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No tensors of such names in A.")
@click.option(
    "--rank-tol",
    type=click.FloatRange(1e-9, 1, max_open=True),
    metavar="SHARE",
    default=_DEFAULT.rank_tol,
    help="delta_rank counts singular values of the difference above this share of its largest.",
)
@click.option(
    "--directions",
    type=click.IntRange(0),
    metavar="K",
    default=_DEFAULT.directions,
    help="Leading singular directions whose overlap is taken; 0 for no singular vectors at all.",
)
@click.option(
    "--intruder-directions",
    type=click.IntRange(1),
    metavar="K",
    default=_DEFAULT.intruder_directions,
    help="Leading singular vectors of B that are looked at for intruder dimensions.",
)
@click.option(
    "--intruder-epsilon",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="COSINE",
    default=_DEFAULT.intruder_epsilon,
    help="One is an intruder if its cosine with every singular vector of A is below this.",
)
@workers_option("Matrices")
@click.option(
    "--memory-limit",
    type=SIZE,
    default=_DEFAULT.memory_limit,
    help="Memory for the whole process, such as 600MB; 0 takes four fifths of what is free. "
    "Matrices whose singular vectors do not fit get the other columns, and the reason.",
)
@click.option("--revision-a", metavar="REV", help="Commit, branch, tag or version of A.")
@click.option("--revision-b", metavar="REV", help="Commit, branch, tag or version of B.")
@extract_options
@watch_options
@comparing_cluster_options
@config_option
@resume_option
@overwrite_option
@allow_unknown_option
@json_option
@quiet_option
def compare(
    a: str,
    b: str,
    out: Path | None,
    formats: tuple[str, ...],
    revision_a: str | None,
    revision_b: str | None,
    resume: bool,
    overwrite: bool,
    allow_unknown: bool,
    as_json: bool,
    quiet: bool,
    alert: tuple[str, ...],
    prometheus: int,
    cluster: str | None,
    model_paths: tuple[str, ...],
    other_model_paths: tuple[str, ...],
    full_hash: bool,
    **settings: Any,
) -> None:
    """Compare models A and B matrix by matrix, or a base A and its adapter B.

    A and B are base and tuned model, before and after quantization, or two training steps; each
    is any MODEL, or a finished run of `analyze` for the run's model. Tensors are matched by
    name, or by their role in the network, so that a GGUF finds its counterparts in a Hugging
    Face repository. Writes one row for each: relative change and cosine, rank and effective
    rank of the difference, overlap of the leading singular directions, intruder dimensions.
    What has no counterpart or another shape is listed as such; models with nothing in common
    are refused. With --extract-lora or --energy the difference becomes an adapter as well, with
    the error of each matrix.
    """
    run_comparison, adapter = extracting(settings)
    progress = Console(stderr=True, highlight=False)
    spinner = progress.status("") if progress.is_terminal and not quiet else nullcontext()
    with spinner as status:

        def show(done: int, total: int, label: str) -> None:
            if status is not None:
                counted = tr("{done} of {total}", done=done, total=total)
                status.update(f"{counted}  {printable(translated(label))}")

        def print_alert(text: str, is_warning: bool) -> None:
            if not quiet:
                progress.print(alert_line(text, is_warning), soft_wrap=True)

        run = run_comparison(
            a,
            b,
            out=out,
            formats=formats,
            revision_a=revision_a,
            revision_b=revision_b,
            config=CompareConfig(**settings),
            watch=WatchConfig(alert=alert, prometheus=prometheus),
            resume=resume,
            overwrite=overwrite,
            on_row=None if quiet else show,
            on_alert=print_alert,
            fetching=download_progress(quiet),
            cluster=spread_over(cluster, model_paths, full_hash, other_model_paths),
            **adapter,
        )
    if as_json:
        print_document(run_document(run))
    elif not quiet:
        _print_summary(run)
    if not run.passed:
        raise click.ClickException("the validation failed\n  " + plain("\n  ".join(run.failures)))
    refuse_unread(run, allow_unknown)


def _print_summary(run: Run) -> None:
    """Print what a comparison found and took, and where it is."""
    console = output()
    table, _, meta = read_table(run.meta_path)
    console.print(comparison_summary(table.to_pylist(), meta))
    if extraction := meta.get("extraction"):
        console.print(extraction_text(extraction))
    console.print(
        tr(
            "{rows} in {seconds} s, {size} MB peak, {backend}",
            rows=rows_text(table.num_rows),
            seconds=f"{meta['seconds']['measure']:.1f}",
            size=f"{meta['peak_process_memory'] / 1e6:.0f}",
            backend=translated(meta["backend_reason"]),
        )
    )
    console.print(cost_text(meta))
    if run.unread is not None:
        console.print(warning_text(run.unread), soft_wrap=True)
    for path in (*run.outputs, run.meta_path):
        console.print(f"  {path}", soft_wrap=True, markup=False)
