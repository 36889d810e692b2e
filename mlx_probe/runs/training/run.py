"""A training run as notebooks and reports read it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from mlx_probe.core.errors import ResultError
from mlx_probe.core.language import tr
from mlx_probe.core.notebook import card
from mlx_probe.runs.load_side import load_spectra
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.monitor.jobs import running_jobs
from mlx_probe.runs.training.folder import (
    DIFFERENCES_OVER_TIME,
    KIND,
    KINDS,
    META,
    METRICS,
    MIXTURE,
    RECIPE,
    SAMPLES,
    SPECTRA_OVER_TIME,
    TUNING,
    compared_snapshots,
    measured_snapshots,
    training_folder,
)
from mlx_probe.runs.training.metrics import metrics_frame, read_lines, samples_frame
from mlx_probe.runs.training.over_time import read_over_time

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["State", "TrainingRun", "load_training_run"]

State = Literal["finished", "stopped early", "running", "interrupted"]


@dataclass(frozen=True, repr=False)
class TrainingRun:
    """A run of train, tune or moe train, also unfinished. It stands for its folder.

    Attributes:
        folder: The run folder.
        meta: Content of run_meta.json; empty while there is none.
        recipe: The configuration, by section and key.
        state: How far it is: all steps are done, it stopped early by its patience, it runs now, or
            it ended before.
        metrics: A row for each step, and for the evaluation before the first one: step, tokens,
            seconds, train_loss, learning_rate, grad_norm, tokens_per_second, val_loss, val_bpb;
            NaN where the step has no such number.
        samples: Samples of text: step, prompt, text.
        torn: Whether the last line of the metrics was not complete, and is left out.
    """

    folder: Path
    meta: Mapping[str, Any]
    recipe: Mapping[str, Any]
    state: State
    metrics: pd.DataFrame = field(compare=False)
    samples: pd.DataFrame = field(compare=False)
    torn: bool = False

    def __fspath__(self) -> str:
        """The path of the run folder."""
        return str(self.folder)

    @property
    def is_tuning(self) -> bool:
        """Whether `mlx-probe tune` made it."""
        return self.kind == TUNING

    @property
    def kind(self) -> str:
        """What made it: `KIND`, `TUNING` or `MIXTURE`."""
        # Before its end only the recipe says so: that of `train` has neither adapter nor gate.
        sections = {"adapter": TUNING, "gate": MIXTURE}
        begun = next((kind for name, kind in sections.items() if name in self.recipe), KIND)
        return str(self.meta.get("kind", begun))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def steps_done(self) -> int:
        """The last step that has a line of metrics."""
        return int(self.metrics["step"].iloc[-1]) if len(self.metrics) else 0

    @property
    def planned_steps(self) -> int | None:
        """Steps of the whole training, as far as the run says."""
        train = self.recipe.get("train")
        planned = self.meta.get("planned_steps", train.get("steps") if train else None)
        return int(planned) if isinstance(planned, (int, float)) else None

    @cached_property
    def snapshots(self) -> Mapping[int, Path]:
        """The measured snapshots: step to the run of `analyze` that measured it."""
        return measured_snapshots(self.folder)

    @cached_property
    def over_time(self) -> pd.DataFrame:
        """The rows of all measured snapshots: column step, then the columns of `analyze`.

        Raises:
            ResultError: A file is damaged.
        """
        return read_over_time(self.folder / SPECTRA_OVER_TIME, self.snapshots)

    @cached_property
    def comparisons(self) -> Mapping[int, Path]:
        """Of a tuning: step of each compared snapshot to the run of `compare` with the base."""
        return compared_snapshots(self.folder)

    @cached_property
    def differences_over_time(self) -> pd.DataFrame:
        """The rows of all compared snapshots: column step, then the columns of `compare`.

        Raises:
            ResultError: A file is damaged.
        """
        return read_over_time(self.folder / DIFFERENCES_OVER_TIME, self.comparisons)

    def spectra(self, step: int) -> pd.DataFrame | None:
        """The singular values of a snapshot; see `load_spectra`. None if it kept none.

        Raises:
            ResultError: There is no measured snapshot of this step, or its files are damaged.
        """
        if step not in self.snapshots:
            known = ", ".join(map(str, self.snapshots)) or "none"
            raise ResultError(
                f"{self.folder} has no measured snapshot of step {step}",
                f"Steps that have one: {known}",
            )
        return load_spectra(self.snapshots[step])

    def __repr__(self) -> str:
        """Folder, state and steps."""
        return tr("<TrainingRun of {facts}; {folder}>", facts=self._facts(), folder=self.folder)

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        facts = {tr("state"): self._facts(), tr("folder"): str(self.folder)}
        return card(self.name, {**facts, tr("snapshots"): str(len(self.snapshots))}, [])

    def _facts(self) -> str:
        planned = self.planned_steps or "?"
        return tr(
            "{state}, step {step} of {planned}",
            state=self.state,
            step=self.steps_done,
            planned=planned,
        )


def load_training_run(path: str | os.PathLike[str]) -> TrainingRun:
    """A training run for notebooks, also while it runs or after it was interrupted.

    Example::

        run = mlx_probe.load_training_run("runs/shakespeare")
        run.metrics.plot(x="step", y=["train_loss", "val_loss"])

    Args:
        path: The run folder, its run_meta.json or its metrics.jsonl.

    Raises:
        ResultError: There is no training run, or its files are damaged.
    """
    folder = training_folder(Path(path))
    if folder is None:
        known = os.fspath(path)
        fact = f"{known} is no training run" if Path(path).exists() else f"{known} does not exist"
        raise ResultError(
            fact, "Name the folder that `mlx-probe train --out` or `mlx-probe tune --out` wrote"
        )
    meta_path = folder / META
    meta = read_meta(meta_path) if meta_path.is_file() else {}
    lines, torn = read_lines(folder / METRICS)
    samples, _ = read_lines(folder / SAMPLES)
    return TrainingRun(
        folder,
        meta,
        _recipe(folder, meta),
        _state(folder, meta),
        metrics_frame(lines),
        samples_frame(samples),
        torn,
    )


def _recipe(folder: Path, meta: Mapping[str, Any]) -> Mapping[str, Any]:
    recipe = meta.get("recipe")
    if isinstance(recipe, Mapping):
        return recipe
    try:
        read = yaml.safe_load((folder / RECIPE).read_text("utf-8"))
    except (OSError, UnicodeError, RecursionError, yaml.YAMLError) as error:
        raise ResultError(
            f"cannot read {folder / RECIPE}: {error}",
            "Restore the file, or run the same command of mlx-probe train again",
        ) from error
    return read if isinstance(read, Mapping) else {}


def _state(folder: Path, meta: Mapping[str, Any]) -> State:
    here = folder.resolve()
    if any(job.kind in KINDS and Path(job.folder).resolve() == here for job in running_jobs()):
        return "running"
    if meta.get("stopped_early"):
        return "stopped early"
    done, planned = meta.get("steps_done"), meta.get("planned_steps")
    return "finished" if planned is not None and done == planned else "interrupted"
