"""`mlx-probe docs init`, `new` and `log`: make a project and its documents."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ResultError

from .known import remember_project
from .naming import document_id, file_stem
from .project import KINDS, MARKER, VERSION, Project, project_of, read_project
from .templates import filled_template, front_matter_text, yaml_lines
from .writing import append_line, write_new

__all__ = ["NewDocument", "add_to_log", "make_document", "make_project", "needed_project"]

_PAGES = ("index", "log", "rules")


@dataclass(frozen=True)
class NewDocument:
    """What a new document is about.

    Attributes:
        kind: Key of `KINDS`.
        title: Its title.
        day: Its date.
        entries: Further front matter: run, model and their hashes.
        values: Markdown by field of the template.
    """

    kind: str
    title: str
    day: date
    entries: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


def make_project(folder: Path, language: str, title: str = "") -> tuple[Project, list[Path]]:
    """Make a project of documents; of one that is there, what it lacks.

    Args:
        folder: The folder; made if it is not there.
        language: Of its templates; one that is there keeps its own.
        title: Its name; "" for that of the folder.

    Returns:
        The project, and the files that were made.

    Raises:
        ConfigError: The folder is in another project, or its file makes no sense.
        ResultError: The disk refused.
    """
    above = project_of(folder.absolute().parent)
    if above is not None:
        raise ConfigError(
            f"{folder} is inside of the project {above.folder}",
            "Use that one, or choose a folder outside of it",
        )
    made = []
    name = title or folder.absolute().name
    if not (folder / MARKER).exists():
        settings = {"version": VERSION, "language": language, "title": name}
        write_new(folder / MARKER, yaml_lines(settings))
        made.append(folder / MARKER)
    project = read_project(folder)
    for page in _PAGES:
        path = folder / f"{page}.md"
        if not path.exists():
            heading = project.title or name
            write_new(path, filled_template(page, project.language, {"title": heading}))
            made.append(path)
    remember_project(folder)
    return project, made


def needed_project(folder: Path) -> Project:
    """The project that a folder is in.

    Raises:
        ConfigError: It is in none.
    """
    project = project_of(folder)
    if project is None:
        return read_project(folder)
    remember_project(project.folder)
    return project


def document_path(project: Project, kind: str, title: str, day: date) -> Path:
    """Where a new document will be.

    Raises:
        ConfigError: There is no such kind, or the title has no letters.
        ResultError: The file is there.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Choose from {', '.join(KINDS)}"
        raise ConfigError(f"there is no kind {kind!r} of documents", hint)
    path = project.folder / KINDS[kind].folder / f"{file_stem(kind, title, day)}.md"
    if path.exists():
        raise ResultError(f"{path} is there already", "Choose another title, or edit that document")
    return path


def make_document(project: Project, new: NewDocument) -> Path:
    """Write a new document from its template.

    Returns:
        Its file.

    Raises:
        ConfigError: As `document_path`.
        ResultError: The file is there, or the disk refused.
    """
    path = document_path(project, new.kind, new.title, new.day)
    front = {
        "kind": new.kind,
        "id": document_id(new.kind, new.title, new.day),
        "title": new.title,
        "date": new.day.isoformat(),
        "status": "draft",
        **new.entries,
    }
    values = {"title": one_line(new.title), **new.values}
    write_new(path, front_matter_text(front) + filled_template(new.kind, project.language, values))
    return path


def one_line(text: str) -> str:
    """A text as a heading or an item of a list: what would begin another block is no use there."""
    return " ".join(text.split()).replace("<", "\\<")


def add_to_log(project: Project, text: str, moment: datetime) -> Path:
    """Add a dated line to the project's log.

    Returns:
        The log.

    Raises:
        ConfigError: There is nothing to add.
        ResultError: The disk refused.
    """
    line = " ".join(text.split())
    if not line:
        raise ConfigError("there is nothing to write down", "Say what was done or decided")
    path = project.folder / "log.md"
    if not path.exists():
        write_new(path, filled_template("log", project.language, {}))
    append_line(path, f"- {moment:%Y-%m-%d %H:%M} {line}")
    return path
