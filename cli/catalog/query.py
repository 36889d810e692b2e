"""`catalog list`, `show` and `card`: read the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import with_database
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import SIZE
from mlx_probe.core.files import write_text
from mlx_probe.core.language import tr
from mlx_probe.library.catalog import (
    SORTS,
    Database,
    Query,
    card_text,
    find_model,
    find_versions,
    kin_of,
    load_models,
    named_kin,
    select_models,
)
from mlx_probe.report.terminal.catalog import model_text, models_json, models_table
from mlx_probe.report.terminal.plain import plain
from mlx_probe.report.terminal.text import printable
from mlx_probe.source.stores import STORES

from .argument import id_argument

__all__ = ["card_command", "list_command", "show_command"]


@click.command(
    "list",
    cls=Command,
    examples=(
        "mlx-probe catalog list --sort size --reverse",
        "mlx-probe catalog list --format gguf --larger 1GB",
        "mlx-probe catalog list --not-analyzed --json",
    ),
)
@click.option("--text", default="", help="Part of a name, path, licence, description or note.")
@click.option("--format", "format_", default="", help="safetensors, gguf ...")
@click.option("--architecture", default="", help="Part of it: llama, qwen ...")
@click.option("--dtype", default="", help="Part of a stored type: BF16, Q4_K, 4 bit ...")
@click.option(
    "--store",
    default="",
    type=click.Choice(["", *STORES]),
    metavar="STORE",
    help=f"One of {', '.join(STORES)}.",
)
@click.option("--licence", "--license", default="", help="Part of it.")
@click.option("--tag", "tags", multiple=True, help="May be repeated; models have all of them.")
@click.option("--larger", type=SIZE, metavar="SIZE", help="Smallest size (600MB, 1.5GiB).")
@click.option("--smaller", type=SIZE, metavar="SIZE", help="Largest size.")
@click.option("--analyzed/--not-analyzed", default=None, help="Whether a finished run is known.")
@click.option("--missing/--present", default=None, help="Whether the files are gone.")
@click.option("--unreadable/--readable", default=None, help="Whether the headers are unreadable.")
@click.option("--sort", default="name", metavar="FIELD", help=f"One of {', '.join(SORTS)}.")
@click.option("--reverse", is_flag=True, help="The largest first.")
@json_option
@with_database
def list_command(
    database: Database,
    /,
    sort: str,
    reverse: bool,
    as_json: bool,
    format_: str,
    analyzed: bool | None,
    missing: bool | None,
    unreadable: bool | None,
    **filters: Any,
) -> None:
    """List models, filtered and sorted."""
    query = Query(format=format_, analyzed=analyzed, missing=missing, problem=unreadable, **filters)
    every = load_models(database)
    models = select_models(every, query, sort, reverse)
    if as_json:
        print_document(models_json(models))
        return
    console = output()
    console.print(models_table(models, console.width))
    if not every:
        console.print(tr("The catalog is empty: run `mlx-probe catalog scan`"), soft_wrap=True)


@click.command(
    "show",
    cls=Command,
    examples=("mlx-probe catalog show Qwen/Qwen3-0.6B",),
)
@id_argument
@json_option
@with_database
def show_command(database: Database, name: str, as_json: bool) -> None:
    """Show all that is known about a model."""
    models = load_models(database)
    model = find_model(models, name)
    kin = kin_of(database, model.key)
    if as_json:
        known = [each.describe(model.key) for each in kin]
        print_document({**model.describe(), "kin": known})
    else:
        output().print(
            model_text(model, find_versions(model, models), named_kin(kin, model, models))
        )


@click.command(
    "card",
    cls=Command,
    examples=("mlx-probe catalog card Qwen/Qwen3-0.6B --out card.md",),
)
@id_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.md",
    help="Write the card to this file.  [default: print it]",
)
@json_option
@with_database
def card_command(database: Database, name: str, out: Path | None, as_json: bool) -> None:
    """Write a model card in Markdown from what the catalog knows."""
    models = load_models(database)
    model = find_model(models, name)
    text = card_text(model, models)
    if out is not None:
        write_text(out, text, errors="backslashreplace")
    if as_json:
        print_document({"key": model.key, "id": model.id, "out": out and str(out), "card": text})
    elif out is None:
        click.echo(plain(text), nl=False)
    else:
        output().print(printable(str(out)), soft_wrap=True)
