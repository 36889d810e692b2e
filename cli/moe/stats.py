"""`mlx-probe moe stats`: the experts and routers of a mixture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.cli.analysis_options import backend_options
from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.counting_bar import counting_bar
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.incomplete import allow_unknown_option, refuse_unread
from mlx_probe.cli.options import (
    SIZE,
    config_option,
    format_option,
    model_argument,
    overwrite_option,
    quiet_option,
    resume_option,
    revision_option,
    watch_options,
    workers_option,
)
from mlx_probe.cli.progress import fetching
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.plain import plain
from mlx_probe.runs.mixture.folder import LAYERS
from mlx_probe.runs.monitor.watch import WatchConfig

if TYPE_CHECKING:
    from mlx_probe.runs.run import Run

__all__ = ["stats_command"]


@click.command(
    "stats",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe moe stats Qwen/Qwen3-30B-A3B --out ./stats",
        "mlx-probe moe stats allenai/OLMoE-1B-7B-0924 --data book.txt --tokens 4096",
        "mlx-probe moe stats ./mixture --memory-limit 1GB --format parquet --out ./stats",
    ),
)
@model_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the tables and maps.  [default: data/outputs/<model>-experts/<time>/]",
)
@click.option(
    "--data",
    metavar="TEXT",
    default="",
    show_default=False,
    help="Text that MODEL reads: what `mlx-probe evaluate` takes.  [default: nothing is run]",
)
@click.option(
    "--tokens",
    type=click.IntRange(2),
    metavar="N",
    default=2048,
    help="Tokens of that text, in rows of the model's context, at most 1,024.",
)
@format_option
@backend_options
@workers_option("Matrices")
@click.option(
    "--memory-limit",
    type=SIZE,
    default=0,
    help="Memory for the whole process, such as 1GB; 0 takes four fifths of what is free.",
)
@revision_option
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Of random vectors by which subspaces are found and hidden units are matched.",
)
@watch_options
@config_option
@resume_option
@overwrite_option
@allow_unknown_option
@json_option
@quiet_option
def stats_command(
    model: str,
    out: Path | None,
    formats: tuple[str, ...],
    revision: str | None,
    resume: bool,
    overwrite: bool,
    allow_unknown: bool,
    as_json: bool,
    quiet: bool,
    alert: tuple[str, ...],
    prometheus: int,
    **settings: Any,
) -> None:
    """Describe every expert and router of the mixture MODEL by its weights, and by what it does.

    Writes a row for each expert of each layer (spectra of its matrices, dead, copied and merged
    experts, likeness to others, its row of the router), a row for each layer, and maps of all
    pairs of experts, for any mixture that `mlx-probe analyze` opens. Nothing is run.

    With --data the mixture also reads a text, by mlx-lm: load, weight and REAP saliency of each
    expert, which tokens it likes, how alike it is to the ensemble; balance, entropy and margin of
    each router; and the routing of the first 512 tokens.

    Copies and merged experts are found whatever the order of their hidden units is.

    One layer at a time is measured, as much of it at once as --memory-limit holds. An interrupted
    run goes on with the next layer when the same command is given again.
    """
    from mlx_probe.lab.moe.stats.config import StatsConfig
    from mlx_probe.lab.moe.stats.stats import moe_stats
    from mlx_probe.report.mixture_data import load_mixture
    from mlx_probe.report.mixture_document import mixture_document
    from mlx_probe.report.mixture_summary import mixture_sentences
    from mlx_probe.report.terminal.mixture import sentences_text

    title = tr("rows of the text and experts") if settings["data"] else tr("experts")
    with counting_bar(title, MofNCompleteColumn(), quiet) as on_progress:
        run = moe_stats(
            model,
            out,
            formats=formats,
            revision=revision,
            config=StatsConfig(**settings),
            watch=WatchConfig(alert=alert, prometheus=prometheus),
            resume=resume,
            overwrite=overwrite,
            on_progress=on_progress,
            on_alert=on_progress.alert,
            fetching=fetching(quiet),
        )
    layers = run.sides[LAYERS].num_rows
    if as_json:
        print_document(mixture_document(run, layers))
    elif not quiet:
        console = output()
        console.print(_head(run, layers), markup=False, soft_wrap=True)
        console.print(sentences_text(mixture_sentences(load_mixture(run.meta_path))))
        console.print(_files(run), markup=False, soft_wrap=True)
    if not run.passed:
        raise click.ClickException("the validation failed\n  " + plain("\n  ".join(run.failures)))
    refuse_unread(run, allow_unknown)


def _head(run: Run, layers: int) -> str:
    meta = run.meta
    lines = [
        tr(
            "{model}: {experts} experts in {layers} layers, {seconds} s, {size} MB peak",
            model=plain(meta["model"]["id"]),
            experts=f"{sum(meta['rows_by_status'].values()):,}",
            layers=layers,
            seconds=f"{sum(meta['seconds'].values()):.1f}",
            size=f"{meta['peak_process_memory'] / 1e6:.0f}",
        )
    ]
    if "tokens" in meta:
        lines.append(
            tr(
                "{tokens} tokens of {data} read, loss {loss}",
                tokens=f"{meta['tokens']:,}",
                data=plain(meta["data"]),
                loss=f"{meta['loss']:.4f}",
            )
        )
    return "\n".join(lines)


def _files(run: Run) -> str:
    page = tr("`mlx-probe report {folder}` makes a page of it.", folder=plain(str(run.folder)))
    return "\n".join([*(f"  {path}" for path in (*run.outputs, run.meta_path)), page])
