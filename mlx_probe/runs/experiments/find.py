"""The runs below a folder, each by one file."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from mlx_probe.runs.folder import DEFAULT_STEM, meta_name, side_name
from mlx_probe.runs.series import SERIES, STEPS
from mlx_probe.runs.training.folder import METRICS, RECIPE

__all__ = ["find_markers", "marker_of", "markers_in"]

_META = meta_name(DEFAULT_STEM)
_JOURNAL = re.compile(r"(?P<stem>.+)\.[0-9a-f]+\.partial\.jsonl")
# Of a training run: what is measured in there belongs to that run.
_PARTS = frozenset({"snapshots", "checkpoints"})


def find_markers(folder: Path) -> Iterator[Path]:
    """The file by which each run is recognised, of all runs in a folder and below it.

    The snapshots of a training run and the steps of a series are part of it; hidden folders and
    links to folders are not entered, folders that cannot be read are left out.

    Args:
        folder: It need not exist.

    Yields:
        run_meta.json, or of an unfinished run its plan or its recipe; absolute real folders.
    """
    for current, below, files in os.walk(folder):
        names = frozenset(files)
        trains = METRICS in names or RECIPE in names
        below[:] = sorted(
            name
            for name in below
            if not name.startswith(".")
            and not (trains and name in _PARTS)
            and not (name == STEPS and SERIES in names)
        )
        here = None
        for name in markers_in(names):
            here = here or Path(os.path.realpath(current))
            yield here / name


def markers_in(names: Collection[str]) -> list[str]:
    """Names of the files by which the runs of one folder are recognised.

    Args:
        names: The files of the folder.
    """
    finished = {name for name in names if name == _META or name.endswith(f".{_META}")}
    begun = set()
    for name in names:
        if (journal := _JOURNAL.fullmatch(name)) is not None:
            stem = journal["stem"]
            plan = side_name(stem, "plan", "json")
            if plan in names and meta_name(stem) not in finished:
                begun.add(plan)
    if not begun and _META not in finished and METRICS in names and RECIPE in names:
        begun.add(RECIPE)
    return sorted(finished | begun)


def marker_of(path: Path) -> Path | None:
    """The file by which the run of a folder is recognised; None where there is none, or several.

    Args:
        path: A run folder.
    """
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return None
    found = markers_in(names)
    if _META in found:
        return path / _META
    return path / found[0] if len(found) == 1 else None
