"""What the trainer calls to keep weights and to have them measured while it goes on."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from mlx_probe.analysis.working_set import eigen_solvers
from mlx_probe.compute.calibration import load_calibration
from mlx_probe.core.files import write_error
from mlx_probe.core.machine import usable_cores
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.train.config import SnapshotConfig
from mlx_probe.lab.train.watch.folder import SnapshotFolder
from mlx_probe.lab.train.watch.ledger import read_events
from mlx_probe.lab.train.watch.over_time import write_over_time
from mlx_probe.lab.train.watch.snapshots import snapshot_steps

if TYPE_CHECKING:
    import mlx.core as mx

__all__ = ["REQUEST", "Watch"]

# A file of this name in `snapshots` asks for a snapshot after the next step.
REQUEST = "request"

# Output of the measuring process: its log, and what a crash leaves.
LOG = "measuring.log"

_PROCESS = "mlx_probe.lab.train.watch.process"

# Seconds between two looks at the measurements after training.
_LOOK = 0.1

# One thread for each worker, before the engine can say so: threads of a pool that are not used
# wait in loops, and take cores from training.
_ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

_log = logging.getLogger(__name__)


class Watch:
    """Keeps snapshots, and has them measured in the background between ``with`` and its end.

        with Watch(run, config, model, total) as watch:
            for step in range(first, total + 1):
                ...
                if watch.due(step, is_last):
                    watch.keep(step, weights)   # before a checkpoint of the same step
            meta["watch"] = watch.finish(on_progress)

    Nothing that fails in the background ends the training.

    Args:
        run: Folder of the training run; it exists.
        config: Which steps, and how they are measured.
        model: Shape of the model.
        total: Steps of the run.

    Raises:
        ConfigError: The configuration names a step after the last one.
    """

    def __init__(self, run: Path, config: SnapshotConfig, model: ModelConfig, total: int) -> None:
        self._run, self._config, self._model = run, config, model
        self._folder = SnapshotFolder(run)
        self._steps = snapshot_steps(config, total)
        self._request = self._folder.path / REQUEST
        self._process: subprocess.Popen[bytes] | None = None
        self._cpu = self._wall = 0.0
        self._events = 0

    def __enter__(self) -> Watch:
        try:
            self._folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self._folder.path, error) from error
        self._folder.clean()
        self._events = len(read_events(self._folder.path))
        # While training goes on, the speed of the machine would come out too low.
        eigen_solvers([self._model.dim])
        load_calibration(rates=True)
        # Without steps to measure the process has nothing to do until a snapshot is asked for.
        if self._steps:
            self._start_beside_training()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def due(self, step: int, is_last: bool = False) -> bool:
        """Whether the weights after a step are kept.

        Args:
            step: The step: one of the planned ones, or a snapshot was asked for.
            is_last: Whether training ends with it, though more steps were planned.
        """
        is_last = is_last and self._config.per_decade > 0
        return step in self._steps or is_last or self._request.exists()

    def keep(self, step: int, weights: Mapping[str, mx.array]) -> None:
        """Put the weights on disk, where the measuring process finds them.

        Args:
            step: The step.
            weights: By name; computed already.

        Raises:
            ResultError: The disk refused.
        """
        from mlx_probe.lab.model.layout import write_model

        self._folder.keep(step, lambda folder: write_model(folder, self._model, dict(weights)))
        with suppress(OSError):
            self._request.unlink()
        self._log_events()
        if self._process is None:
            self._start_beside_training()
        elif self._process.poll() is not None:
            _log.warning("measuring ended by itself, see %s", self._folder.path / LOG)
            self._stop()
            self._start_beside_training()

    def finish(self, on_progress: Callable[[int, int], object] | None = None) -> dict[str, Any]:
        """Measure what is left, with the whole machine, when training is over.

        Args:
            on_progress: Called with the number of measured snapshots and that of all.

        Returns:
            The metadata's key "watch": what was kept, measured, skipped while training went on,
            and not measured with the reason; and what measuring took.

        Raises:
            ResultError: A table cannot be written.
        """
        self._stop()
        took = (self._cpu, self._wall)
        left: list[int] = []
        # Once more after a crash, as long as it gets on.
        while (unmeasured := self._folder.unmeasured()) and unmeasured != left:
            left = unmeasured
            self._start()
            if self._follow(on_progress or (lambda done, total: None)):
                break
        self._stop()
        self._log_events()
        write_over_time(self._run)
        return self._summary(*took)

    def _start_beside_training(self) -> None:
        if self._config.watch_share > 0:
            self._start("--share", str(self._config.watch_share), **_ONE_THREAD)

    def _start(self, *options: str, **environment: str) -> None:
        command = [sys.executable, "-m", _PROCESS, str(self._run)]
        command += ["--metrics", self._config.metrics, *options]
        try:
            with (self._folder.path / LOG).open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **environment},
                )
        except OSError as error:
            _log.warning("snapshots are not measured: %s", error)
        self._began = time.monotonic()

    def _stop(self) -> None:
        """End the measuring process; a measurement under way goes on from its journal later."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(psutil.Error):
            times = psutil.Process(process.pid).cpu_times()
            children = times.children_user + times.children_system
            self._cpu += times.user + times.system + children
        self._wall += time.monotonic() - self._began
        process.kill()
        process.communicate()

    def _follow(self, on_progress: Callable[[int, int], object]) -> bool:
        """Wait for the end of the process; return whether it came to its end."""
        total, process = len(self._folder.steps()), self._process
        while process is not None and process.poll() is None:
            on_progress(len(self._folder.measured()), total)
            time.sleep(_LOOK)
        on_progress(len(self._folder.measured()), total)
        if process is None or process.returncode:
            _log.warning("measuring ended by itself, see %s", self._folder.path / LOG)
            return False
        return True

    def _log_events(self) -> None:
        """Say in the log of the training run what happened in the background."""
        new = read_events(self._folder.path, self._events)
        self._events += len(new)
        for event in new:
            if event.what == "measured":
                _log.info("snapshot of step %d: measured in %.1f s", event.step, event.seconds)
            elif event.what == "failed":
                _log.warning("snapshot of step %d: not measured: %s", event.step, event.reason)
        if late := [str(event.step) for event in new if event.what == "skipped"]:
            text = "measuring falls behind: the snapshots of steps %s are measured later"
            _log.info(text, ", ".join(late))

    def _summary(self, cpu: float, wall: float) -> dict[str, Any]:
        events = read_events(self._folder.path)
        measured = {e.step: e for e in events if e.what == "measured"}
        at_end = sorted(step for step, event in measured.items() if not event.while_training)
        reasons = {e.step: e.reason for e in events if e.what == "failed"}
        unknown = f"see snapshots/{LOG}"
        return {
            "snapshots": self._folder.steps(),
            "measured": self._folder.measured(),
            "measured_at_end": at_end,
            "skipped_while_training": sorted({e.step for e in events if e.what == "skipped"}),
            "failed": {str(s): reasons.get(s, unknown) for s in self._folder.unmeasured()},
            "seconds": sum(event.seconds for event in measured.values()),
            "share": self._config.watch_share,
            # Of this start: those of a killed process are not known.
            "share_taken": cpu / (wall * usable_cores()) if wall else 0.0,
            "cpu_seconds_while_training": cpu,
        }
