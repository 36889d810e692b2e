"""Read finished runs, with the types with which they were written."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.records import Column
from mlx_probe.runs.folder import DEFAULT_STEM, meta_name, stem_of
from mlx_probe.runs.latest import run_folder
from mlx_probe.runs.meta import columns_from_meta, read_meta, refuse_without_table
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.schema import arrow_schema
from mlx_probe.runs.training.folder import training_folder, training_remedy

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "load_run",
    "locate_run",
    "read_described",
    "read_listed",
    "read_table",
    "to_frame",
    "unreadable_table",
]

_PARTIAL = ".partial.jsonl"
_AGAIN = "Run the same command of mlx-probe again"
_log = logging.getLogger(__name__)


def load_run(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A finished run as a pandas DataFrame.

    Args:
        path: A run folder, its run_meta.json, or one of its tables; the folder of a model or its
            ``latest`` for the latest run of the model.

    Returns:
        One row for each record. Integers are Int64, booleans boolean and strings string, all
        with NA; floats are float64 with NaN for null; lists (``shape``, ``pieces``) are tuples;
        ``created_at`` is datetime64[us, UTC]. ``attrs["meta"]`` holds the run metadata.

    Raises:
        ResultError: There is no finished run, or its files are damaged.
    """
    import pandas as pd

    table, columns, meta = read_table(path)
    frame = to_frame(table)
    for column in columns:
        if column.type.startswith("list"):
            items = table[column.name].to_pylist()
            tuples = [None if item is None else tuple(item) for item in items]
            frame[column.name] = pd.Series(tuples, dtype=object, index=frame.index)
    frame.attrs["meta"] = meta
    return frame


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table with pandas' own nullable types."""
    import pandas as pd
    import pyarrow as pa

    pandas_types = {
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        # With the storage "pyarrow" masks of such a column do not combine with those of others.
        pa.string(): pd.StringDtype("python"),
    }
    frame: pd.DataFrame = table.to_pandas(types_mapper=pandas_types.get)
    return frame


def read_table(
    path: str | os.PathLike[str], only: Collection[str] | None = None
) -> tuple[pa.Table, tuple[Column, ...], dict[str, Any]]:
    """A finished run's table as it was written.

    Args:
        path: A run folder, its run_meta.json, or one of its tables. Of several tables the
            most typed format is read, or the next where that one is gone or damaged.
        only: Names of the columns to read, which takes a fraction of the time; those that the
            run does not have are left out. None for all.

    Returns:
        The table, its columns (names, types, ranges) and the run metadata.

    Raises:
        ResultError: There is no finished run, or its files are damaged.
    """
    meta_path, wanted = _locate(_path(path))
    meta = read_meta(meta_path)
    refuse_without_table(meta_path, meta)
    table, columns = read_listed(meta_path, meta, only, wanted)
    return table, columns, meta


def read_listed(
    meta_path: Path,
    meta: Mapping[str, Any],
    only: Collection[str] | None = None,
    wanted: str | None = None,
) -> tuple[pa.Table, tuple[Column, ...]]:
    """The main table of a run whose metadata are read already.

    Args:
        meta_path: The run's metadata file.
        meta: Its content.
        only: Names of the columns to read; None for all.
        wanted: The only format asked for; None for the most typed one.

    Raises:
        ResultError: The table is gone or damaged.
    """
    stem = stem_of(meta_path)
    names = {suffix: f"{stem}.{suffix}" for suffix in WRITERS if wanted in (None, suffix)}
    return read_described(meta_path, meta, meta, names, wanted, only)


