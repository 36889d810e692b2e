"""`mlx-probe merge`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import DownloadColumn

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import config_option, quiet_option

if TYPE_CHECKING:
    from mlx_probe.lab.merge import Merged

__all__ = ["merge"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe merge Qwen/Qwen3-0.6B ./runs/tools --out ./qwen3-tools",
        "mlx-probe merge ./base-4bit ./adapter --out ./merged --dtype bfloat16",
    ),
)
@click.argument("base", metavar="BASE")
@click.argument("adapter", metavar="ADAPTER")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="The folder to write: new, empty, or with a model that was merged before.",
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    help="Type of all weights; auto keeps theirs, and unpacks packed ones to that of config.json.",
)
@config_option
@json_option
@quiet_option
def merge(base: str, adapter: str, out: Path, dtype: str, as_json: bool, quiet: bool) -> None:
    """Write BASE with ADAPTER merged into it, as one model.

    BASE is a model in Hugging Face's layout, wherever it is; packed weights are unpacked. ADAPTER
    is an adapter of PEFT or mlx-lm (LoRA, DoRA, and every kind that `mlx-probe compare` computes),
    or the folder of a tuning run.

    The sums are made in float64 and rounded once; what the adapter leaves alone keeps every bit.
    One matrix at a time is in memory. An adapter that does not fit the base is refused.
    """
    from mlx_probe.lab.merge import merge_adapter

    with counting_bar(tr("merging"), DownloadColumn(), quiet) as on_progress:
        merged = merge_adapter(base, adapter, out, dtype, on_progress)
    if as_json:
        print_document({**asdict(merged), "folder": str(merged.folder)})
    elif not quiet:
        output().print(_text(merged), markup=False, soft_wrap=True)


def _text(merged: Merged) -> str:
    lines = [
        tr(
            "{folder}: {size}, {tensors} tensors of {parameters} numbers",
            folder=merged.folder,
            size=format_size(merged.bytes),
            tensors=merged.tensors,
            parameters=f"{merged.parameters:,}",
        ),
        tr(
            "{kind} of {layout}, rank {ranks}: {changed} tensors changed",
            kind=merged.kind,
            layout=merged.layout,
            ranks=", ".join(map(str, merged.ranks)) or "-",
            changed=merged.changed,
        ),
        *(translated(note) for note in merged.notes),
    ]
    return "\n".join(lines)
