"""Make a document that is filled in from a run, a model of the catalog, or an environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.core.language import speaking
from mlx_probe.library.catalog import (
    card_text,
    default_database,
    find_model,
    load_models,
    open_database,
)
from mlx_probe.library.catalog.hashing import hash_file, identify, keep_hash, known_hashes
from mlx_probe.library.documents.environments import environment_values
from mlx_probe.library.documents.making import NewDocument, document_path, make_document
from mlx_probe.library.documents.naming import document_id
from mlx_probe.library.documents.project import Project
from mlx_probe.library.documents.subjects import model_sha256, run_sha256
from mlx_probe.library.experiments import resolve_run
from mlx_probe.report.run_document import run_document
from mlx_probe.runs.experiments import read_experiment

__all__ = ["Made", "Request", "make_filled"]

_FIGURES = "figures"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        kind: Key of `KINDS`.
        title: Its title.
        day: Its date; None for today, or the day when the run was finished.
        run: A run, by path, id or name; None for none.
        model: A model of the catalog; None for none.
        environment: Folder of an environment; None for none.
    """

    kind: str
    title: str
    day: date | None = None
    run: str | None = None
    model: str | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        path: The document.
        id: Its id.
        day: Its date.
        figures: The plots beside it.
    """

    path: Path
    id: str
    day: date
    figures: tuple[Path, ...] = ()


def make_filled(
    project: Project,
    request: Request,
    database: Path | None = None,
    on_path: Callable[[Path], None] = lambda path: None,
) -> Made:
    """Make a document.

    Args:
        project: Where.
        request: What.
        database: The catalog; None for the usual one.
        on_path: Called with each file that is read for its hash.

    Raises:
        ConfigError: The request makes no sense.
        ResultError: There is no such run, the document is there, or the disk refused.
    """
    today = datetime.now().astimezone().date()
    catalog = database or default_database()
    with speaking(project.language):
        if request.run is not None:
            return _of_run(project, request, catalog)
        day = request.day or today
        entries: dict[str, str] = {}
        values: dict[str, str] = {}
        path = document_path(project, request.kind, request.title, day)
        if request.model is not None:
            entries, values = _of_model(request.model, path, catalog, on_path)
        if request.environment is not None:
            entries, values = environment_values(request.environment)
        new = NewDocument(request.kind, request.title, day, entries, values)
        made = make_document(project, new)
    return Made(made, document_id(request.kind, request.title, day), day)


def _of_run(project: Project, request: Request, catalog: Path) -> Made:
    assert request.run is not None
    with open_database(catalog) as database:
        run = read_experiment(resolve_run(request.run, database))
    finished = datetime.fromisoformat(run.created_at).astimezone().date()
    day = request.day or finished
    path = document_path(project, request.kind, request.title, day)
    filled = run_document(run, path.stem, _FIGURES)
    models = [each.name for each in run.inputs if each.role in ("model", "base")]
    try:
        digest = run_sha256(run.folder, run.marker.name)
    except OSError as error:
        raise ResultError(f"cannot read {run.marker}: {error}", "Check the run") from error
    entries = {
        "status": "draft",
        "run_kind": run.kind,
        "model": ", ".join(models),
        "run": _written(run.folder, path),
        "run_file": run.marker.name,
        "run_sha256": digest,
    }
    values = {"setup": filled.setup, "results": filled.results}
    written: list[Path] = []
    try:
        for name, save in filled.figures.items():
            figure = path.parent / _FIGURES / name
            save(figure)
            written.append(figure)
        make_document(project, NewDocument(request.kind, request.title, day, entries, values))
    except BaseException:
        # Plots of no document.
        for figure in written:
            with suppress(OSError):
                figure.unlink()
        raise
    return Made(path, document_id(request.kind, request.title, day), day, tuple(written))


def _of_model(
    name: str, path: Path, catalog: Path, on_path: Callable[[Path], None]
) -> tuple[dict[str, str], dict[str, str]]:
    """Front matter and fields of a model's document."""
    with open_database(catalog) as database:
        models = load_models(database)
        known = known_hashes(database)
    model = find_model(models, name)
    # The document has a title of its own.
    card = card_text(model, models).partition("\n\n")[2].strip()
    entries = {"model": model.id, "model_path": _written(model.path, path)}

    def hashed(file: Path) -> str:
        sha256 = known.get(identify(file.stat()))
        if sha256 is None:
            on_path(file)
            sha256, identity = hash_file(file)
            # So that a check need not read it.
            with open_database(catalog) as database:
                keep_hash(database, [file], sha256, identity)
        return sha256

    try:
        entries["model_sha256"] = model_sha256(model.path, hashed)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultError(
            f"cannot read the model {model.path}: {reason}",
            "Check that its files are there, or scan again with `mlx-probe catalog scan`",
        ) from error
    return entries, {"card": card}


def _written(path: Path, document: Path) -> str:
    """A path as the front matter has it: from the document where both lie in one folder.

    So a project keeps its runs when the folder with both is moved.
    """
    try:
        relative = os.path.relpath(os.path.realpath(path), os.path.realpath(document.parent))
    except ValueError:  # another drive
        return str(path)
    # Up to the folder that the project is in.
    return relative if relative.count(os.pardir) <= 2 else str(path)
