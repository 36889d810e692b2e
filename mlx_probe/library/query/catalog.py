"""Views of the catalog: models, their files, and the runs that measured them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.records import Column, Row
from mlx_probe.library.catalog.database import open_database
from mlx_probe.library.catalog.models import load_models
from mlx_probe.library.catalog.records import Model
from mlx_probe.library.query.view import View
from mlx_probe.runs.table.schema import arrow_schema, rows_to_table

__all__ = ["FILE_COLUMNS", "MODEL_COLUMNS", "files_view", "models_view"]

_KEY = Column("key", "string", "catalog", "The model's key in the catalog.")

MODEL_COLUMNS = (
    _KEY,
    Column("id", "string", "catalog", "Name."),
    Column("revision", "string", "catalog", 'Commit, version, or "local".'),
    Column("store", "string", "catalog", "Where it is kept: hub, ollama, folder ..."),
    Column("path", "string", "catalog", "What to give to `mlx-probe analyze`."),
    Column("format", "string", "catalog", "File format of the weights."),
    Column("architecture", "string", "catalog", "Family name."),
    Column("parameters", "int64", "catalog", "Elements."),
    Column("dtype", "string", "catalog", "Stored type of most elements."),
    Column("bits", "float64", "catalog", "Stored bits for each element, with scales."),
    Column("size", "int64", "catalog", "Size of its files.", "bytes"),
    Column("licence", "string", "catalog", "As its publisher names it."),
    Column("url", "string", "catalog", "Where it was published."),
    Column("base_models", "list<string>", "catalog", "Models that it was made from."),
    Column("adapter", "string", "catalog", "Kind of adapter; empty for a model."),
    Column("description", "string", "catalog", "Beginning of its model card."),
    Column("problem", "string", "catalog", "Why it could not be read."),
    Column("missing", "bool", "catalog", "Whether its files are gone."),
    Column("found_at", "string", "catalog", "When a scan first saw it."),
    Column("modified_at", "string", "catalog", "When its weights were last written."),
    Column("analyzed_at", "string", "catalog", "When it was last analysed."),
    Column("note", "string", "catalog", "Your note."),
    Column("tags", "list<string>", "catalog", "Your tags."),
)
FILE_COLUMNS = (
    _KEY,
    Column("id", "string", "catalog", "The model's name."),
    Column("path", "string", "catalog", "The file."),
    Column("role", "string", "catalog", "weights, other weights, index, config or card."),
    Column("size", "int64", "catalog", "Its size.", "bytes"),
    Column("sha256", "string", "catalog", "Its hash, where it is known."),
)


def models_view(database: Path | None) -> View:
    """One row for each model of the catalog; none without one."""

    def rows(models: Iterable[Model]) -> Iterator[Mapping[str, Any]]:
        for model in models:
            yield model.describe()

    return _view(database, MODEL_COLUMNS, rows)


def files_view(database: Path | None) -> View:
    """One row for each file of a model of the catalog."""

    def rows(models: Iterable[Model]) -> Iterator[Mapping[str, Any]]:
        for model in models:
            for file in model.describe()["files"]:
                yield {**file, "key": model.key, "id": model.id}

    return _view(database, FILE_COLUMNS, rows)


def _view(
    path: Path | None,
    columns: Sequence[Column],
    rows: Callable[[Iterable[Model]], Iterator[Mapping[str, Any]]],
) -> View:
    models: Sequence[Model] = ()
    if path is not None:
        with open_database(path, read_only=True) as database:
            models = load_models(database)
    # An empty text means "not known", which SQL has null for.
    values = [{column.name: row[column.name] for column in columns} for row in rows(models)]
    known = (
        {name: None if value == "" else value for name, value in row.items()} for row in values
    )
    table = rows_to_table((Row(i, row) for i, row in enumerate(known)), columns)
    return View(arrow_schema(columns), lambda: [table])
