"""The folder `snapshots` of a run: the weights of each snapshot, and their measurement."""

from __future__ import annotations

import filecmp
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import write_error
from mlx_probe.core.version import __version__
from mlx_probe.runs.fingerprint import file_stamps
from mlx_probe.runs.folder import DEFAULT_STEM, meta_name
from mlx_probe.runs.meta import read_meta

__all__ = ["SnapshotFolder"]

_NAME = re.compile(r"step-(\d+)")
_ANALYSIS = "analysis"


class SnapshotFolder:
    """Snapshots on disk: `step-N/` is a model, `step-N/analysis/` the run that measured it.

    Everything that there is to know is in the names of files, so that two processes and a later
    start agree.

    Args:
        run: Folder of the training run.

    Attributes:
        path: Its folder `snapshots`.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / "snapshots"

    def snapshot(self, step: int) -> Path:
        """Folder of the weights after a step."""
        return self.path / f"step-{step}"

    def analysis(self, step: int) -> Path:
        """Folder of the measurement."""
        return self.snapshot(step) / _ANALYSIS

    def steps(self) -> list[int]:
        """Steps of the snapshots that are complete, ascending."""
        names = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
        found = (_NAME.fullmatch(name) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def is_measured(self, step: int) -> bool:
        """Whether the measurement is complete."""
        return (self.analysis(step) / meta_name(DEFAULT_STEM)).exists()

    def measured(self) -> list[int]:
        """Steps of the snapshots that are measured, ascending."""
        return [step for step in self.steps() if self.is_measured(step)]

    def unmeasured(self) -> list[int]:
        """Steps of the others, ascending."""
        return [step for step in self.steps() if not self.is_measured(step)]

    def keep(self, step: int, write: Callable[[Path], object]) -> None:
        """Put a snapshot on disk, whole or not at all.

        A resumed run repeats steps. Its weights are the same then, bit for bit, and the snapshot
        stays with its measurement; where they are not, the measurement goes.

        Args:
            step: The step.
            write: Writes the model into a folder that does not exist.

        Raises:
            ResultError: The disk refused.
        """
        target, new = self.snapshot(step), self.path / f".step-{step}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(new, ignore_errors=True)
            write(new)
            if target.exists() and _same_files(new, target):
                shutil.rmtree(new)
                return
            # First of all: a measurement of other weights must not outlive them.
            shutil.rmtree(target / _ANALYSIS, ignore_errors=True)
            shutil.rmtree(target, ignore_errors=True)
            new.rename(target)
        except OSError as error:
            raise write_error(target, error) from error

    def clean(self) -> None:
        """Remove what a killed trainer left; only the trainer may do that."""
        for left in self.path.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    def refuse_measurements(self, metrics: str) -> list[int]:
        """Remove measurements that are not of these weights, or not like the others.

        Args:
            metrics: Metric set that they have to have.

        Returns:
            Steps whose measurement was removed.
        """
        removed = [step for step in self.measured() if not self._is_valid(step, metrics)]
        for step in removed:
            shutil.rmtree(self.analysis(step), ignore_errors=True)
        return removed

    def _is_valid(self, step: int, metrics: str) -> bool:
        try:
            meta = read_meta(self.analysis(step) / meta_name(DEFAULT_STEM))
            stamps = file_stamps(sorted(self.snapshot(step).glob("*.safetensors")))
            return (
                sorted(map(tuple, meta["stamps"])) == stamps
                and meta["configuration"]["metrics"] == metrics
                and meta["code_version"] == __version__
            )
        except (ResultError, OSError, KeyError, TypeError):
            return False


def _same_files(new: Path, old: Path) -> bool:
    """Whether every file of a new snapshot is in an old one with the same bytes."""
    names = [path.name for path in new.iterdir()]
    same, _, _ = filecmp.cmpfiles(new, old, names, shallow=False)
    return len(same) == len(names)
