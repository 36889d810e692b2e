"""One run, from the file by which it was recognised."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.commands import COMMANDS
from mlx_probe.runs.contents import RUN
from mlx_probe.runs.experiments.command import command_of
from mlx_probe.runs.experiments.find import marker_of, markers_in
from mlx_probe.runs.experiments.kinds import RUN_KINDS
from mlx_probe.runs.experiments.records import Experiment
from mlx_probe.runs.experiments.state import damage_of, state_of, state_of_unfinished
from mlx_probe.runs.experiments.trained import so_far
from mlx_probe.runs.experiments.values import mapping, number, text
from mlx_probe.runs.folder import DEFAULT_STEM, meta_name, side_name
from mlx_probe.runs.training.folder import KIND, METRICS, MIXTURE, RECIPE, TUNING

__all__ = ["read_experiment"]

# Bytes. Real metadata has a few hundred kilobytes.
_MOST = 64 << 20
_META = meta_name(DEFAULT_STEM)
_RESTORE = "Restore the file, or run the same command of mlx-probe again"
# The last phases of a job and of what its workers did at the same time.
_PHASES = frozenset({"read_in_workers", "compute_in_workers"})


def read_experiment(path: Path) -> Experiment:
    """A run of any kind, also one that runs, or that was interrupted.

    Args:
        path: The run folder, or the file by which the run was recognised.

    Raises:
        ResultError: There is no run, its metadata are damaged, or its kind is not known.
    """
    marker = _marker(path)
    meta = _read(marker)
    folder = Path(os.path.realpath(marker.parent))
    is_finished = marker.name.endswith(_META)
    begun = mapping(meta.get(RUN)) if not is_finished else meta
    name = begun.get("kind", "analyze" if is_finished else None)
    if marker.name == RECIPE:
        name = _kind_of_recipe(meta)
        begun, meta = {}, {"recipe": meta}
    if not isinstance(name, str) or name not in RUN_KINDS:
        raise _unknown(marker, name)
    kind = RUN_KINDS[name]
    if not is_finished:
        # A plan says what the metadata would, as far as it is known before the first record.
        meta = {**begun, **meta}
        state, reason = state_of_unfinished(folder), ""
    else:
        reason = damage_of(folder, meta)
        state = "damaged" if reason else state_of(kind, folder, meta)
    metrics = kind.metrics(meta)
    if kind.has_steps and state in ("running", "interrupted"):
        metrics |= so_far(folder)
    return Experiment(
        folder=folder,
        marker=folder / marker.name,
        kind=name,
        created_at=_created(marker, meta),
        state=state,
        seconds=_seconds(meta),
        inputs=kind.inputs(folder, meta),
        outputs=kind.outputs(folder, meta) if is_finished else (),
        version=text(meta.get("code_version") or meta.get("version")),
        code=text(meta.get("code")),
        command=command_of(meta, COMMANDS[name]),
        working_folder=text(meta.get("working_folder")),
        config=kind.config(meta),
        metrics=metrics,
        reason=reason,
    )


def _marker(path: Path) -> Path:
    """The file of a run by a path that a user or a scan names.

    Raises:
        ResultError: There is none, or there are several.
    """
    if path.is_dir():
        found = marker_of(path)
        if found is not None:
            return found
        several = markers_in([each.name for each in path.iterdir() if each.is_file()])
        if several:
            raise ResultError(
                f"{path} holds several runs: {', '.join(several)}", "Name one of these files"
            )
        raise ResultError(f"{path} holds no run", "Check the path, or look with `runs list`")
    if not path.is_file():
        raise ResultError(f"{path} does not exist", "Check the path")
    if path.name == METRICS:
        return _marker(path.parent)
    # A run that was begun when somebody looked may be finished by now.
    plan = side_name(DEFAULT_STEM, "plan", "json")
    if path.name == RECIPE or path.name == plan or path.name.endswith(f".{plan}"):
        meta = path.with_name(meta_name(path.name[: -len(plan) - 1] or DEFAULT_STEM))
        meta = path.with_name(_META) if path.name == RECIPE else meta
        return meta if meta.is_file() else path
    return path


def _read(marker: Path) -> dict[str, Any]:
    """The content of a marker.

    Raises:
        ResultError: It cannot be read, or is no mapping.
    """
    try:
        # Not a pipe: opening one would wait.
        if not marker.is_file():
            raise ValueError("it is no file")
        if (size := marker.stat().st_size) > _MOST:
            raise ValueError(f"it has {size:,} bytes, which no run's metadata have")
        content = marker.read_text("utf-8")
        if marker.name == RECIPE:
            import yaml

            try:
                read = yaml.safe_load(content)
            except yaml.YAMLError as error:
                raise ValueError(str(error)) from error
        else:
            read = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"cannot read {marker}: {error}", _RESTORE) from error
    if not isinstance(read, dict):
        raise ResultError(f"{marker} is not a mapping", _RESTORE)
    return read


def _kind_of_recipe(recipe: Mapping[str, Any]) -> str:
    sections = {"adapter": TUNING, "gate": MIXTURE}
    return next((kind for name, kind in sections.items() if name in recipe), KIND)


def _unknown(marker: Path, name: object) -> ResultError:
    if name is None:
        return ResultError(f"{marker} does not say what it is a run of", _RESTORE)
    near = difflib.get_close_matches(str(name)[:80], RUN_KINDS, n=1)
    hint = f"; the nearest known one is {near[0]}" if near else ""
    return ResultError(
        f"{marker} is of the kind {str(name)[:80]!r}, which this version does not know{hint}",
        "Update mlx-probe, or leave it out",
    )


def _created(marker: Path, meta: Mapping[str, Any]) -> str:
    """When, in UTC; the file's time where the metadata do not say."""
    try:
        when = datetime.fromisoformat(str(meta.get("created_at", "")).replace("Z", "+00:00"))
        if when.tzinfo is None:
            when = when.replace(tzinfo=timezone.utc)
        when = when.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        try:
            when = datetime.fromtimestamp(marker.stat().st_mtime, timezone.utc)
        except (OSError, ValueError, OverflowError):
            when = datetime.fromtimestamp(0, timezone.utc)
    return when.isoformat(timespec="seconds")


def _seconds(meta: Mapping[str, Any]) -> float | None:
    """All starts together where the run says so."""
    total = number(mapping(meta.get("total")).get("seconds"))
    if total is not None:
        return total
    seconds = meta.get("seconds")
    if not isinstance(seconds, Mapping):
        return number(seconds)
    phases = [number(value) for name, value in seconds.items() if name not in _PHASES]
    known = [value for value in phases if value is not None]
    return sum(known) if known else None
