"""Progress of a run on standard error: a bar on a terminal, lines elsewhere, or nothing.

What draws is imported where there is a terminal to draw on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from mlx_probe.analysis.plan import Plan
from mlx_probe.analysis.progress import Progress, Silent
from mlx_probe.checkpoint import Weight
from mlx_probe.core.counts import weights_text
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.plain import may_draw, one_line, plain
from mlx_probe.runs.monitor import Usage
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["fetching", "took", "watch"]

# Seconds between two lines where there is no terminal to draw a bar on.
LINE_INTERVAL = 5.0

# What prints the summary: imported beside the first weights, it makes nobody wait.
_SUMMARY = "mlx_probe.report.terminal.cost"


def watch(quiet: bool) -> Progress:
    """The progress of an analysis that suits standard error."""
    if quiet:
        return Silent()
    if may_draw():
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        if console.is_terminal:
            from .bar import Bar

            return Bar(console)
    return _Lines()


def fetching(quiet: bool) -> DownloadProgress:
    """The progress of a download that suits standard error: nothing where that is no terminal."""
    if quiet or not may_draw():
        return DownloadProgress()
    from mlx_probe.report.terminal.download_progress import download_progress

    return download_progress(quiet)


def took(usage: Usage) -> str:
    """Bandwidth and memory of a run so far."""
    text = tr(
        "{rate} GB/s, process {size}",
        rate=f"{usage.mean_bandwidth / 1e9:.2f}",
        size=format_size(usage.memory),
    )
    if not usage.device_memory:
        return text
    return text + tr(", device {size}", size=format_size(usage.device_memory))


class _Lines:
    def __init__(self) -> None:
        self._loading = False

    def begin(self, plan: Plan, finished: Sequence[int]) -> None:
        self._total = sum(weight.nbytes for weight in plan.sampled)
        self._done = sum(plan.weights[i].nbytes for i in finished)
        self._resumed = self._done
        self._began = self._last = time.monotonic()
        weights = weights_text(len(plan.sampled))
        if len(finished) == 1:
            weights += tr(", 1 row is there already")
        elif finished:
            weights += tr(", {count} rows are there already", count=len(finished))
        self._say(f"{one_line(translated(plan.backend_reason))}{tr('; ')}{weights}")

    def start(self, weight: Weight) -> None:
        # No line: one for every weight would be too much.
        if not self._loading:
            self._loading = True
            threading.Thread(target=import_module, args=(_SUMMARY,), daemon=True).start()

    def finish(self, weight: Weight, usage: Usage) -> None:
        self._done += weight.nbytes
        now = time.monotonic()
        if now - self._last < LINE_INTERVAL:
            return
        self._last = now
        rate = (self._done - self._resumed) / (now - self._began)
        left = (self._total - self._done) / rate if rate else 0.0
        share = self._done / self._total if self._total else 1.0
        waiting = tr("{seconds} s left", seconds=f"{left:.0f}")
        self._say(f"{share:4.0%}, {took(usage)}, {waiting}, {one_line(weight.label)}")

    def alert(self, text: str, is_warning: bool) -> None:
        self._say(plain(translated(text)))

    def end(self) -> None:
        """Nothing: the summary follows."""

    def _say(self, text: str) -> None:
        # A reader such as `head` has seen enough: the run goes on.
        with suppress(OSError):
            click.echo(text, err=True)
