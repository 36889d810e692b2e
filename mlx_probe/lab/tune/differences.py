"""What tuning does to each matrix: adapters at log-spaced steps, compared with the base.

    snapshots/step-N/               the adapter after step N, as mlx-lm loads it
    snapshots/step-N/difference/    the run of `mlx-probe compare BASE ADAPTER`
    differences_over_time.parquet   the rows of all of them

The comparisons are made after the last step: while a model learns it has the machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_probe.analysis.compare.config import KIND
from mlx_probe.core.errors import ProbeError
from mlx_probe.lab.train.config import SnapshotConfig
from mlx_probe.lab.train.watch.folder import SnapshotFolder
from mlx_probe.lab.train.watch.over_time import write_steps
from mlx_probe.lab.train.watch.snapshots import snapshot_steps
from mlx_probe.lab.tune.config import DifferenceConfig
from mlx_probe.runs.folder import meta_name
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.training.folder import DIFFERENCE, DIFFERENCES_OVER_TIME

__all__ = ["Differences"]

# Tuning is the job to follow, and its monitor the one with rules.
_QUIET = WatchConfig(alert=(), interval=5.0, listed=False)

_log = logging.getLogger(__name__)


class Differences:
    """Keeps adapters, and compares them in the end.

    Args:
        run: Folder of the tuning.
        config: Which steps.
        base: Folder of the base.
        total: Steps of the run.
        write: Writes the adapter of some weights into a folder that does not exist.

    Raises:
        ConfigError: The configuration names a step after the last one.
    """

    def __init__(
        self,
        run: Path,
        config: DifferenceConfig,
        base: Path,
        total: int,
        write: Callable[[Path, Mapping[str, mx.array]], None],
    ) -> None:
        self._run, self._config, self._base, self._write = run, config, base, write
        self._folder = SnapshotFolder(run)
        spaced = SnapshotConfig(per_decade=config.per_decade, at=config.at)
        # Before the first step nothing differs.
        self._steps = snapshot_steps(spaced, total) - {0}
        self._folder.clean()

    def due(self, step: int, is_last: bool) -> bool:
        """Whether the adapter after a step is kept."""
        return step in self._steps or (step > 0 and is_last and self._config.per_decade > 0)

    def keep(self, step: int, weights: Mapping[str, mx.array]) -> None:
        """Put the adapter on disk.

        Raises:
            ResultError: The disk refused.
        """
        self._folder.keep(step, lambda path: self._write(path, weights))

    def finish(self, on_progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Compare what is to be compared, and write the table of all rows.

        Args:
            on_progress: Called with comparisons done and comparisons to do.

        Returns:
            The metadata's key "differences".
        """
        steps = self._folder.steps()
        wanted = {"all": steps, "last": steps[-1:], "none": []}[self._config.compare]
        failed: dict[str, str] = {}
        for number, step in enumerate(wanted):
            on_progress(number, len(wanted))
            if reason := self._compare(step):
                failed[str(step)] = reason
        compared = {step: self._difference(step) for step in steps if self._is_done(step)}
        if compared:
            write_steps(self._run / DIFFERENCES_OVER_TIME, compared)
        return {"snapshots": steps, "compared": list(compared), "failed": failed}

    def _difference(self, step: int) -> Path:
        return self._folder.snapshot(step) / DIFFERENCE

    def _is_done(self, step: int) -> bool:
        return (self._difference(step) / meta_name(KIND)).exists()

    def _compare(self, step: int) -> str | None:
        """Why a snapshot could not be compared; None if it is."""
        if self._is_done(step):
            return None
        # Here, because tuning needs none of the engine before its end.
        from mlx_probe.analysis.compare.compare import compare

        try:
            compare(
                self._base,
                self._folder.snapshot(step),
                out=self._difference(step),
                formats=("parquet",),
                watch=_QUIET,
            )
        except ProbeError as error:
            # The adapter is there, and `mlx-probe compare` can be called again.
            _log.warning("step %d: not compared: %s", step, error.fact)
            return error.fact
        return None