def read_described(
    meta_path: Path,
    meta: Mapping[str, Any],
    described: Mapping[str, Any],
    names: Mapping[str, str],
    wanted: str | None = None,
    only: Collection[str] | None = None,
) -> tuple[pa.Table, tuple[Column, ...]]:
    """One of the tables that a run's metadata lists.

    Args:
        meta_path: The run's metadata file.
        meta: Its content.
        described: Has the table's "columns".
        names: File names by format; the last that was written and is whole is read.
        wanted: The only format asked for, for the message; None for any.
        only: Names of the columns to read; None for all.

    Raises:
        ResultError: The run has no such table, or its files are damaged.
    """
    import pyarrow as pa

    try:
        columns = columns_from_meta(described)
        schema = arrow_schema(columns)
        sizes = {name: entry["bytes"] for name, entry in meta["outputs"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ResultError(
            f"{meta_path} does not describe a run of mlx-probe: {error!r}", _AGAIN
        ) from error
    # Only what the metadata lists: other tables in the folder may be older.
    formats = [suffix for suffix, name in names.items() if name in sizes]
    if not formats:
        what = "table" if wanted is None else f"{wanted} table"
        raise ResultError(f"{meta_path} lists no {what}", _AGAIN)
    if only is not None:
        columns = tuple(column for column in columns if column.name in only)
    names_read = None if only is None else [column.name for column in columns]
    problems: list[ResultError] = []
    for name in reversed(formats):
        path = meta_path.with_name(names[name])
        try:
            # A text file that lost its last lines is still well-formed.
            if (size := path.stat().st_size) != sizes[path.name]:
                raise ValueError(f"{size} bytes instead of {sizes[path.name]}")
            table = WRITERS[name].read(path, schema, names_read)
        except (OSError, TypeError, ValueError, pa.ArrowException) as error:
            problem = unreadable_table(path, error)
            problem.__cause__ = error
            problems.append(problem)
            continue
        if problems:
            # Every format holds the same rows.
            _log.warning("%s; %s is read instead", problems[0].fact, path.name)
        return table, columns
    raise problems[0]


def unreadable_table(path: Path, error: Exception) -> ResultError:
    """A table of a finished run that cannot be read."""
    return ResultError(
        f"cannot read {path}: {error}",
        "Restore the file, or run the same command of mlx-probe again",
    )


def locate_run(path: Path) -> Path:
    """The run_meta.json of a run.

    Args:
        path: A run folder, its run_meta.json, or one of its tables.

    Raises:
        ResultError: There is no finished run.
    """
    return _locate(path)[0]


def _path(run: object) -> Path:
    if not isinstance(run, (str, os.PathLike)):
        raise ConfigError(
            f"a run cannot be {run!r}", "Name a run folder, its run_meta.json, or one of its tables"
        )
    return Path(run)


def _locate(path: Path) -> tuple[Path, str | None]:
    """The run's metadata, and the format if ``path`` names one table."""
    path = run_folder(path)
    if path.is_dir():
        default = path / meta_name(DEFAULT_STEM)
        metas = [default] if default.exists() else sorted(path.glob("*.run_meta.json"))
        if len(metas) > 1:
            names = ", ".join(meta.name for meta in metas)
            raise ResultError(f"{path} holds several runs: {names}", "Name one of these files")
        if metas:
            return metas[0], None
        raise _unfinished(path, "*")
    if path.suffix == ".json" and path.exists():
        return path, None
    if path.suffix[1:] in WRITERS and not path.name.endswith(_PARTIAL):
        meta = path.with_name(meta_name(path.stem))
        if meta.exists() and path.exists():
            return meta, path.suffix[1:]
    if path.exists() and any(
        path.name in read_meta(meta).get("outputs", {})
        for meta in path.parent.glob("*run_meta.json")
    ):
        raise ResultError(
            f"{path} is a table beside a run's main one",
            "Name the run's folder; in Python, read it by load_side_table or load_spectra",
        )
    is_table = not path.name.endswith((_PARTIAL, "run_meta.json"))
    raise _unfinished(path.parent, glob.escape(path.stem) if is_table else "*", path)


def _unfinished(folder: Path, stem: str, path: Path | None = None) -> ResultError:
    if training_folder(folder) is not None:
        return ResultError(
            f"{folder} is of a training run, which is no measurement of a model",
            training_remedy(folder),
        )
    journals = sorted(folder.glob(f"{stem}.*{_PARTIAL}"))
    if journals:
        return ResultError(
            f"{path or folder} is not finished: its rows so far are in {journals[-1].name}",
            f"{_AGAIN} to resume where it stopped",
        )
    if path is not None and path.exists():
        return ResultError(
            f"{path} has no {meta_name(path.stem)} beside it, which has its types",
            "Keep the files of a run together, or analyze the model again",
        )
    if path is None and folder.exists():
        return ResultError(f"{folder} holds no run", "Make one with `mlx-probe analyze MODEL`")
    return ResultError(f"{path or folder} does not exist", "Check the path")
