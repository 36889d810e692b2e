"""Which files of a folder belong to which run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.check import Check
from mlx_probe.runs.folder import DEFAULT_STEM, RunPaths, meta_name, side_name, stem_of
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.mixture.folder import MAPS
from mlx_probe.runs.mixture.signals import SPS
from mlx_probe.runs.monitor.samples import MONITOR, lines_name
from mlx_probe.runs.spectra import SPECTRA
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.training.folder import KINDS, training_folder

__all__ = [
    "RUN",
    "begun_by",
    "check_folder",
    "files_of",
    "finished_runs",
    "is_of_training",
    "journals",
    "lines_beside",
    "planned_files",
    "strange_files",
]

# Key of the plan with the identity of the run that wrote it.
RUN = "run"

_JOURNAL = re.compile(r"(?P<stem>.+)\.(?P<fingerprint>[0-9a-f]+)\.partial\.jsonl")
_TABLES = {f".{name}" for name in (*WRITERS, "parquet")}
# By their names: a model's weights have the same suffix.
_ARRAYS = {MAPS, SPS}
# What unfinished and failed runs leave: logs, journals, samples.
_LEFT = re.compile(
    r"[\w-]+_\d{8}T\d{6}Z(-\d+)?\.log|.+\.partial\.jsonl(\.old)?|(.+\.)?monitor\.[0-9a-f]+\.samples\.jsonl"
)


def finished_runs(folder: Path, only: Path | None = None) -> dict[Path, dict[str, Any]]:
    """The metadata of every finished run in a folder; what is not readable is no run's.

    Args:
        folder: The folder.
        only: The one file to look at; None for all.
    """
    paths = sorted(folder.glob(f"*{meta_name(DEFAULT_STEM)}")) if only is None else [only]
    read = {path: _read(path) for path in paths}
    return {path: meta for path, meta in read.items() if "outputs" in meta}


def files_of(meta_path: Path, meta: Mapping[str, Any]) -> set[str]:
    """Names of the files of a finished run, its page of a report included, without logs.

    Only names that a run's files can have: metadata are a file that anybody can have written.
    """
    stem = stem_of(meta_path)
    outputs = meta.get("outputs")
    listed = outputs if isinstance(outputs, dict) else ()
    tables = [
        name
        for name in listed
        if name in _ARRAYS or (Path(name).name == name and Path(name).suffix in _TABLES)
    ]
    sides = [("plan", "json"), (MONITOR, "parquet"), ("report", "html")]
    return {
        meta_path.name,
        *tables,
        *(side_name(stem, name, suffix) for name, suffix in sides),
    }


def is_of_training(folder: Path) -> bool:
    """Whether a folder is that of a training run, which may just have begun."""
    plan = _read(folder / side_name(DEFAULT_STEM, "plan", "json")).get(RUN)
    begun = isinstance(plan, dict) and plan.get("kind") in KINDS
    return begun or training_folder(folder) is not None


def journals(folder: Path, stem: str | None = None) -> list[Path]:
    """The journals of unfinished runs in a folder; with ``stem`` only those of its tables."""
    found = [(path, _JOURNAL.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    return [path for path, name in found if name and stem in (None, name["stem"])]


def begun_by(journal: Path) -> Mapping[str, Any] | None:
    """What the plan beside a journal says of its run; None if it is the plan of another run."""
    name = _JOURNAL.fullmatch(journal.name)
    assert name is not None
    begun = _read(journal.with_name(side_name(name["stem"], "plan", "json"))).get(RUN)
    if not isinstance(begun, dict):
        return None
    return begun if str(begun.get("fingerprint")).startswith(name["fingerprint"]) else None


def lines_beside(journal: Path) -> Path:
    """The file of samples that belongs to a journal."""
    name = _JOURNAL.fullmatch(journal.name)
    assert name is not None
    return journal.with_name(lines_name(name["stem"], name["fingerprint"]))


def planned_files(
    folder: Path, stem: str, formats: Collection[str], sides: Collection[str]
) -> list[Path]:
    """Every file that a run may write there, without its plan, logs and journal.

    Args:
        folder: The run folder.
        stem: Name of the tables.
        formats: Formats of the tables.
        sides: Names of the tables that there may be beside the main one.
    """
    tables = [f"{stem}.{suffix}" for suffix in formats]
    tables += [side_name(stem, side, suffix) for side in sides for suffix in formats]
    parquet = [side_name(stem, name, "parquet") for name in (SPECTRA, MONITOR)]
    return [folder / name for name in dict.fromkeys([meta_name(stem), *tables, *parquet])]


def strange_files(paths: RunPaths, sides: Collection[str]) -> list[Path]:
    """Files and folders in the way of a run that no run of mlx-probe wrote.

    Where the user named a file, these are files with the names of the run's own that an earlier
    run of that name did not write; where the user named a folder, everything that is neither
    hidden nor a run's.
    """
    finished = finished_runs(paths.folder, only=paths.meta if paths.shares else None)
    known = {name for path, meta in finished.items() for name in files_of(path, meta)}
    ours = [*planned_files(paths.folder, paths.stem, paths.formats, sides), paths.plan]
    among = ours
    if not paths.shares and paths.meta not in finished:
        among = sorted(paths.folder.iterdir())
    return [
        path
        for path in among
        if path.exists()
        and path.name not in known
        and not path.name.startswith(".")
        and not _LEFT.fullmatch(path.name)
        and not (path == paths.plan and _is_plan(path))
    ]


def check_folder(meta_path: Path, meta: Mapping[str, Any], sides: Collection[str] = ()) -> Check:
    """Whether a run's folder holds no table of another run that could be taken for its own.

    Args:
        meta_path: The run's metadata file.
        meta: Its content.
        sides: Names of the tables that there may be beside the main one.

    Returns:
        The check; it names what else is there.
    """
    folder, stem = meta_path.parent, stem_of(meta_path)
    finished = finished_runs(folder)
    known = {name for path, each in finished.items() for name in files_of(path, each)}
    known |= files_of(meta_path, meta)
    possible = planned_files(folder, stem, WRITERS, sides)
    stale = [path.name for path in possible if path.exists() and path.name not in known]
    if stale:
        fact = f"not of this run, by its metadata: {', '.join(stale)}"
        return Check("files", False, f"{fact}; move them away")
    alone = len(finished) == 1 and stem == DEFAULT_STEM
    others = [
        path.name
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.name not in known
        and not path.name.startswith(".")
        and (alone or path.name.startswith(f"{stem}."))
        and (not _LEFT.fullmatch(path.name) or path.suffix != ".log")
    ]
    shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    return Check("files", True, f"also there: {shown}" if others else "its own files only")


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_meta(path)
    except (ResultError, RecursionError):
        return {}


def _is_plan(path: Path) -> bool:
    """Whether a file is the plan of a run, of this version or an earlier one."""
    return not {RUN, "goal"}.isdisjoint(_read(path))
