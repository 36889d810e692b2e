"""`mlx-probe evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.core.files import write_text
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.evaluation import evaluation_text
from mlx_probe.runs.table.strict_json import document

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import config_option, device_option, model_argument, quiet_option

__all__ = ["evaluate"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe evaluate ./runs/shakespeare --data ./runs/shakespeare/data",
        "mlx-probe evaluate Qwen/Qwen3-0.6B --data book.txt --stride 512",
        "mlx-probe evaluate ./model --data corpus/ --out result.json --json",
    ),
)
@model_argument
@click.option(
    "--data",
    required=True,
    metavar="SOURCE",
    help="Tokenized data (a folder of `mlx-probe data tokenize`), or text: files, folders, "
    "packages, data sets.",
)
@click.option(
    "--split",
    type=click.Choice(["validation", "train"]),
    default="validation",
    help="Part of tokenized data; text is evaluated whole.",
)
@click.option(
    "--context",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Tokens that the model sees at most; 0 for its own context, at most 2048.",
)
@click.option(
    "--stride",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Tokens between the beginnings of two windows; 0 for the context. Smaller ones predict "
    "each token from more text, and take longer.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Tokens to predict, at most, rounded up to a window; 0 for all.",
)
@click.option(
    "--document",
    metavar="KIND",
    default="auto",
    help="What one document of text is: file, paragraph, line, chunk or auto.",
)
@click.option(
    "--text-column", metavar="NAME", default="text", help="Column of JSONL and Parquet files."
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the resamples.")
@device_option("Where the model runs; auto takes a GPU where MLX has one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Write the JSON document into a file as well.",
)
@config_option
@json_option
@quiet_option
def evaluate(
    model: str,
    data: str,
    device: str,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Measure how well MODEL predicts a text: loss, perplexity and bits per byte.

    MODEL is what `mlx-probe generate` takes. Text is encoded by the model's own tokenizer;
    tokenized data are taken as they are if their tokenizer is the model's, and encoded anew
    otherwise. Compare models with different tokenizers by bits per byte.

    The intervals say how far the numbers would move with other documents (bootstrap, 95 %).
    """
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.evaluate.config import EvaluateConfig
    from mlx_probe.lab.evaluate.evaluate import evaluate as run_evaluation

    config = EvaluateConfig(**settings)
    use_device(device)  # type: ignore[arg-type]
    with counting_bar(tr("evaluating"), MofNCompleteColumn(), quiet) as on_progress:
        result = run_evaluation(model, data, config=config, on_progress=on_progress)
    if out is not None:
        write_text(out, document(result) + "\n")
    if as_json:
        print_document(result)
    elif not quiet:
        output().print(evaluation_text(result), markup=False, soft_wrap=True)
