"""`mlx-probe knowledge`."""

from __future__ import annotations

from pathlib import Path

import click

from .command import Command
from .console import output
from .document import json_option, print_document

__all__ = ["knowledge"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe knowledge rank collapse",
        "mlx-probe knowledge '\"out of memory\" batch' --dir notes",
        "mlx-probe knowledge rank --json",
    ),
)
@click.argument("words", metavar="QUERY...", nargs=-1, required=True)
@click.option(
    "--dir",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Search below this folder; may be repeated.  [default: this folder's project, or this "
    "folder, and all projects that `docs` has made or used]",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many places to show.",
)
@json_option
def knowledge(words: tuple[str, ...], folders: tuple[Path, ...], limit: int, as_json: bool) -> None:
    """Search in all documents for the words of QUERY.

    The best place is first: a word in a title or heading counts more than one in the text, the
    beginning of a word is enough, and words in quotation marks have to follow each other. Where no
    section has all of the words, those that have any are shown. Chinese is found character by
    character.
    """
    from mlx_probe.library.documents.knowledge import search
    from mlx_probe.library.documents.known import known_projects
    from mlx_probe.library.documents.project import project_of

    # One argument with blanks is several words, as several arguments are.
    query = " ".join(words)
    wanted = list(folders)
    if not wanted:
        here = project_of(Path())
        wanted = [here.folder if here is not None else Path()]
        wanted += [path for path in known_projects() if here is None or path != here.folder]
    hits = search(query, wanted, limit)
    if as_json:
        print_document(
            [
                {
                    "file": str(hit.file),
                    "line": hit.line,
                    "title": hit.title,
                    "heading": hit.heading,
                    "snippet": hit.snippet,
                    "highlights": [list(span) for span in hit.spans],
                }
                for hit in hits
            ]
        )
        return
    from mlx_probe.report.terminal.documents import hits_text

    output().print(hits_text(hits), soft_wrap=True)
