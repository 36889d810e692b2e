"""A finished training run checked again: its files, its metrics, its model, its snapshots."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.errors import ProbeError, ResultError
from mlx_probe.runs.check import Check
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.outputs import verify_hashes
from mlx_probe.runs.training.folder import META, METRICS, SPECTRA_OVER_TIME, TUNING, training_folder
from mlx_probe.runs.training.metrics import read_lines
from mlx_probe.runs.training.over_time import written_over_time
from mlx_probe.runs.training.run import TrainingRun, load_training_run

__all__ = ["validate_training"]

# Numbers that every step has, and that have to be finite.
_FINITE = ("train_loss", "learning_rate", "grad_norm")


def validate_training(path: str | os.PathLike[str]) -> list[Check]:
    """Check a finished training run.

    Args:
        path: Its folder, its run_meta.json or its metrics.jsonl.

    Returns:
        One check for each promise: the outputs and the tables of the measurements are as written,
        every step has one line of metrics, the numbers are finite, the model opens with the
        parameters that the run says, and the table of the snapshots has each of them once with
        the same tensors.

    Raises:
        ResultError: The run is not finished, or cannot be read.
    """
    folder = training_folder(Path(path))
    if folder is not None and not (folder / META).is_file():
        raise ResultError(
            f"{folder} is of a training run that is not finished",
            "Run the same command of mlx-probe train again to go on with it",
        )
    hashes = [] if folder is None else verify_hashes(folder, read_meta(folder / META))
    try:
        run = load_training_run(path)
        lines, torn = read_lines(run.folder / METRICS)
    except ResultError as error:
        if all(check.passed for check in hashes):
            raise
        return [*hashes, Check("files", False, error.fact)]
    steps = [line["step"] for line in lines if isinstance(line.get("step"), int)]
    return [
        *hashes,
        *_measurements(run),
        _every_step(steps, len(lines), torn, run.meta.get("steps_done")),
        _finite(run),
        *_model(run),
        *_snapshots(run),
    ]


def _measurements(run: TrainingRun) -> Iterator[Check]:
    """Whether the tables of each snapshot's measurement are as written; only bad ones by name."""
    name, whole = "measurements of the snapshots", True
    for measured in run.snapshots.values():
        try:
            outputs = read_meta(measured / META).get("outputs", {})
        except ResultError as error:
            whole = False
            yield Check(name, False, error.fact)
            continue
        where = measured.relative_to(run.folder).as_posix()
        listed = {"outputs": {f"{where}/{file}": of for file, of in outputs.items()}}
        bad = [check for check in verify_hashes(run.folder, listed) if not check.passed]
        whole = whole and not bad
        yield from bad
    if run.snapshots and whole:
        yield Check(name, True, "as written")


def _every_step(steps: list[int], lines: int, torn: bool, done: Any) -> Check:
    """Whether each step has one line, in order; step 0 is the evaluation before training."""
    name = f"steps of {METRICS}"
    if torn or len(steps) < lines:
        what = "its last line is cut off" if torn else f"{lines - len(steps)} lines have no step"
        return Check(name, False, what)
    expected = list(range(1, int(done) + 1)) if isinstance(done, int) else []
    trained = [step for step in steps if step > 0]
    if trained == expected and steps.count(0) <= 1 and steps == sorted(steps):
        return Check(name, True, f"{len(trained)} steps, each once")
    missing = sorted(set(expected) - set(trained))[:3]
    twice = sorted(step for step, times in Counter(steps).items() if times > 1)[:3]
    facts = [
        f"missing: {', '.join(map(str, missing))}" if missing else "",
        f"twice: {', '.join(map(str, twice))}" if twice else "",
        f"beyond the last step {done}" if trained and trained[-1] != done else "",
    ]
    return Check(name, False, "; ".join(filter(None, facts)) or "not in order")


def _finite(run: TrainingRun) -> Check:
    trained = run.metrics[run.metrics["step"] > 0]
    bad = [
        f"{column} at step {int(trained['step'].iloc[int(at)])}"
        for column in _FINITE
        if column in trained
        for at in np.flatnonzero(~np.isfinite(trained[column].to_numpy(float)))[:1]
    ]
    detail = f"not finite: {', '.join(bad)}" if bad else "all are finite"
    return Check("numbers of the steps", not bad, detail)


def _model(run: TrainingRun) -> Iterator[Check]:
    """Whether the final model or adapter opens, and is as large as the run says."""
    tuned = run.meta.get("kind") == TUNING
    name = "adapter" if tuned else "model"
    folder = run.folder / name
    try:
        with open_checkpoint(folder) as checkpoint:
            damaged = [p.name for p in checkpoint.parameters if p.problem]
            numel = sum(parameter.numel for parameter in checkpoint.parameters)
            count = len(checkpoint.parameters)
    except ProbeError as error:
        yield Check(name, False, f"{folder} cannot be opened: {error.fact}")
        return
    detail = f"cannot be read: {damaged[0]}" if damaged else f"{count} tensors"
    yield Check(name, not damaged, detail)
    expected = run.meta.get("adapter_parameters" if tuned else "parameters")
    if isinstance(expected, int):
        detail = f"{numel:,} parameters"
        same = numel == expected
        yield Check("parameters", same, detail if same else f"{detail} instead of {expected:,}")


def _snapshots(run: TrainingRun) -> Iterator[Check]:
    """Whether the table over time has every measured snapshot, complete and once."""
    watch = run.meta.get("watch")
    expected = watch.get("measured") if isinstance(watch, Mapping) else None
    count = len(expected) if isinstance(expected, (list, tuple)) else expected
    if isinstance(count, int):
        same = count == len(run.snapshots)
        known = f"{len(run.snapshots)} snapshots are measured"
        yield Check("snapshots", same, known if same else f"{known}, and the run says {count}")
    if not run.snapshots:
        return
    try:
        table = written_over_time(run.folder / SPECTRA_OVER_TIME)
    except ResultError as error:
        yield Check(SPECTRA_OVER_TIME, False, error.fact)
        return
    if table is None:
        yield Check(SPECTRA_OVER_TIME, False, "it is not there")
        return
    names: dict[int, list[str]] = {}
    for step, name in zip(table["step"], table["param_name"], strict=True):
        names.setdefault(int(step), []).append(str(name))
    steps, want = sorted(names), list(run.snapshots)
    if steps != want:
        differ = sorted(set(steps) ^ set(want))[:3]
        yield Check(SPECTRA_OVER_TIME, False, f"other steps than the snapshots: {differ}")
        return
    first = names[steps[0]]
    other = next((step for step in steps if names[step] != first), None)
    detail = f"{len(steps)} snapshots of {len(first)} rows"
    yield Check(
        SPECTRA_OVER_TIME,
        other is None,
        detail if other is None else f"step {other} has other tensors than step {steps[0]}",
    )
