"""Why a run folder may not go: who works in it, and who needs what is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments.lineage import path_of_input
from mlx_probe.library.experiments.moving import within
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.runs.folder import DEFAULT_STEM, meta_name, stem_of
from mlx_probe.runs.monitor.jobs import running_jobs

__all__ = ["Reason", "reasons_to_stay"]


@dataclass(frozen=True)
class Reason:
    """Why a folder has to stay.

    Attributes:
        text: The reason.
        is_need: Whether something else needs what is in the folder, which a user may overrule.
    """

    text: str
    is_need: bool = False


def reasons_to_stay(
    database: Database, runs: Sequence[StoredRun], folder: Path, going: Sequence[Path]
) -> list[Reason]:
    """Why a run folder may not go.

    Args:
        database: The catalog.
        runs: All runs of the catalog that are not in the bin.
        folder: The run folder.
        going: Folders that are to go together with it.
    """
    return [
        *_workers(folder),
        *_others_inside(runs, folder, going),
        *_readers(runs, folder, going),
        *_models(database, folder),
    ]


def _workers(folder: Path) -> Iterator[Reason]:
    for job in running_jobs():
        if within(os.path.realpath(job.folder), folder):
            yield Reason(f"{job.kind} runs in it now (process {job.pid})")
    here = Path(os.path.realpath(os.curdir))
    if within(here, folder):
        yield Reason(f"this command was started in it, in {here}")
    if within(Path(os.path.realpath(Path.home())), folder):
        yield Reason("your home folder is in it")
    if (folder / ".git").exists():
        yield Reason("it is a work tree of git, and no run's own folder")


def _others_inside(
    runs: Sequence[StoredRun], folder: Path, going: Sequence[Path]
) -> Iterator[Reason]:
    """Runs that share the folder, or lie deeper in it and are not to go."""
    here = [run for run in runs if run.folder == folder]
    if len(here) > 1:
        yield Reason(f"it holds {len(here)} runs")
    elif here and stem_of(here[0].marker) != DEFAULT_STEM:
        # `--out results/table.csv`: the folder may hold anything.
        name = here[0].marker.name
        if name.endswith(meta_name(DEFAULT_STEM)) and not _is_alone(
            folder, stem_of(here[0].marker)
        ):
            yield Reason("it holds files that are not of this run")
    for run in runs:
        is_deeper = run.folder != folder and within(run.folder, folder)
        if is_deeper and run.folder not in going and not run.missing:
            yield Reason(f"the run {run.name} ({run.id[:8]}) lies in it", is_need=True)


def _is_alone(folder: Path, stem: str) -> bool:
    """Whether all visible files of a folder are named as the run's tables, or are its logs."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return False
    return all(
        entry.is_file() and (entry.name.startswith(f"{stem}.") or entry.suffix == ".log")
        for entry in entries
    )


def _readers(runs: Sequence[StoredRun], folder: Path, going: Sequence[Path]) -> Iterator[Reason]:
    """Runs elsewhere that came from something in the folder."""
    for run in runs:
        if run.missing or any(within(run.folder, each) for each in (folder, *going)):
            continue
        for given in run.inputs:
            path = path_of_input(run, given)
            if path and within(path, folder):
                text = f"the run {run.name} ({run.id[:8]}) came from {path}"
                yield Reason(text, is_need=True)
                break


def _models(database: Database, folder: Path) -> Iterator[Reason]:
    """Models elsewhere whose files, or whose base, are in the folder."""
    for row in database.rows("SELECT path FROM links WHERE symbolic"):
        link = Path(os.fsdecode(row["path"]))
        if not within(link, folder) and within(os.path.realpath(link), folder):
            yield Reason(f"{link} is a link to a file in it", is_need=True)
    rows = database.rows("SELECT id, path, base_models, missing FROM models")
    for row in rows:
        path = Path(os.fsdecode(row["path"]))
        if row["missing"] or within(os.path.realpath(path), folder):
            continue
        if any(base in row["base_models"] for base in _spelled(folder)):
            yield Reason(f"the model {row['id']} is based on something in it", is_need=True)
    files = database.rows("SELECT models.id, files.path FROM files JOIN models USING (key)")
    for row in files:
        path = Path(os.fsdecode(row["path"]))
        if (
            path.is_symlink()
            and not within(path, folder)
            and within(os.path.realpath(path), folder)
        ):
            yield Reason(f"the model {row['id']} has a link to a file in it", is_need=True)


def _spelled(folder: Path) -> tuple[str, str]:
    """A folder's path as the beginning of a name in JSON."""
    return f'"{folder}/', f'"{folder}"'
