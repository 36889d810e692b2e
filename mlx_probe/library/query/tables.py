"""Views of the tables that runs wrote: the rows of all runs below each other.

Tables of different versions and settings have different columns. A view has the columns of all of
them, by name; a run that lacks one has no values in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ResultError
from mlx_probe.library.query.stored import NamedRun
from mlx_probe.library.query.view import View
from mlx_probe.runs.folder import side_name, stem_of
from mlx_probe.runs.load import read_described, unreadable_table
from mlx_probe.runs.meta import columns_from_meta
from mlx_probe.runs.spectra import SPECTRA
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RUN", "main_view", "side_names", "side_view", "spectra_view"]

# The first column of each view: the name of the run.
RUN = "run"


@dataclass(frozen=True)
class _Part:
    """One run's table.

    Attributes:
        run: The run.
        schema: Its columns.
        read: Reads it.
    """

    run: NamedRun
    schema: pa.Schema
    read: Callable[[], pa.Table]


def main_view(runs: Sequence[NamedRun], kind: str) -> View:
    """The main tables of all runs of a kind, "analyze" or "compare"."""
    chosen = [run for run in runs if run.kind == kind]
    return _view([_described(run, run.meta, None) for run in chosen])


def side_names(runs: Sequence[NamedRun]) -> list[str]:
    """Names of the tables that runs have beside the main one."""
    return list(dict.fromkeys(name for run in runs for name in _sides(run)))


def side_view(runs: Sequence[NamedRun], name: str) -> View:
    """A table that runs have beside the main one, such as "heads"."""
    chosen = [run for run in runs if name in _sides(run)]
    return _view([_described(run, _sides(run)[name], name) for run in chosen])


def spectra_view(runs: Sequence[NamedRun]) -> View:
    """The singular values that runs kept.

    Raises:
        ResultError: A file is damaged.
    """
    return _view([part for run in runs if (part := _spectra(run)) is not None])


def _sides(run: NamedRun) -> Mapping[str, Any]:
    tables = run.meta.get("tables")
    return tables if isinstance(tables, dict) else {}


def _described(run: NamedRun, described: Mapping[str, Any], side: str | None) -> _Part:
    stem = stem_of(run.meta_path)
    names = {
        suffix: f"{stem}.{suffix}" if side is None else side_name(stem, side, suffix)
        for suffix in WRITERS
    }
    try:
        schema = arrow_schema(columns_from_meta(described))
    except (AttributeError, KeyError, TypeError) as error:
        raise ResultError(
            f"{run.meta_path} does not describe a run of mlx-probe: {error!r}",
            "Move it away, or name other runs with --runs",
        ) from error
    read = lambda: read_described(run.meta_path, run.meta, described, names)[0]  # noqa: E731
    return _Part(run, schema, read)


def _spectra(run: NamedRun) -> _Part | None:
    import pyarrow as pa
    from pyarrow import parquet

    file = run.meta_path.with_name(side_name(stem_of(run.meta_path), SPECTRA, "parquet"))
    if file.name not in run.meta["outputs"]:
        return None

    def read() -> pa.Table:
        try:
            with parquet.ParquetFile(file, pre_buffer=False) as opened:
                return opened.read(use_threads=False)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise unreadable_table(file, error) from error

    try:
        schema = parquet.read_schema(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable_table(file, error) from error
    return _Part(run, schema.remove_metadata(), read)


def _view(parts: Sequence[_Part]) -> View:
    import pyarrow as pa

    fields: dict[str, pa.DataType] = {RUN: pa.string()}
    for part in parts:
        for field in part.schema:
            known = fields.setdefault(field.name, field.type)
            if known != field.type:
                fields[field.name] = _common(known, field.type)
    schema = pa.schema([pa.field(name, kind) for name, kind in fields.items()])

    def tables() -> Iterator[pa.Table]:
        for part in parts:
            yield _fitted(part.read(), part.run.name, schema)

    return View(schema, tables)


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type for a column whose type has changed between versions."""
    import pyarrow as pa

    numbers = (pa.int64(), pa.float64(), pa.bool_())
    return pa.float64() if one in numbers and other in numbers else pa.string()


def _fitted(table: pa.Table, run: str, schema: pa.Schema) -> pa.Table:
    """A run's table with the columns of the view."""
    import pyarrow as pa

    # Asked for once: the property makes a list of a hundred names each time.
    known = set(table.column_names)

    def column(field: pa.Field) -> pa.ChunkedArray | pa.Array:
        if field.name == RUN:
            return pa.repeat(pa.scalar(run, pa.string()), table.num_rows)
        if field.name not in known:
            return pa.nulls(table.num_rows, field.type)
        values = table[field.name]
        return values if values.type == field.type else values.cast(field.type)

    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)
