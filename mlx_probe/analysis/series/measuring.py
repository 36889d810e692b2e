"""Which checkpoints are new, and their measurement by the engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_probe.analysis.analyze import analyze
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.analysis.series.config import SeriesConfig, SeriesProgress
from mlx_probe.analysis.series.found import Found
from mlx_probe.analysis.series.states import StepState
from mlx_probe.core.errors import CheckpointError, ConfigError, ResultError, SourceError
from mlx_probe.core.files import write_error
from mlx_probe.runs.fingerprint import file_stamps
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.series import META, SeriesFolder

__all__ = ["drop_differing", "is_current", "measure_step", "refuse_other_settings"]

# Settings of an analysis that decide its numbers.
_DECIDE = (
    *("metrics", "spectrum", "include", "exclude", "sample", "rank_tol", "zero_epsilon", "seed"),
)


def is_current(folder: SeriesFolder, found: Found) -> bool:
    """Whether the measurement of a step is of the files that its checkpoint has now.

    Args:
        folder: Of the series.
        found: The checkpoint.
    """
    try:
        meta = folder.meta(found.step)
        model, stamps = meta["model"], sorted(map(tuple, meta["stamps"]))
        if found.revision is not None:
            return bool(model["revision"] == found.revision)
        weights = [Path(path) for path in model["weights"]]
        if _is_inside(weights, Path(found.model)):
            return sorted(file_stamps(weights)) == stamps
    except (ResultError, OSError, KeyError, TypeError):
        return False
    try:
        # Measured elsewhere: the folder was moved, or another one is of this step now.
        with open_checkpoint(found.model, found.revision) as checkpoint:
            return sorted(file_stamps(checkpoint.files.weights)) == stamps
    except (SourceError, CheckpointError, OSError):
        return False


def _is_inside(weights: list[Path], model: Path) -> bool:
    where = model.expanduser().absolute()
    return all(path == where or where in path.parents for path in weights)


def refuse_other_settings(meta: Mapping[str, Any], config: SeriesConfig, step: int) -> None:
    """Refuse a measurement that was made in another way than those to come.

    Raises:
        ConfigError: It was.
    """
    for name, before, now in _differing(meta, config):
        raise ConfigError(
            f"step {step} was measured with --{name.replace('_', '-')} {_text(before)}, and is now "
            f"asked for with {_text(now)}",
            "Give the same options, choose another --out, or measure all again with --overwrite",
        )


def _differing(
    meta: Mapping[str, Any], config: SeriesConfig
) -> Iterator[tuple[str, object, object]]:
    """Settings that differ: name, then and now."""
    before, now = meta.get("configuration"), asdict(config.analysis)
    if not isinstance(before, Mapping):
        return
    for name in _DECIDE:
        value = list(now[name]) if isinstance(now[name], tuple) else now[name]
        if name in before and before[name] != value:
            yield name, before[name], value


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "none" if value == "" else str(value)


def measure_step(
    folder: SeriesFolder, found: Found, config: SeriesConfig, progress: SeriesProgress, at: int,
    total: int,
) -> StepState:  # fmt: skip
    """Measure a checkpoint that is whole; one that is not is skipped.

    Args:
        folder: Of the series.
        found: The checkpoint.
        config: How.
        progress: Who watches.
        at: The number of the checkpoint among those of this call, from 1.
        total: Their number.

    Raises:
        Interrupted, Stopped: Finished rows stay on disk.
        ResultError: The disk refused.
        ProbeError: Anything that is not the checkpoint's fault.
    """
    try:
        with open_checkpoint(found.model, found.revision, quiet=True) as checkpoint:
            problem = next((p for p in checkpoint.parameters if p.problem), None)
            if problem is not None:
                raise CheckpointError(f"{problem.name}: {problem.problem}", "")
        # A measurement of other weights must not outlive them.
        if (folder.run(found.step) / META).exists():
            _remove(folder.run(found.step))
        began = time.perf_counter()
        run = analyze(
            found.model,
            out=folder.run(found.step),
            formats=("parquet",),
            revision=found.revision,
            # Rows of an unfinished run of the same weights and settings are used all the same.
            overwrite=True,
            config=config.analysis,
            watch=config.watch,
            progress=progress.measuring(found, at, total),
        )
    except (SourceError, CheckpointError) as error:
        progress.skipped(found, error.fact)
        return StepState(found.step, found.name, "skipped", error.fact)
    seconds = time.perf_counter() - began
    progress.measured(found, seconds)
    reason = "" if run.passed else f"the validation failed: {run.failures[0]}"
    return StepState(found.step, found.name, "measured", reason, seconds)


def drop_differing(run: Path, config: SeriesConfig) -> None:
    """Remove a finished measurement that was made in another way.

    Raises:
        ResultError: It cannot be read, or the disk refused.
    """
    if next(_differing(read_meta(run / META), config), None) is not None:
        _remove(run)


def _remove(run: Path) -> None:
    try:
        shutil.rmtree(run)
    except OSError as error:
        raise write_error(run, error) from error
