"""trackio's store, through trackio's own storage: as its importers of other formats do."""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_error
from mlx_probe.runs.exporters.metrics import Values

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.exported import ExportedRun

__all__ = ["open_log", "require", "show", "write"]

_PROJECT = "mlx-probe"
# Seconds between writes of a live log: one takes some milliseconds.
_PAUSE = 1.0


def require() -> None:
    """Import trackio.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import trackio  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"trackio needs the package {error.name}, which is not installed",
            "Install it with: pip install 'mlx-probe[trackio]'",
        ) from error


def write(run: ExportedRun, out: Path) -> Path:
    """Add a run to the project, in the place of an earlier export of it.

    The new run is complete before the old one is deleted. Infinities and NaN stay so.

    Args:
        run: The run.
        out: The folder of the store, trackio's TRACKIO_DIR.

    Returns:
        The database of the project.

    Raises:
        ConfigError: trackio is not installed.
        ResultError: The run has no numbers, or the store refused.
    """
    run.require_numbers()
    with _storage(out) as storage:
        earlier = _ids(storage, run)
        _log(storage, _free(earlier, run), run, list(run.rows()))
        for each in earlier:
            storage.delete_run(_PROJECT, run.name, run_id=each)
        return Path(storage.get_project_db_path(_PROJECT))


def show(out: Path) -> str:
    """The command that shows what is in a folder of exports."""
    words = ["trackio", "show", "--project", _PROJECT]
    # trackio does not know where it is by a path from here.
    return shlex.join(["env", f"TRACKIO_DIR={out.resolve()}", *words])


class _Log:
    """A run in the store that grows, some steps at a time."""

    def __init__(self, run: ExportedRun, out: Path) -> None:
        self._out, self._run = out, run
        self._waiting: list[Values] = []
        self._written = time.monotonic()
        with _storage(out) as storage:
            earlier = _ids(storage, run)
            done = _kept(storage, earlier[0], run) if len(earlier) == 1 else None
            self._id = earlier[0] if done is not None else _free(earlier, run)
            _log(storage, self._id, run, run.steps[done or 0 :])
            for each in earlier:
                if each != self._id:
                    storage.delete_run(_PROJECT, run.name, run_id=each)

    def log(self, values: Values) -> None:
        self._waiting.append(values)
        if time.monotonic() - self._written >= _PAUSE:
            self._flush(self._run)

    def close(self, run: ExportedRun) -> None:
        # Times of all rows count from the same moment: trackio orders them by it.
        run = replace(run, began=self._run.began)
        if (final := run.final_row()) is not None:
            self._waiting.append(final)
        self._flush(run)

    def _flush(self, run: ExportedRun) -> None:
        with _storage(self._out) as storage:
            _log(storage, self._id, run, self._waiting)
        self._waiting, self._written = [], time.monotonic()


def open_log(run: ExportedRun, out: Path) -> _Log:
    """Go on with a run in the store; it goes on where it is what the run has so far.

    Args:
        run: The run with its steps so far.
        out: The folder of the store.

    Raises:
        ConfigError: trackio is not installed.
        ResultError: The store refused.
    """
    return _Log(run, out)


def _ids(storage: Any, run: ExportedRun) -> list[str]:
    """Trackio's ids of earlier exports of a run."""
    if not storage.get_project_db_path(_PROJECT).exists():
        return []
    known = (str(record["id"]) for record in storage.get_run_records(_PROJECT))
    return [each for each in known if each.partition("-")[0] == run.identity]


def _free(taken: Sequence[str], run: ExportedRun) -> str:
    """An id for the next export: the old one is there until the new one is."""
    first, second = run.identity, f"{run.identity}-2"
    return second if first in taken else first


def _log(storage: Any, identity: str, run: ExportedRun, rows: Sequence[Values]) -> None:
    """Log some rows in one transaction, and the settings with them."""
    numbers = [
        {name: value for name, value in row.items() if name != "step" and value is not None}
        for row in rows
    ]
    at = (datetime.fromtimestamp(run.time_of(row), timezone.utc).isoformat() for row in rows)
    storage.bulk_log(
        project=_PROJECT,
        run=run.name,
        metrics_list=numbers,
        steps=[int(row["step"] or 0) for row in rows],
        timestamps=list(at),
        config=_config(run),
        run_id=identity,
    )


def _config(run: ExportedRun) -> dict[str, Any]:
    began = datetime.fromtimestamp(run.began, timezone.utc).isoformat()
    about = {name: value for name, value in run.describe().items() if value}
    # The keys with an underscore are those that trackio itself writes.
    return {**about, **run.params, "_Created": began, "_Group": run.kind}


def _kept(storage: Any, identity: str, run: ExportedRun) -> int | None:
    """How many of a run's steps are in the store; None if others are in it, too."""
    logged = storage.get_logs(_PROJECT, run.name, run_id=identity)
    logged.sort(key=lambda entry: entry["step"])
    if len(logged) > len(run.steps):
        return None
    for entry, row in zip(logged, run.steps, strict=False):
        values = {name: value for name, value in row.items() if value is not None}
        if {name: repr(entry.get(name)) for name in entry if name != "timestamp"} != {
            name: repr(value) for name, value in values.items()
        }:
            return None
    return len(logged)


@contextmanager
def _storage(out: Path) -> Iterator[Any]:
    """Trackio's storage in a folder.

    trackio reads TRACKIO_DIR when it is imported. A process that exports to two folders, or has
    used trackio before, needs another one for a while.

    Raises:
        ConfigError: trackio is not installed.
        ResultError: The store refused.
    """
    before = os.environ.pop("TRACKIO_DIR", None)
    out = out.resolve()
    os.environ["TRACKIO_DIR"] = str(out)
    try:
        require()
    finally:
        if before is None:
            os.environ.pop("TRACKIO_DIR")
        else:
            os.environ["TRACKIO_DIR"] = before
    from trackio import sqlite_storage, utils

    modules = (sqlite_storage, utils)
    folders = [module.TRACKIO_DIR for module in modules]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for module in modules:
            module.TRACKIO_DIR = out
        yield sqlite_storage.SQLiteStorage
    except (sqlite3.Error, ValueError) as error:
        raise ResultError(
            f"cannot write {out / _PROJECT}.db: {error}",
            "Move it away, or choose another path with --out",
        ) from error
    except OSError as error:
        raise write_error(out, error) from error
    finally:
        for module, folder in zip(modules, folders, strict=True):
            module.TRACKIO_DIR = folder
