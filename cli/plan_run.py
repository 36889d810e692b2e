"""`mlx-probe plan run MODEL`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.core.language import tr

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import SIZE, device_option, model_argument, revision_option

__all__ = ["plan_run"]


@click.command(
    "run",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe plan run Qwen/Qwen3-0.6B",
        "mlx-probe plan run ./my-model --bits 8 --bits 4 --context 8192 --quality all",
        "mlx-probe plan run deepseek-ai/DeepSeek-V3 --memory 512GB --bandwidth 819GB --json",
    ),
)
@model_argument
@click.option(
    "--bits",
    "widths",
    multiple=True,
    type=click.Choice(["16", "8", "6", "5", "4", "3", "2"]),
    default=("16", "8", "6", "4"),
    help="Bits of the matrices, by MLX's affine quantization; 16 for none. May be repeated.",
)
@click.option(
    "--context",
    "contexts",
    multiple=True,
    type=click.IntRange(1, 1 << 24),
    metavar="TOKENS",
    default=(4096, 32768),
    help="Tokens of prompt and answer; may be repeated.",
)
@click.option(
    "--memory",
    type=SIZE,
    default=0,
    show_default="what the device holds",
    help="Memory that the model may take, such as 400GB.",
)
@click.option(
    "--bandwidth",
    type=SIZE,
    default=0,
    show_default="measured here",
    help="Memory bandwidth of another machine for each second, such as 819GB: speeds are upper "
    "bounds then.",
)
@click.option(
    "--quality",
    type=click.Choice(["sample", "all", "none"]),
    default="sample",
    help="Round the matrices of four layers, of all, or none, to say what fewer bits cost.",
)
@revision_option
@device_option("Where it would run; auto takes the GPU where there is one.")
@json_option
def plan_run(
    model: str,
    widths: Sequence[str],
    contexts: Sequence[int],
    memory: int,
    bandwidth: int,
    quality: str,
    revision: str | None,
    device: Any,
    as_json: bool,
) -> None:
    """Show how MODEL would run: which widths fit, how fast, and what rounding costs.

    Memory is that of weights, keys and values, and of reading a prompt. Speed follows from the
    bytes that a new token reads and from products that are timed here. The cost of
    fewer bits is the engine's quantization error: how much rounding changes the weights, not the
    answers. The exit code is 1 if no width fits at any of the contexts.
    """
    from mlx_probe.lab.plan_run.plan_run import plan_run as plan_it
    from mlx_probe.report.terminal.run_plan import run_plan_text

    with counting_bar(tr("matrices"), MofNCompleteColumn(), quiet=as_json) as on_progress:
        plan = plan_it(
            model,
            revision=revision,
            widths=[int(bits) for bits in widths],
            contexts=contexts,
            memory=memory,
            bandwidth=float(bandwidth),
            quality=quality,
            device=device,
            on_matrix=on_progress,
        )
    document = {**asdict(plan), "fits": plan.fits}
    if as_json:
        print_document(document)
    else:
        output().print(run_plan_text(document))
    if not plan.fits:
        raise click.ClickException("it does not fit: see the advice above")
