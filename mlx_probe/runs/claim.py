"""The folder of a run: a new one, that of the interrupted run, or what the user named.

No run touches the files of another one, or of the user, unless the user says so.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import write_error
from mlx_probe.runs.contents import (
    begun_by,
    files_of,
    finished_runs,
    is_of_training,
    journals,
    lines_beside,
    strange_files,
)
from mlx_probe.runs.folder import RunPaths, is_time_name, prepare_folder
from mlx_probe.runs.identity import RunIdentity
from mlx_probe.runs.journal import refuse_busy
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.training.folder import FILES, KINDS

__all__ = ["claimed"]

_ELSEWHERE = "Choose another path with --out, leave --out away for a new folder"


@contextmanager
def claimed(
    paths: RunPaths, identity: RunIdentity, sides: Collection[str] = (), overwrite: bool = False
) -> Iterator[RunPaths]:
    """Choose a run's folder; within ``with`` no other process chooses there.

    Open the journal within ``with``: it keeps others out from then on.

    Args:
        paths: From `resolve_output`.
        identity: The run.
        sides: Names of the tables that it may write beside the main one.
        overwrite: Whether to replace what is in the way.

    Yields:
        The paths, with the folder that the run has: it exists and can be written.

    Raises:
        ResultError: Another process works on the same run, what the user named holds something
            else, or the disk refuses.
    """
    held = paths.group or paths.folder
    try:
        held.mkdir(parents=True, exist_ok=True)
        with _only_one(held):
            if paths.group is not None:
                paths = _interrupted(paths, paths.group, identity) or _new(paths)
            refuse_busy(paths.journal(identity.fingerprint))
            if paths.group is None:
                _refuse_training(paths, identity)
                paths = replace(paths, replaced=_replaced(paths, identity, sides, overwrite))
            try:
                prepare_folder(paths)
                yield replace(paths, log=_new_log(paths.log))
            except BaseException:
                # A new folder in which nothing could be written is of no use.
                with suppress(OSError):
                    paths.folder.rmdir()
                raise
    except OSError as error:
        raise write_error(held, error) from error


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process chooses a run's folder there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some file systems have no locks. New folders are still apart there, because making one
        # succeeds only once.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _interrupted(paths: RunPaths, group: Path, identity: RunIdentity) -> RunPaths | None:
    """The folder of the same run if it was interrupted; the latest of several."""
    for folder in sorted(group.iterdir(), reverse=True):
        before = paths.moved(folder)
        if is_time_name(folder.name) and before.journal(identity.fingerprint).exists():
            return before
    return None


def _new(paths: RunPaths) -> RunPaths:
    """A folder that did not exist; runs that begin in the same second get numbers."""
    for number in itertools.count(1):
        end = f"-{number}" if number > 1 else ""
        folder = paths.folder.with_name(f"{paths.folder.name}{end}")
        with suppress(FileExistsError):
            folder.mkdir()
            return paths.moved(folder)
    raise AssertionError("count() has no end")


def _new_log(log: Path) -> Path:
    """A log's name that is not taken: runs of one second in one folder get numbers."""
    for number in itertools.count(2):
        if not log.exists():
            break
        log = log.with_name(f"{log.stem.partition('-')[0]}-{number}{log.suffix}")
    return log


def _replaced(
    paths: RunPaths, identity: RunIdentity, sides: Collection[str], overwrite: bool
) -> tuple[Path, ...]:
    """The files of earlier runs that go when this one is finished, metadata last.

    Raises:
        ResultError: There is something that may not be replaced.
    """
    own = paths.journal(identity.fingerprint)
    finished = finished_runs(paths.folder, only=paths.meta if paths.shares else None)
    unfinished = [
        path for path in journals(paths.folder, paths.stem if paths.shares else None) if path != own
    ]
    for journal in unfinished:
        refuse_busy(journal)
    # A run that was interrupted while it replaced another has its user's word already.
    if not overwrite and not own.exists():
        _refuse_runs(paths, identity, finished, unfinished)
        _refuse_strangers(paths, strange_files(paths, sides))
    files = [path for journal in unfinished for path in (journal, lines_beside(journal))]
    for meta_path, meta in finished.items():
        names = files_of(meta_path, meta) - {meta_path.name, paths.plan.name}
        files += [meta_path.with_name(name) for name in sorted(names)]
    return (*files, *finished)


def _refuse_training(paths: RunPaths, identity: RunIdentity) -> None:
    """Keep a training run from another command, also with --overwrite: it took hours.

    A table beside its files is welcome.

    Raises:
        ResultError: The folder is that of a training run.
    """
    if identity.kind in KINDS or not is_of_training(paths.folder):
        return
    tables = {paths.table(name).name for name in paths.formats}
    if paths.shares and tables.isdisjoint(FILES):
        return
    command = identity.command
    raise ResultError(
        f"{paths.folder} holds a training run, which `mlx-probe {command}` does not replace",
        _ELSEWHERE,
    )


def _refuse_runs(
    paths: RunPaths,
    identity: RunIdentity,
    finished: Mapping[Path, Mapping[str, Any]],
    unfinished: Sequence[Path],
) -> None:
    where = paths.table(paths.formats[0]) if paths.shares else paths.folder
    for meta_path, meta in finished.items():
        if what := identity.differs(meta):
            raise ResultError(
                f"{where} holds a finished run {what}",
                f"{_ELSEWHERE}, or replace that run with --overwrite",
            )
        tables = {f"{paths.stem}.{suffix}": suffix for suffix in WRITERS}
        lost = [tables[name] for name in sorted(files_of(meta_path, meta)) if name in tables]
        lost = [suffix for suffix in lost if suffix not in paths.formats]
        if lost:
            raise ResultError(
                f"{where} holds this run, finished, as {' and '.join(lost)} ({meta_path.name})",
                f"Add --format {' --format '.join(lost)}, or replace it with --overwrite",
            )
    for journal in unfinished:
        begun = begun_by(journal)
        # Rows of inputs that have changed since are of no use to any run.
        if begun is None or not identity.is_repeated(begun):
            what = "another unfinished run" if begun is None else "an unfinished run"
            detail = "" if begun is None else f" {identity.differs(begun)}"
            raise ResultError(
                f"{where} holds {what}{detail}: {journal.name}",
                f"{_ELSEWHERE}, or drop its rows with --overwrite",
            )


def _refuse_strangers(paths: RunPaths, strangers: Sequence[Path]) -> None:
    if not strangers:
        return
    if paths.shares:
        raise ResultError(
            f"{strangers[0]} exists, and no run of this name wrote it",
            f"{_ELSEWHERE}, or replace it with --overwrite",
        )
    names = ", ".join(path.name for path in strangers[:3])
    more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
    raise ResultError(
        f"{paths.folder} holds files that are not of a run: {names}{more}",
        f"{_ELSEWHERE}, or write into it all the same with --overwrite",
    )
