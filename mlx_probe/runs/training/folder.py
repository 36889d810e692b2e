"""The folder of a training run: how it is recognized, and the names of its files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "ACTIVE_EXPERTS",
    "ANALYSIS",
    "DIFFERENCE",
    "DIFFERENCES_OVER_TIME",
    "FILES",
    "KIND",
    "KINDS",
    "META",
    "METRICS",
    "MIXTURE",
    "RECIPE",
    "SAMPLES",
    "SPECTRA_OVER_TIME",
    "TUNING",
    "compared_snapshots",
    "is_training",
    "measured_snapshots",
    "training_folder",
    "training_remedy",
]

# Kinds in run_meta.json: of new models, of those that are tuned, and of mixtures' gates.
KIND, TUNING, MIXTURE, META = "train", "tune", "moe-train", "run_meta.json"
KINDS = frozenset({KIND, TUNING, MIXTURE})
METRICS, SAMPLES, RECIPE = "metrics.jsonl", "samples.jsonl", "recipe.yaml"
SPECTRA_OVER_TIME = "spectra_over_time.parquet"
DIFFERENCES_OVER_TIME = "differences_over_time.parquet"
# Of a mixture: how many experts each token of the validation text uses in each layer, and sums.
ACTIVE_EXPERTS = ("active_experts.parquet", "active_experts.json")
# What a measurement in the same folder must not be called.
FILES = frozenset(
    {METRICS, "metrics.parquet", SAMPLES, SPECTRA_OVER_TIME, DIFFERENCES_OVER_TIME}
    | set(ACTIVE_EXPERTS)
)
# The measurement of a snapshot, inside of its folder: a run of `analyze`; of a tuning one of
# `compare`, of the base and the adapter.
ANALYSIS, DIFFERENCE = "analysis", "difference"

_STEP = re.compile(r"step-(\d{1,12})")


def is_training(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a training run, finished or not.

    Args:
        path: Any path: the run's folder, its run_meta.json or its metrics.jsonl.
    """
    return training_folder(Path(path)) is not None


def training_folder(path: Path) -> Path | None:
    """The folder of the training run that a path means; None where it means none.

    A run that is not finished has no run_meta.json yet: its recipe and its metrics say what it is.
    """
    folder = path.parent if path.name in (METRICS, META) else path
    meta = folder / META
    if meta.is_file():
        return folder if _kind(meta) in KINDS else None
    return folder if (folder / METRICS).is_file() and (folder / RECIPE).is_file() else None


def measured_snapshots(folder: Path) -> Mapping[int, Path]:
    """The snapshots of a training run that are measured: step to the run of `analyze`."""
    return _finished(folder, ANALYSIS, META)


def compared_snapshots(folder: Path) -> Mapping[int, Path]:
    """The snapshots of a tuning that are compared with its base: step to the run of `compare`."""
    return _finished(folder, DIFFERENCE, f"compare.{META}")


def _finished(folder: Path, name: str, meta: str) -> Mapping[int, Path]:
    """By step, the runs of one name inside of the snapshots that are finished."""
    found = {}
    for path in (folder / "snapshots").glob("step-*"):
        step = _STEP.fullmatch(path.name)
        # Its metadata are written last.
        if step and (path / name / meta).is_file():
            found[int(step[1])] = path / name
    return dict(sorted(found.items()))


def training_remedy(folder: Path) -> str:
    """What to do instead of taking a training run for the measurement of a model."""
    snapshots = measured_snapshots(folder)
    report = f"`mlx-probe report {folder}` shows the training"
    if not snapshots:
        return f"{report}; `mlx-probe analyze {folder / 'model'}` measures its model"
    last = list(snapshots.values())[-1]
    return f"Name the measurement of one of its snapshots, such as {last}; {report}"


def _kind(meta: Path) -> Any:
    try:
        read = json.loads(meta.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return read.get("kind") if isinstance(read, dict) else None
