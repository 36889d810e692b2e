"""The run that a user means: by its path, its id or its name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.library.experiments.scanning import save_run
from mlx_probe.library.experiments.storing import load_runs
from mlx_probe.runs.experiments.find import marker_of
from mlx_probe.runs.latest import run_folder

__all__ = ["find_run", "resolve_run"]

# Characters of an id: fewer are more likely the name of a folder.
_SHORTEST = 4
_MOST = 6


def resolve_run(reference: str, database: Database) -> Path:
    """The run folder that a user means; of a folder with several runs, the run's own file.

    Args:
        reference: The path of a run folder or of its marker, also of a run that no scan has
            seen; the beginning of an id, 4 characters at least; or a folder's name.
        database: The catalog.

    Raises:
        ResultError: No run is meant, or several, or the run is gone.
    """
    run = find_run(reference, database)
    if run.token:
        raise ResultError(
            f"run {run.id[:8]} ({run.name}) is in the bin",
            f"Get it back with `mlx-probe runs restore {run.id[:8]}`",
        )
    if not run.marker.exists():
        raise ResultError(
            f"run {run.id[:8]} is gone: there is no {run.marker}",
            "Scan the folder that it lies in now with `mlx-probe runs scan FOLDER`",
        )
    # Not by the runs that are known: a scan may have seen one of several.
    return run.folder if marker_of(run.folder) == run.marker else run.marker


def find_run(
    reference: str, database: Database, runs: Sequence[StoredRun] | None = None
) -> StoredRun:
    """The run that a user means, as the catalog knows it, also if it is gone or in the bin.

    Args:
        reference: As for `resolve_run`.
        database: The catalog; a run at a path that it does not know is added.
        runs: All runs, those in the bin too, if they are loaded already.

    Raises:
        ResultError: No run is meant, or several.
    """
    every = load_runs(database, binned=None) if runs is None else runs
    path = _path(reference)
    tests = (
        [run for run in every if reference == run.id],
        [run for run in every if path in (run.marker, run.folder)],
        [r for r in every if len(reference) >= _SHORTEST and r.id.startswith(reference.lower())],
        [run for run in every if reference in (run.name, run.folder.name)],
    )
    for matching in tests:
        # A run that is there wins over those that are gone or in the bin.
        present = [run for run in matching if not run.missing and not run.token]
        if len(matching) == 1 or len(present) == 1:
            return (present or matching)[0]
        if matching:
            raise _ambiguous(reference, matching)
    if path.exists():
        marker = save_run(database, path)
        return next(run for run in load_runs(database) if run.marker == marker)
    raise _unknown(reference, every)


def _path(reference: str) -> Path:
    # Not by `Path.expanduser`, which raises an error for "~nobody".
    path = Path(os.path.expanduser(reference))  # noqa: PTH111
    return Path(os.path.realpath(run_folder(path)))


def _ambiguous(reference: str, runs: Sequence[StoredRun]) -> ResultError:
    shown = ", ".join(f"{run.id[:8]} {run.marker}" for run in runs[:_MOST])
    more = f" and {len(runs) - _MOST} more" if len(runs) > _MOST else ""
    return ResultError(
        f"{reference!r} means {len(runs)} runs: {shown}{more}", "Name one of them by its id"
    )


def _unknown(reference: str, runs: Sequence[StoredRun]) -> ResultError:
    names = [name for run in runs for name in (run.name, run.folder.name, run.id[:8])]
    near = list(dict.fromkeys(difflib.get_close_matches(reference, names, n=3)))
    if near:
        remedy = f"Did you mean {' or '.join(near)}?"
    elif runs:
        remedy = "See `mlx-probe runs list`, or scan its folder with `mlx-probe runs scan FOLDER`"
    else:
        remedy = "Run `mlx-probe runs scan FOLDER` first: no runs are known"
    return ResultError(f"there is no run {reference!r}", remedy)
