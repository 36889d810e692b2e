"""`mlx-probe export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import DownloadColumn

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.lab.export import EXPORTS
from mlx_probe.lab.export.gguf import TYPES

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import config_option, model_argument, quiet_option

if TYPE_CHECKING:
    from mlx_probe.lab.export import Exported

__all__ = ["export"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe export ./runs/shakespeare --to gguf --out shakespeare.gguf",
        "mlx-probe export Qwen/Qwen3-0.6B --to gguf --type f16 --out qwen3-0.6b-f16.gguf",
        "mlx-probe export ./model --to gguf --type bf16 --out model.gguf --json",
    ),
)
@model_argument
@click.option("--to", type=click.Choice(list(EXPORTS)), required=True, help="The format.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["auto", *TYPES]),
    default="auto",
    help="Type of the matrices; auto takes the one that they are stored in.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="The file to write; one that is there is replaced.",
)
@config_option
@json_option
@quiet_option
def export(model: str, to: str, kind: str, out: Path, as_json: bool, quiet: bool) -> None:
    """Write MODEL in the format of another program, with its tokenizer.

    MODEL is a model in Hugging Face's layout (config.json, safetensors, tokenizer.json), wherever
    it is, or the folder of a finished training run. gguf is one file for llama.cpp, and what is
    built on it; architectures: llama and qwen3.

    The file is written beside FILE and renamed at the end. A type that the weights are stored in
    keeps every bit of them. A model or tokenizer that would become another one is refused.
    """
    with counting_bar(tr("exporting"), DownloadColumn(), quiet) as on_progress:
        exported = EXPORTS[to](model, out, kind, on_progress)
    if as_json:
        print_document({"to": to, **asdict(exported), "file": str(exported.file)})
    elif not quiet:
        output().print(_text(exported), markup=False, soft_wrap=True)


def _text(exported: Exported) -> str:
    lines = [
        tr(
            "{file}: {size}, {tensors} tensors of {parameters} numbers, {type}",
            file=exported.file,
            size=format_size(exported.bytes),
            tensors=exported.tensors,
            parameters=f"{exported.parameters:,}",
            type=exported.type,
        ),
        tr(
            "architecture {architecture}; tokenizer {tokenizer} with {vocabulary} tokens",
            architecture=exported.architecture,
            tokenizer=exported.tokenizer,
            vocabulary=f"{exported.vocabulary:,}",
        ),
        *(translated(note) for note in exported.notes),
    ]
    return "\n".join(lines)
