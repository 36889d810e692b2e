"""`mlx-probe lineage`."""

from __future__ import annotations

from itertools import combinations

import click

from mlx_probe.analysis.lineage import Fingerprint, LineageConfig, read_fingerprint, relate
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.errors import ConfigError
from mlx_probe.report.terminal.download_progress import download_progress
from mlx_probe.report.terminal.relation import relation_text

from .command import Command
from .console import output
from .document import json_option, print_document
from .options import complete_files

__all__ = ["lineage"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe lineage base tuned",
        "mlx-probe lineage --remote Qwen/Qwen3-0.6B Qwen/Qwen3-0.6B-Base",
    ),
)
@click.argument("models", nargs=-1, metavar="A B...", shell_complete=complete_files)
@click.option(
    "--remote",
    is_flag=True,
    help="Read the samples over the network and download no weights; for the Hub and addresses.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Decides which rows and layers are sampled.",
)
@json_option
def lineage(models: tuple[str, ...], remote: bool, seed: int, as_json: bool) -> None:
    """Say whether models A and B come from each other, and how, from samples of their weights.

    The relation is one of same, quantization, pruning, lora, merge, finetune and unrelated, with
    a probability and the evidence. Some rows of each matrix are read, never a whole model.
    """
    if len(models) < 2:
        raise ConfigError("lineage compares two models", "Name two: mlx-probe lineage A B")
    prints = [_fingerprint(model, remote, LineageConfig(seed=seed)) for model in models]
    relations = [relate(a, b) for a, b in combinations(prints, 2)]
    if as_json:
        documents = [relation.as_json() for relation in relations]
        print_document(documents[0] if len(models) == 2 else {"pairs": documents})
        return
    console = output()
    for relation in relations:
        console.print(relation_text(relation))


def _fingerprint(model: str, remote: bool, config: LineageConfig) -> Fingerprint:
    # A path is on this disk, whatever the others are.
    from mlx_probe.source.reference import exists

    fetching = download_progress(quiet=False)
    there = remote and not exists(model)
    with open_checkpoint(model, remote=there, fetching=fetching) as checkpoint:
        return read_fingerprint(checkpoint, config)
