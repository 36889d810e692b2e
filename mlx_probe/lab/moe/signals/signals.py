"""`mlx-probe moe signals`: what the gradients of a text say of a model, window by window."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.core.files import write_error
from mlx_probe.core.records import Row
from mlx_probe.lab.device import DeviceName, use_device
from mlx_probe.lab.moe.signals.config import SignalsConfig
from mlx_probe.lab.moe.signals.files import write_files
from mlx_probe.lab.moe.signals.stages import STAGES
from mlx_probe.lab.moe.signals.subject import Subject, open_subject
from mlx_probe.lab.moe.signals.summary import Summary
from mlx_probe.lab.moe.signals.tables import WindowRows
from mlx_probe.lab.moe.signals.window import (
    WindowSignals,
    measure_window,
    read_window,
    write_window,
)
from mlx_probe.runs.folder import RunPaths, resolve_output
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.mixture.signals import (
    EXPERTS,
    KIND,
    MAP_TOKENS,
    TOKENS,
    WINDOW_COLUMNS,
    WINDOWS,
)
from mlx_probe.runs.run import Run

if TYPE_CHECKING:
    from mlx_probe.runs.monitor.watch import WatchConfig

__all__ = ["signals"]

# Windows that are measured, until all are: hidden, so that it is in nobody's way.
_SCRATCH = ".windows"


def signals(
    model: str | os.PathLike[str],
    data: str,
    out: str | Path,
    config: SignalsConfig | None = None,
    *,
    device: DeviceName = "auto",
    watch: WatchConfig | None = None,
    resume: bool = True,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_alert: Callable[[str, bool], None] | None = None,
) -> Run:
    """Measure error, uncertainty, gradients, Surprise and the map of blocks over a text.

    Called again with the same arguments it goes on where it was interrupted, to the same bytes.

    Args:
        model: A dense model or a mixture; see `load_model`. It is computed in float32.
        data: What `mlx-probe evaluate` takes.
        out: The run folder; see `mlx_probe.runs.mixture.signals` for its files.
        config: Settings.
        device: "cpu", "gpu", or "auto" for a GPU where there is one.
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to use the windows of an interrupted run.
        overwrite: Whether to replace what ``out`` holds: another run, or files of the user.
        on_progress: Called with windows that are done, and all of them.
        on_alert: Gets what the run has to say.

    Returns:
        The run.

    Raises:
        ConfigError: A setting does not fit the model, which may be quantized, or too large.
        CheckpointError: The model is damaged, or its numbers are not finite.
        ResultError: ``out`` holds something else, or the disk refused.
        ProbeError: Model or text cannot be had.
    """
    job = Job(KIND, watch=watch, resume=resume, overwrite=overwrite, on_alert=on_alert)
    paths = resolve_output(out, ("parquet",), Path(out).name, KIND)
    if paths.shares:
        raise ConfigError(f"--out {out} is the name of a file", "Name a folder")
    use_device(device)
    subject = open_subject(os.fspath(model), data, config or SignalsConfig())
    job.begin("measure")
    with job.running(_spec(subject, paths)):
        job.write_plan(subject.describe())
        windows, rows = [], []
        for window, row in _measured(subject, job):
            windows.append(window)
            rows.append(row)
            on_progress(len(rows), len(subject.rows))
        job.refuse_changed(
            CheckpointError(
                f"{subject.loaded.name} changed while it was read",
                "Leave its files alone and run the same command again",
            )
        )
        job.begin("validate", "validating and writing")
        summary = Summary(subject, windows, rows)
        checks = summary.checks()
        job.begin("write")
        outputs = write_files(job.paths, summary.tables(), summary.maps())
        finished = job.finish({**subject.describe(), **summary.describe()}, checks, outputs, {})
        shutil.rmtree(job.paths.folder / _SCRATCH, ignore_errors=True)
        return finished
    raise AssertionError("the run is returned within")


def _spec(subject: Subject, paths: RunPaths) -> JobSpec:
    described = subject.describe()
    return JobSpec(
        title=f"{subject.loaded.name} ({subject.data})",
        about=(f"{subject.loaded.name} reads {subject.data}",),
        paths=paths,
        columns=WINDOW_COLUMNS,
        fingerprint=subject.fingerprint,
        stages=STAGES,
        described={key: described[key] for key in ("model", "configuration")},
        sides=(WINDOWS, EXPERTS, TOKENS),
        sizes=[1] * len(subject.rows),
    )


def _measured(subject: Subject, job: Job) -> Iterator[tuple[WindowSignals, Row]]:
    """Each window: kept by an interrupted run of the same model and text, or measured now."""
    scratch = job.paths.folder / _SCRATCH
    kept = set(job.journal.rows)
    if not kept:
        # Of another run, whose journal is gone.
        shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(scratch, error) from error
    make_row, config = WindowRows(subject.config), subject.config
    for number, tokens in enumerate(subject.rows):
        path = scratch / f"{number:08}.npz"
        window = _kept(path, len(subject.blocks)) if number in kept else None
        is_new = window is None
        if window is None:
            with job.meter.stage("measure"):
                window = measure_window(
                    subject.loaded.model,
                    subject.blocks,
                    tokens,
                    config.block,
                    subject.loaded.name,
                    number * (len(tokens) - 1) < MAP_TOKENS,
                )
        row = make_row(number, window)
        if is_new:
            with job.meter.stage("record"):
                write_window(path, window)
                job.append(row, f"{number}", f"{row.values['loss']:.4f}")
        yield window, row


def _kept(path: Path, mixtures: int) -> WindowSignals | None:
    """A window on disk; None if it is not whole, and has to be measured again."""
    try:
        return read_window(path, mixtures)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
