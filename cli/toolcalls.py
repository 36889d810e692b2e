"""`mlx-probe data toolcalls`."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.lab.data.toolcalls.config import SYSTEM, ToolCallsConfig
from mlx_probe.lab.data.toolcalls.formats import FORMATS
from mlx_probe.lab.data.toolcalls.prepare import prepare_toolcalls
from mlx_probe.report.terminal.toolcalls import toolcalls_text
from mlx_probe.runs.monitor.watch import WatchConfig

from .command import Command
from .console import output
from .document import json_option, print_document
from .options import complete_files, overwrite_option, quiet_option, watch_options
from .progress import fetching
from .tokenizing import tokenizing

__all__ = ["toolcalls_command"]

# What the document has of run_meta.json.
_SHOWN = ("formats", "rows", "parts", "rejected", "split", "notes", "outputs")


@click.command(
    "toolcalls",
    cls=Command,
    examples=(
        "mlx-probe data toolcalls hub:owner/xlam-60k --out data/xlam",
        "mlx-probe data toolcalls pypi:bfcl-eval --items simple_python:0-99 --out calls",
        "mlx-probe data toolcalls own.jsonl --tokenizer MODEL --out data/own",
    ),
)
@click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE...", shell_complete=complete_files
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for the examples.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["auto", *FORMATS]),
    default="auto",
    help="Format of the rows; auto takes the one that fits.",
)
@click.option(
    "--items",
    multiple=True,
    metavar="NAME[:ROWS]",
    help="Take this file alone, or some of its rows, such as simple_python:100-379, counted from "
    "0; may be repeated.",
)
@click.option(
    "--system",
    metavar="TEXT",
    help="System prompt of examples that have none; '' for none.  [default: one that explains how "
    "to call]",
)
@click.option(
    "--no-call",
    metavar="TEXT",
    default="",
    help="Answer to questions that no function fits, where the data give none; without it they "
    "are left out.",
)
@click.option(
    "--tokenizer",
    "--model",
    metavar="MODEL",
    default="",
    help="Render every example with the chat template of this model, and count its tokens.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Leave longer examples out; needs --tokenizer; 0 for no limit.",
)
@click.option(
    "--valid",
    type=float,
    metavar="SHARE",
    default=0.1,
    help="Share of the examples for validation.",
)
@click.option(
    "--test", type=float, metavar="SHARE", default=0.1, help="Share of the examples for tests."
)
@click.option(
    "--split-by",
    type=click.Choice(["offered", "called"]),
    default="offered",
    help="Keep examples together that share a function: one that they offer, or one that they "
    "call.",
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", default=0, help="Decides what is in which part."
)
@overwrite_option
@json_option
@watch_options
@quiet_option
def toolcalls_command(
    sources: tuple[str, ...],
    out: Path,
    format_: str,
    items: tuple[str, ...],
    system: str | None,
    no_call: str,
    tokenizer: str,
    max_tokens: int,
    valid: float,
    test: float,
    split_by: str,
    seed: int,
    overwrite: bool,
    alert: tuple[str, ...],
    prometheus: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Turn data sets of function calls into chat data to train on.

    SOURCE is a file or folder of JSON or Parquet, compressed or not; pypi:PACKAGE; or
    hub:OWNER/NAME, a data set. Its rows are of a format that is known: xLAM, ShareGPT with tools,
    OpenAI's messages, BFCL, or what this command writes.

    Each call is checked against the schema of its function. What does not hold is left out,
    counted by reason, and listed in rejected.jsonl. Examples that share a function are in the
    same part.
    """
    config = ToolCallsConfig(
        sources=sources,
        format=format_,
        items=items,
        system=SYSTEM if system is None else system,
        no_call=no_call,
        valid=valid,
        test=test,
        split_by=split_by,
        seed=seed,
        tokenizer=tokenizer,
        max_tokens=max_tokens,
    )
    with tokenizing(quiet) as progress:
        meta = prepare_toolcalls(
            config,
            out,
            on_progress=progress.update,
            overwrite=overwrite,
            watch=WatchConfig(alert=alert, prometheus=prometheus),
            on_alert=progress.alert,
            download=fetching(quiet),
        )
    described = {"folder": str(out), **{key: meta[key] for key in _SHOWN}}
    if as_json:
        print_document(described)
    elif not quiet:
        output().print(toolcalls_text(described), soft_wrap=True)
