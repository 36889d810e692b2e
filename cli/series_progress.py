"""The progress of a series on standard error: a line for each checkpoint, or nothing."""

from __future__ import annotations

from contextlib import suppress

import click

from mlx_probe.analysis.progress import Progress, Silent
from mlx_probe.analysis.series.config import SeriesProgress, Unseen
from mlx_probe.analysis.series.found import Found
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.plain import may_draw, plain

from .progress import watch

__all__ = ["series_progress"]


def series_progress(quiet: bool) -> SeriesProgress:
    """The progress that suits standard error."""
    return Unseen() if quiet else _Lines()


class _Lines:
    def __init__(self) -> None:
        # A round of --follow does not repeat what the one before said.
        self._said = ""

    def measuring(self, found: Found, at: int, total: int) -> Progress:
        values = {"step": f"{found.step:,}", "name": found.name, "at": at, "total": total}
        self._say(tr("step {step} ({name}): measuring, {at} of {total}", **values))
        # A bar goes away; the lines of each checkpoint would not.
        return watch(quiet=False) if may_draw() else Silent()

    def measured(self, found: Found, seconds: float) -> None:
        self._say(
            tr(
                "step {step}: measured in {seconds} s",
                step=f"{found.step:,}",
                seconds=f"{seconds:.1f}",
            )
        )

    def skipped(self, found: Found, reason: str) -> None:
        values = {"step": f"{found.step:,}", "reason": translated(reason)}
        self._say_once(tr("step {step}: skipped until the next call: {reason}", **values))

    def waiting(self, last: int | None) -> None:
        if last is None:
            return
        self._say_once(
            tr("waiting for checkpoints after step {step}; Ctrl-C ends", step=f"{last:,}")
        )

    def absent(self, reason: str) -> None:
        self._say_once(tr("waiting: {reason}", reason=translated(reason)))

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._say(text)
        self._said = text

    def _say(self, text: str) -> None:
        # A reader such as `head` has seen enough: the series goes on.
        with suppress(OSError):
            click.echo(plain(text), err=True)
