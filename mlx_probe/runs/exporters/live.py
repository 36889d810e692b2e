"""Loggers that follow a training: whatever happens to them, the training goes on."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, ProbeError
from mlx_probe.core.language import tr
from mlx_probe.runs.exporters import DEFAULT_EXPORTS, EXPORTERS, Exporter
from mlx_probe.runs.exporters.exported import RunLog, read_exported
from mlx_probe.runs.exporters.metrics import Values

__all__ = ["LiveLogs", "LogTarget", "parse_target"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogTarget:
    """Where a training is logged.

    Attributes:
        name: Key of `EXPORTERS`.
        path: The folder of all exports.
    """

    name: str
    path: Path

    @property
    def exporter(self) -> Exporter:
        """Its record."""
        return EXPORTERS[self.name]


def parse_target(text: str) -> LogTarget:
    """Read NAME or NAME=PATH.

    Args:
        text: As the user writes it.

    Raises:
        ConfigError: There is no logger of that name, or its package is missing.
    """
    name, equals, path = text.partition("=")
    known = [each for each, exporter in EXPORTERS.items() if exporter.open_log is not None]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(known)}"
        if name in EXPORTERS:
            hint = f"Export the finished run: mlx-probe runs export RUN --to {name}"
        raise ConfigError(f"{name!r} cannot follow a training", hint)
    if equals and not path:
        raise ConfigError(f"{text!r} names no folder", f"Write {name}=PATH, or {name} alone")
    EXPORTERS[name].require()
    return LogTarget(name, Path(path) if equals else DEFAULT_EXPORTS / name)


class LiveLogs:
    """The loggers of one training. One that fails warns once, and takes no more.

    metrics.jsonl stays the record: when the training begins or goes on, each logger is brought to
    what is in there, so that no step is doubled or lost after a kill.

    Args:
        targets: Where to log.
        folder: The run folder.
        warn: Gets the warning of a logger that failed.
    """

    def __init__(
        self, targets: Sequence[LogTarget], folder: Path, warn: Callable[[str], None]
    ) -> None:
        self._targets, self._folder, self._warn = tuple(targets), folder, warn
        self._open: dict[LogTarget, RunLog] = {}

    def begin(self) -> None:
        """Open the loggers; the run folder has the metrics from which training goes on."""
        for target in self._targets:
            opened = self._tried(target, partial(self._opened, target))
            if opened is not None:
                self._open[target] = opened

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Take a line of metrics.jsonl."""
        values: Values = {
            name: value
            for name, value in metrics.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        for target, opened in list(self._open.items()):
            self._tried(target, partial(opened.log, values))

    def end(self) -> None:
        """Close the loggers, with the final numbers where the run is finished."""
        for target, opened in list(self._open.items()):
            self._tried(target, partial(self._close, opened))
        self._open.clear()

    def _opened(self, target: LogTarget) -> RunLog:
        open_log = target.exporter.open_log
        assert open_log is not None
        run = read_exported(self._folder)
        return open_log(replace(run, state="running", ended=None, finals={}), target.path)

    def _close(self, opened: RunLog) -> None:
        run = read_exported(self._folder)
        # This process is what runs, and it ends.
        opened.close(replace(run, state="interrupted") if run.state == "running" else run)

    def _tried(self, target: LogTarget, action: Callable[[], Any]) -> Any:
        try:
            return action()
        # Whatever a logger or its library raises: hours of training are worth more.
        except Exception as error:
            self._failed(target, error)
            return None

    def _failed(self, target: LogTarget, error: Exception) -> None:
        self._open.pop(target, None)
        reason = error.fact if isinstance(error, ProbeError) else repr(error)
        text = tr(
            "training is no longer logged to {name}: {reason}; `mlx-probe runs export {folder} "
            "--to {name}` does it afterwards",
            name=target.name,
            reason=reason,
            folder=self._folder,
        )
        _log.warning("no longer logged to %s: %s", target.name, reason)
        self._warn(text)
