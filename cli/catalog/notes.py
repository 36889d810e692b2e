"""`catalog note`, `tag` and `forget`: change what the catalog says, never a model's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import confirm, with_database, yes_option
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.library.catalog import (
    Database,
    add_tags,
    find_model,
    forget,
    load_models,
    remove_tags,
    set_note,
)
from mlx_probe.report.terminal.plain import plain

from .argument import id_argument

__all__ = ["forget_command", "note_command", "tag_command"]


@click.command(
    "note",
    cls=Command,
    examples=(
        'mlx-probe catalog note Qwen/Qwen3-0.6B "baseline of the June runs"',
        "mlx-probe catalog note Qwen/Qwen3-0.6B --remove",
    ),
)
@id_argument
@click.argument("text", required=False)
@click.option("--remove", is_flag=True, help="Remove the note.")
@json_option
@with_database
def note_command(
    database: Database, name: str, text: str | None, remove: bool, as_json: bool
) -> None:
    """Write a note on a model, or print it."""
    model = find_model(load_models(database), name)
    if remove or text is not None:
        if remove and text:
            raise ConfigError("a note cannot be both written and removed", "Leave one out")
        set_note(database, model, _utf8(text or ""))
    if as_json:
        print_document(_known(database, model.key))
    elif model.note and not remove and text is None:
        click.echo(plain(model.note))


@click.command(
    "tag",
    cls=Command,
    examples=(
        "mlx-probe catalog tag Qwen/Qwen3-0.6B baseline small",
        "mlx-probe catalog tag Qwen/Qwen3-0.6B small --remove",
    ),
)
@id_argument
@click.argument("tags", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Remove the tags.")
@json_option
@with_database
def tag_command(
    database: Database, name: str, tags: tuple[str, ...], remove: bool, as_json: bool
) -> None:
    """Add tags to a model, to list it by."""
    model = find_model(load_models(database), name)
    (remove_tags if remove else add_tags)(database, model, tags)
    if as_json:
        print_document(_known(database, model.key))


@click.command(
    "forget",
    cls=Command,
    examples=(
        "mlx-probe catalog forget --missing",
        "mlx-probe catalog forget Qwen/Qwen3-0.6B --yes",
    ),
)
@click.argument("names", nargs=-1, metavar="[ID]...")
@click.option("--missing", is_flag=True, help="All models whose files are gone.")
@click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Do not search this folder any more; may be repeated.",
)
@yes_option
@json_option
@with_database
def forget_command(
    database: Database,
    names: tuple[str, ...],
    missing: bool,
    folders: tuple[Path, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Remove models with their notes and tags from the catalog; no file is touched."""
    if not names and not missing and not folders:
        raise ConfigError("nothing to forget", "Name models, or use --missing or --folder")
    models = load_models(database)
    chosen = {model.key: model for model in (find_model(models, name) for name in names)}
    chosen |= {model.key: model for model in models if missing and model.missing}
    noted = [model for model in chosen.values() if model.note or model.tags]
    if noted and as_json and not yes:
        raise ConfigError("--json asks no questions", "Add --yes")
    if noted and not yes:
        question = tr(
            "{count} of {total} models have notes or tags. Forget them?",
            count=len(noted),
            total=len(chosen),
        )
        confirm(question)
    forget(database, chosen.values(), folders)
    if as_json:
        gone = [{"key": model.key, "id": model.id} for model in chosen.values()]
        print_document({"forgotten": gone, "folders": [str(folder) for folder in folders]})
    else:
        output().print(tr("forgotten: {count}", count=len(chosen)), soft_wrap=True)


def _known(database: Database, key: str) -> dict[str, Any]:
    """Key, name, note and tags of a model, as they are now."""
    model = next(model for model in load_models(database) if model.key == key)
    return {"key": key, "id": model.id, "note": model.note, "tags": list(model.tags)}


def _utf8(text: str) -> str:
    """Text from a command line that need not be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
