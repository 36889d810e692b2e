"""`mlx-probe docs index`: the list of a project's documents, in its index.md."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import write_text
from mlx_probe.core.language import speaking, tr
from mlx_probe.core.markdown import escaped, table
from mlx_probe.core.messages import translated

from .check import find_documents
from .project import KINDS, Project
from .reading import read_page
from .templates import filled_template

__all__ = ["INDEX_PART", "Entry", "entries_of", "index_text", "write_index"]

_MARKS = ("<!-- docs-index -->", "<!-- /docs-index -->")
INDEX_PART = re.compile(
    rf"^{re.escape(_MARKS[0])}[ \t]*$.*?^{re.escape(_MARKS[1])}[ \t]*$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Entry:
    """A document in the list.

    Attributes:
        path: Its file.
        kind: Key of `KINDS`; "" for another page.
        title: Its title, or its file's name.
        date: As it says; "" if it does not.
        status: As it says.
    """

    path: Path
    kind: str
    title: str
    date: str
    status: str


def entries_of(project: Project) -> list[Entry]:
    """The documents of a project that say their kind, by kind, the latest first."""
    found = []
    for path in find_documents(project.folder):
        try:
            page = read_page(path.read_text("utf-8"))
        except (OSError, UnicodeError):
            continue  # `docs check` says so
        front = page.front
        if front.text("kind") in KINDS:
            title = page.title or path.stem
            found.append(
                Entry(path, front.text("kind"), title, front.text("date"), front.text("status"))
            )
    found.sort(key=lambda entry: entry.title.lower())
    found.sort(key=lambda entry: entry.date, reverse=True)
    order = list(KINDS)
    return sorted(found, key=lambda entry: order.index(entry.kind))


def index_text(project: Project) -> str:
    """The list of a project's documents, Markdown in the project's language."""
    entries = entries_of(project)
    parts = []
    with speaking(project.language):
        for name, kind in KINDS.items():
            rows = [
                (
                    escaped(entry.date),
                    f"[{escaped(entry.title)}]({_link(project, entry)})",
                    escaped(_status(entry.status)),
                )
                for entry in entries
                if entry.kind == name
            ]
            if rows:
                header = (tr("date"), tr("document"), tr("status"))
                parts.append(f"## {translated(kind.title)}\n\n{table(header, rows)}")
        return "\n\n".join(parts) or tr("No documents yet.")


def _status(status: str) -> str:
    words = {"draft": tr("draft"), "finished": tr("finished"), "superseded": tr("superseded")}
    return words.get(status, status)


def _link(project: Project, entry: Entry) -> str:
    relative = os.path.relpath(entry.path, project.folder).replace(os.sep, "/")
    # Chinese stays readable; what would end the link does not stay.
    return "".join(c if c.isalnum() or c in "-_./" else quote(c) for c in relative)


def write_index(project: Project) -> tuple[Path, bool]:
    """Bring the list in a project's index.md up to date.

    Returns:
        The file, and whether it has changed.

    Raises:
        ResultError: It has no marks, cannot be read, or the disk refused.
    """
    path = project.folder / "index.md"
    try:
        text = path.read_text("utf-8") if path.exists() else ""
    except (OSError, UnicodeError) as error:
        raise ResultError(f"cannot read {path}: {error}", "Mend it, or move it away") from error
    before = text
    if not text:
        title = project.title or project.folder.name
        text = filled_template("index", project.language, {"title": title})
    body = f"{_MARKS[0]}\n\n{index_text(project)}\n\n{_MARKS[1]}"
    if INDEX_PART.search(text) is None:
        raise ResultError(
            f"{path} does not say where the list goes",
            f"Write two lines where it should be: {_MARKS[0]} and {_MARKS[1]}",
        )
    text = INDEX_PART.sub(lambda part: body, text, count=1)
    if text != before:
        try:
            write_text(path, text)
        except ResultError as error:
            remedy = "Check the permissions of its folder and the space on its disk"
            raise ResultError(error.fact, remedy) from error
    return path, text != before
