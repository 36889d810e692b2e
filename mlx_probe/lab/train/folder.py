"""The folder of a training run: what is in it, and who may write there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_error, write_text
from mlx_probe.lab.settings import settings_to_dict, settings_to_yaml
from mlx_probe.lab.train.checkpoint import Saved, find_checkpoint
from mlx_probe.lab.train.state import TrainState
from mlx_probe.lab.train.step_lines import StepLines
from mlx_probe.runs.contents import RUN, finished_runs, journals, lines_beside
from mlx_probe.runs.exporters.kept import KEPT
from mlx_probe.runs.folder import resolve_output
from mlx_probe.runs.job import Job
from mlx_probe.runs.journal import refuse_busy
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.outputs import hashed
from mlx_probe.runs.run import Run
from mlx_probe.runs.training.folder import KIND, RECIPE

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
# Of what a run makes, the results: see `verify_hashes`. The measurement of a snapshot is a run of
# its own, with its own hashes, and so are the tokens.
_RESULTS = (
    "metrics.jsonl",
    "metrics.parquet",
    "samples.jsonl",
    "spectra_over_time.parquet",
    "recipe.yaml",
    "tensorboard/*",
    "model/*",
    "snapshots/step-*/*",
)


class TrainFolder:
    """The folder of a training run.

    Args:
        path: The folder; it need not exist.
        kind: The command that trains.
        made: What a run makes before it is finished; another run begins without it.
        results: Of what a run makes, the results, as patterns; see `verify_hashes`.

    Attributes:
        path: The folder.
        paths: Files that all jobs have.

    Raises:
        ConfigError: The name is that of a file.
    """

    def __init__(
        self,
        path: Path,
        kind: str = KIND,
        made: Sequence[str] = _MADE,
        results: Sequence[str] = _RESULTS,
    ) -> None:
        self.path, self.paths = path, resolve_output(path, ("parquet",), path.name, kind)
        self._kind, self._made, self._results = kind, made, results
        if self.paths.shares:
            raise ConfigError(f"--out {path} is the name of a file", "Name a folder")

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

    def drop_first_try(self, fingerprint: str) -> None:
        """Forget a run with other settings that ended before it trained.

        Such as one with a wrong file name, or a vocabulary that the text does not allow: there is
        nothing in it to keep. A run that has trained is not touched, see `claimed`.

        Args:
            fingerprint: Of the settings now.

        Raises:
            ResultError: Another process is at it, or the disk refused.
        """
        made = any((self.path / name).exists() for name in self._made)
        if made or self.paths.meta.exists() or self._earlier().get("kind") != self._kind:
            return
        own = self.paths.journal(fingerprint)
        earlier = [path for path in journals(self.path) if path != own]
        for journal in earlier:
            refuse_busy(journal)
        if earlier and not own.exists():
            # Empty, it says that the folder is this run's.
            write_text(own, "")
        for journal in earlier:
            _remove(journal)
            _remove(lines_beside(journal))

    def begin(self, job: Job, recipe: Any, fingerprint: str, resume: bool) -> bool:
        """Remove what an earlier run left, unless this one goes on from there.

        Args:
            job: It is running.
            recipe: Settings, which are written down.
            fingerprint: Of the settings.
            resume: Whether to go on from what is there.

        Returns:
            Whether tokens of an earlier training run may be replaced, too.

        Raises:
            ResultError: The folder holds files of the user, or the disk refused.
        """
        earlier = self._earlier()
        is_ours = earlier.get("kind") == self._kind
        for path in (self.path / name for name in (*self._made, RECIPE)):
            # Also behind an earlier start, which this has ended.
            if path.exists() and not is_ours:
                raise ResultError(
                    f"{path} is not of a training run", "Move it away, or choose another --out"
                )
        # The journal says what the run cost; it is not what training goes on from.
        same = resume and earlier.get("fingerprint") == fingerprint and not self.paths.meta.exists()
        anew = not (job.journal.starts or same)
        if anew:
            # The metadata first: they say that all the rest is there.
            for path in (self.paths.meta, *(self.path / name for name in self._made)):
                if is_ours:
                    _remove(path)
        # From here on the folder is that of a training run.
        job.write_plan({"recipe": settings_to_dict(recipe)})
        write_text(self.path / RECIPE, settings_to_yaml(recipe))
        return anew and is_ours

    def _earlier(self) -> dict[str, Any]:
        """What the plan in the folder says of its run; empty without any."""
        try:
            earlier = read_meta(self.paths.plan)[RUN]
        except (ResultError, KeyError):
            return {}
        return earlier if isinstance(earlier, dict) else {}

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
        """Write the metrics in the formats of `KEPT`, and remove what the run replaces.

        Args:
            replaced: Files of earlier runs, from the job's paths.

        Returns:
            The metadata's key "outputs".

        Raises:
            ResultError: The disk refused.
        """
        for name, export in KEPT.items():
            export(self.path, self.path / name)
        files = [
            path
            for pattern in self._results
            for path in sorted(self.path.glob(pattern))
            if path.is_file() and not path.name.startswith(".")
        ]
        for old in replaced:
            if old not in files:
                _remove(old)
        return hashed(self.path, files)


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
