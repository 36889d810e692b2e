"""`mlx-probe export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import DownloadColumn

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.lab.export import FORMATS

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import config_option, model_argument, quiet_option

if TYPE_CHECKING:
    from mlx_probe.lab.export import Exported

__all__ = ["export"]

_BITS = [name for name in FORMATS["mlx"].types if name.endswith("bit")]
_TYPES = [name for form in FORMATS.values() for name in form.types if name not in _BITS]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe export Qwen/Qwen3-0.6B --to gguf --type q8_0 --out qwen3-q8.gguf",
        "mlx-probe export ./model --to mlx --bits 4 --out ./model-4bit",
        "mlx-probe export ./adapter --to peft --out ./adapter-peft --json",
    ),
)
@model_argument
@click.option("--to", type=click.Choice(list(FORMATS)), required=True, help="The format.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["auto", *dict.fromkeys(_TYPES)]),
    default="auto",
    help="Type of the matrices; auto takes the one that they are stored in.",
)
@click.option(
    "--bits",
    type=click.Choice([name.removesuffix("bit") for name in _BITS]),
    help="Pack the matrices into so many bits a number; for --to mlx.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    required=True,
    help="The file to write, which is replaced; for mlx and peft an empty or new folder.",
)
@config_option
@json_option
@quiet_option
def export(
    model: str,
    to: str,
    kind: str,
    bits: str | None,
    out: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write MODEL in the format of another program.

    MODEL is a model in Hugging Face's layout (config.json, safetensors, tokenizer.json), wherever
    it is, or the folder of a finished training run; for peft an adapter of mlx-lm.

    gguf is one file for llama.cpp, and what is built on it, tokenizer included; model types:
    llama, mistral, qwen2, qwen3, qwen3_moe, gemma, gemma2, gemma3_text and phi3. mlx is a folder
    as mlx-lm's convert writes it. peft is a LoRA or DoRA as PEFT stores it.

    A type that the weights are stored in keeps every bit of them. A model or tokenizer that would
    become another one is refused.
    """
    kind = _kind(to, kind, bits)
    with counting_bar(tr("exporting"), DownloadColumn(), quiet) as on_progress:
        exported = FORMATS[to].export(model, out, kind, on_progress)
    if as_json:
        print_document({"to": to, **asdict(exported), "file": str(exported.file)})
    elif not quiet:
        output().print(_text(exported), markup=False, soft_wrap=True)


def _kind(to: str, kind: str, bits: str | None) -> str:
    """The one type that two options name."""
    if bits is not None:
        if to != "mlx" or kind != "auto":
            raise ConfigError(
                f"--bits with --to {to} --type {kind}",
                "Give --bits for --to mlx alone, and --type for the others",
            )
        return f"{bits}bit"
    if kind not in ("auto", *FORMATS[to].types):
        known = [name for name in FORMATS[to].types if name not in _BITS]
        raise ConfigError(f"--to {to} writes no {kind}", f"Choose auto, {', '.join(known)}")
    return kind


def _text(exported: Exported) -> str:
    lines = [
        tr(
            "{file}: {size}, {tensors} tensors of {parameters} numbers, {type}",
            file=exported.file,
            size=format_size(exported.bytes),
            tensors=exported.tensors,
            parameters=f"{exported.parameters:,}",
            type=exported.type,
        )
    ]
    if exported.tokenizer is not None:
        lines.append(
            tr(
                "architecture {architecture}; tokenizer {tokenizer} with {vocabulary} tokens",
                architecture=exported.architecture,
                tokenizer=exported.tokenizer,
                vocabulary=f"{exported.vocabulary:,}",
            )
        )
    return "\n".join([*lines, *(translated(note) for note in exported.notes)])
