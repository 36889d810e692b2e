"""Snapshots and checkpoints of trainings that are finished and have their model."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.library.space.needs import Needs
from mlx_probe.library.space.records import Item, Survey
from mlx_probe.library.space.usage import usage
from mlx_probe.runs.training.folder import ANALYSIS, DIFFERENCE, KINDS

__all__ = ["find_snapshots"]

_PARTS = ("snapshots", "checkpoints")
_STEP = re.compile(r"step-\d+")
# Measurements stay: the report and the tables over time are made from them.
_MEASURED = (ANALYSIS, DIFFERENCE)
# A training that stopped by its own rule has its model, too.
_DONE = ("finished", "stopped early")
_WHY = "the run is finished and has its model; measurements stay"


def find_snapshots(needs: Needs, survey: Survey) -> Iterator[Item]:
    """An item for each finished training that kept steps before its last."""
    for run in needs.runs:
        if run.kind in KINDS and not run.missing and not run.token:
            yield from _of_run(run, needs, survey)


def _of_run(run: StoredRun, needs: Needs, survey: Survey) -> Iterator[Item]:
    try:
        steps = [step for part in _PARTS for step in _steps(run.folder / part)]
        obstacle = _obstacle(run) or needs.obstacle()
        paths: list[Path] = []
        for step in steps:
            moved = _moved(step)
            why = obstacle or _needed([step, *moved], needs) or _shared(moved)
            if why:
                survey.keep("snapshots", step, why)
            else:
                paths += moved
        if not paths:
            return
        taken = usage(paths)
    except OSError as error:
        survey.troubles.append((run.folder, error.strerror or str(error)))
        return
    # Beside the run, so that whoever copies the run does not copy these.
    home = run.folder.parent
    if home.stat().st_dev != run.folder.stat().st_dev:
        home = run.folder
    yield Item("snapshots", run.name, tuple(paths), home, taken.size, taken.disk, _WHY)


def _obstacle(run: StoredRun) -> str:
    if run.state not in _DONE:
        return f"the run is {run.state}: it needs them to go on"
    for output in run.outputs:
        if any(path.stat().st_size for path in Path(output).glob("*.safetensors")):
            return ""
    return "the run has no model at its end"


def _steps(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if _STEP.fullmatch(path.name) and stat.S_ISDIR(path.lstat().st_mode)
    )


def _moved(step: Path) -> list[Path]:
    """What goes of a step: all of it, or all but what was measured."""
    entries = sorted(step.iterdir())
    if not any(entry.name in _MEASURED for entry in entries):
        return [step]
    return [entry for entry in entries if entry.name not in _MEASURED]


def _needed(paths: Sequence[Path], needs: Needs) -> str:
    return next((why for path in paths if (why := needs.reason(path))), "")


def _shared(paths: Sequence[Path]) -> str:
    outside = usage(paths).outside
    return f"{outside[0]} has further names elsewhere" if outside else ""
