"""Whether a run is finished, stopped early, interrupted, running or damaged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.runs.experiments.values import mapping, number
from mlx_probe.runs.monitor.jobs import running_jobs

if TYPE_CHECKING:
    from mlx_probe.runs.experiments.kinds import RunKind

__all__ = ["damage_of", "state_of", "state_of_unfinished"]


def state_of(kind: RunKind, folder: Path, meta: Mapping[str, Any]) -> str:
    """The state of a run that has its metadata.

    Args:
        kind: Its kind.
        folder: Its folder.
        meta: Its metadata.
    """
    if not kind.has_steps:
        return "interrupted" if meta.get("interrupted") is True else "finished"
    if meta.get("stopped_early") is True:
        return "stopped early"
    done, planned = number(meta.get("steps_done")), number(meta.get("planned_steps"))
    # A longer training may go on in the folder of a finished one.
    if planned is None or done == planned:
        return "finished"
    return state_of_unfinished(folder)


def state_of_unfinished(folder: Path) -> str:
    """Whether a process works in a folder now.

    Args:
        folder: Its real path.
    """
    here = str(folder)
    is_running = any(os.path.realpath(job.folder) == here for job in running_jobs())
    return "running" if is_running else "interrupted"


def damage_of(folder: Path, meta: Mapping[str, Any]) -> str:
    """Which output of a finished run is gone or cut; "" if all are there.

    Only files of the folder itself: checkpoints and snapshots in it may go to save space.

    Args:
        folder: The run folder.
        meta: Its metadata.
    """
    for name, described in mapping(meta.get("outputs")).items():
        if "/" in name or "\\" in name or "\0" in name or name in ("", ".", ".."):
            continue
        expected = mapping(described).get("bytes")
        try:
            size = (folder / name).stat().st_size
        except OSError:
            return f"{name} is gone"
        if isinstance(expected, int) and size != expected:
            return f"{name} has {size:,} bytes instead of {expected:,}"
    return ""
