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
    from collections.abc import Mapping

    from mlx_probe.runs.run import Run

__all__ = ["stats_command"]

# Experts of each list that are shown.
_MOST = 5


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
    help="Folder for the tables and maps.  [default: data/outputs/<model>/<time>/]",
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
    from mlx_probe.report.mixture_document import mixture_document

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
            fetching=fetching(quiet),
        )
    layers = run.sides[LAYERS].num_rows
    if as_json:
        print_document(mixture_document(run, layers))
    elif not quiet:
        output().print(_text(run, layers), markup=False, soft_wrap=True)
    if not run.passed:
        raise click.ClickException("the validation failed\n  " + plain("\n  ".join(run.failures)))
    refuse_unread(run, allow_unknown)


def _text(run: Run, layers: int) -> str:
    meta = run.meta
    found: Mapping[str, Any] = meta["found"]
    lines = [
        tr(
            "{model}: {experts} experts in {layers} layers, {seconds} s, {size} MB peak",
            model=plain(meta["model"]["id"]),
            experts=f"{sum(meta['rows_by_status'].values()):,}",
            layers=layers,
            seconds=f"{sum(meta['seconds'].values()):.1f}",
            size=f"{meta['peak_process_memory'] / 1e6:.0f}",
        ),
        _listed(tr("dead"), [_place(each) for each in found["dead"]]),
        _listed(tr("copies"), [f"{_place(each)} = {each['of']}" for each in found["copies"]]),
        _listed(
            tr("merged"),
            [f"{_place(each)} = {each['first']} + {each['second']}" for each in found["merged"]],
        ),
        _listed(
            tr("preferred by the router"),
            [f"{_place(each)} ({each['ratio']:.1f})" for each in found["preferred"]],
        ),
        _listed(tr("always chosen"), [_place(each) for each in found["always_chosen"]]),
        _listed(tr("never chosen"), [_place(each) for each in found["never_chosen"]]),
        *(_routed(run) if "tokens" in meta else ()),
        *(f"  {path}" for path in (*run.outputs, run.meta_path)),
    ]
    return "\n".join(lines)


def _routed(run: Run) -> list[str]:
    """What the mixture did when it read a text."""
    meta, layers = run.meta, run.sides[LAYERS]
    known = [
        (effective, experts)
        for effective, experts in zip(
            layers["effective_experts"].to_pylist(), layers["experts"].to_pylist(), strict=True
        )
        if effective is not None
    ]
    lines = [
        tr(
            "{tokens} tokens of {data} read, loss {loss}",
            tokens=f"{meta['tokens']:,}",
            data=plain(meta["data"]),
            loss=f"{meta['loss']:.4f}",
        )
    ]
    if known:
        effective, experts = min(known)
        lines.append(
            tr(
                "effective experts of a layer: {least} of {experts} and more",
                least=f"{effective:.1f}",
                experts=experts,
            )
        )
    unused = [_place(each) for each in meta["found"]["unused"]]
    return [*lines, _listed(tr("without a token of the text"), unused)]


def _place(each: Mapping[str, Any]) -> str:
    """Layer and number of an expert."""
    return f"{each['layer']}.{each['expert']}"


def _listed(name: str, places: list[str]) -> str:
    if not places:
        return tr("{name}: none", name=name)
    more = tr(" and {count} more", count=len(places) - _MOST) if len(places) > _MOST else ""
    return tr(
        "{name} (layer.expert): {places}{more}",
        name=name,
        places=", ".join(places[:_MOST]),
        more=more,
    )
