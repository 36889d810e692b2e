"""The folder of a training run: what is in it, and who may write there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import sha256_file, write_error, write_text
from mlx_probe.lab.settings import settings_to_yaml
from mlx_probe.lab.train.checkpoint import Saved, find_checkpoint
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.state import TrainState
from mlx_probe.lab.train.step_lines import StepLines
from mlx_probe.runs.contents import finished_runs
from mlx_probe.runs.exporters import EXPORTERS
from mlx_probe.runs.folder import resolve_output
from mlx_probe.runs.job import Job
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.run import Run

__all__ = ["TrainFolder"]

# What a run makes before it is finished; another run begins without it.
_MADE = (
    "checkpoints",
    "snapshots",
    "model",
    "metrics.jsonl",
    "metrics.parquet",
    "samples.jsonl",
    "spectra_over_time.parquet",
    "tensorboard",
)


class TrainFolder:
    """The folder of a training run.

    Args:
        path: The folder; it need not exist.

    Attributes:
        path: The folder.
        paths: Files that all jobs have.

    Raises:
        ConfigError: The name is that of a file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.paths = path, resolve_output(path, ("parquet",), path.name, "train")
        if self.paths.shares:
            raise ConfigError(f"--out {path} is the name of a file", "Name a folder")
        self._is_ours = False

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def finished(self, fingerprint: str, resume: bool) -> Run | None:
        """The finished run of these settings, if there is one.

        Args:
            fingerprint: Of the settings.
            resume: Whether the user is content with it.

        Raises:
            ResultError: The user is not: hours of work are not replaced without a word.
        """
        meta = finished_runs(self.path, only=self.paths.meta).get(self.paths.meta)
        if meta is None or meta.get("fingerprint") != fingerprint:
            return None
        if not resume:
            raise ResultError(
                f"{self.path} holds this run, finished",
                "Choose another --out, or replace it with --overwrite",
            )
        return Run(self.paths.meta, meta)

    def note_earlier(self) -> None:
        """Note whether the folder is that of a training run, before the job's plan replaces it."""
        try:
            self._is_ours = read_meta(self.paths.plan)["run"]["kind"] == "train"
        except (ResultError, KeyError, TypeError):
            self._is_ours = False

    def begin(self, job: Job, recipe: Recipe) -> None:
        """Remove what an earlier run left, unless this one goes on from there.

        Args:
            job: It is running.
            recipe: Is written down.

        Raises:
            ResultError: The folder holds files of the user, or the disk refused.
        """
        if not job.journal.starts:
            for path in (self.path / name for name in _MADE):
                if path.exists() and not self._is_ours:
                    raise ResultError(
                        f"{path} is not of a training run", "Move it away, or choose another --out"
                    )
                _remove(path)
        write_text(self.path / "recipe.yaml", settings_to_yaml(recipe))

    def checkpoint(self, about: Mapping[str, Any], warn: Callable[[str], None]) -> Saved | None:
        """The checkpoint to go on from; None to begin.

        Args:
            about: What a checkpoint of this run says of itself.
            warn: Gets what is wrong with newer ones.

        Raises:
            CheckpointError: None is whole.
            ResultError: They are of other settings or of another text.
        """
        refused: list[str] = []
        saved = find_checkpoint(self.checkpoints, refused)
        if saved is None:
            return None
        for fact in refused:
            warn(f"{fact}; training goes on from {saved.folder.name}")
        if saved.about.get("fingerprint") != about["fingerprint"]:
            raise ResultError(
                f"{saved.folder} is of a run with other settings",
                "Choose another --out, or start again with --no-resume",
            )
        if saved.about.get("data") != about["data"]:
            raise ResultError(
                f"{saved.folder} was trained on other tokens: the text or its tokenizer changed",
                "Bring the text back, choose another --out, or start again with --no-resume",
            )
        return saved

    def metrics(self, state: TrainState) -> StepLines:
        """metrics.jsonl as it was at a state."""
        return StepLines(self.path / "metrics.jsonl", _last_line(state))

    def samples(self, state: TrainState) -> StepLines:
        """samples.jsonl as it was at a state."""
        return StepLines(self.path / "samples.jsonl", _last_line(state))

    def write_tables(self, replaced: Sequence[Path]) -> dict[str, dict[str, Any]]:
        """Write the metrics in the formats of `EXPORTERS`, and remove what the run replaces.

        Args:
            replaced: Files of earlier runs, from the job's paths.

        Returns:
            The metadata's key "outputs".

        Raises:
            ResultError: The disk refused.
        """
        for exporter in EXPORTERS.values():
            exporter.export(self.path, self.path / exporter.name)
        names = ("metrics.jsonl", "metrics.parquet")
        for old in replaced:
            if old.name not in names:
                _remove(old)
        files = [self.path / name for name in names]
        return {
            file.name: {"sha256": sha256_file(file), "bytes": file.stat().st_size} for file in files
        }


def _last_line(state: TrainState) -> int:
    """The last step whose lines are written."""
    return state.step if state.pending is None else state.step - 1


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
