"""`mlx-probe docs init`, `index` and `log`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.language import LANGUAGES, language, tr
from mlx_probe.report.terminal.text import printable

from .common import project_option

__all__ = ["index_command", "init_command", "log_command"]


@click.command(
    "init",
    cls=Command,
    examples=(
        "mlx-probe docs init notes",
        "mlx-probe docs init notes --lang zh --title Ranks",
    ),
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--lang",
    "wanted",
    type=click.Choice(LANGUAGES),
    help="Language of templates and index.  [default: that of the messages]",
)
@click.option("--title", default="", help="Name of the project.  [default: that of the folder]")
@json_option
def init_command(folder: Path, wanted: str | None, title: str, as_json: bool) -> None:
    """Make DIR a project of documents, with an index, a log and rules for coding assistants.

    What is there stays as it is; what is missing is made.
    """
    from mlx_probe.library.documents.making import make_project

    project, made = make_project(folder, wanted or language(), title)
    if as_json:
        print_document(
            {
                "project": str(project.folder),
                "language": project.language,
                "made": [str(path) for path in made],
            }
        )
        return
    console = output()
    for path in made:
        console.print(printable(str(path)), soft_wrap=True)
    if not made:
        console.print(tr("Nothing was missing."))


@click.command(
    "index",
    cls=Command,
    examples=("mlx-probe docs index", "mlx-probe docs index --dir notes"),
)
@project_option
@json_option
def index_command(folder: Path, as_json: bool) -> None:
    """Bring the list of documents in index.md up to date, by kind, with dates and states.

    The list stands between two comments; what is outside of them stays.
    """
    from mlx_probe.library.documents.index import entries_of, write_index
    from mlx_probe.library.documents.making import needed_project

    project = needed_project(folder)
    path, changed = write_index(project)
    if as_json:
        entries = [
            {
                "file": str(entry.path),
                "kind": entry.kind,
                "title": entry.title,
                "date": entry.date,
                "status": entry.status,
            }
            for entry in entries_of(project)
        ]
        print_document({"index": str(path), "changed": changed, "documents": entries})
    else:
        output().print(printable(str(path)), soft_wrap=True)


@click.command(
    "log",
    cls=Command,
    examples=('mlx-probe docs log "Rank collapses after 2,000 steps" --dir notes',),
)
@click.argument("words", metavar="TEXT...", nargs=-1, required=True)
@project_option
@json_option
def log_command(words: tuple[str, ...], folder: Path, as_json: bool) -> None:
    """Add TEXT as a line with date and time to the project's log."""
    from mlx_probe.library.documents.making import add_to_log, needed_project

    moment = datetime.now().astimezone()
    path = add_to_log(needed_project(folder), " ".join(words), moment)
    if as_json:
        print_document({"log": str(path), "at": moment.isoformat(timespec="seconds")})
    else:
        output().print(printable(str(path)), soft_wrap=True)
