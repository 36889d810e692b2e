"""Progress of tokenizing on standard error: a bar on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.lab.data.progress import Progress
from mlx_probe.report.terminal.plain import plain

from .console import alert_line
from .progress import LINE_INTERVAL

__all__ = ["Tokenizing", "tokenizing"]


class Tokenizing:
    """Shows how far it is, stage by stage, in MB/s of text."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._draws = console.is_terminal and not quiet
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self._draws,
        )
        self._task = self.bar.add_task("", total=None)
        self._stage = ""
        self._began = self._last = time.monotonic()
        self._first = 0

    def update(self, progress: Progress) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._began, self._first = progress.stage, now, progress.done
            # Set apart: what an earlier process did does not count for the speed of this one.
            self.bar.reset(self._task, total=progress.total, description=progress.title)
        self.bar.update(self._task, completed=progress.done)
        if self._draws or self._quiet or now - self._last < LINE_INTERVAL:
            return
        self._last = now
        rate = (progress.done - self._first) / max(now - self._began, 1e-9) / 1e6
        share = progress.done / progress.total if progress.total else 1.0
        self._say(
            tr(
                "{stage}: {share}, {rate} MB/s",
                stage=progress.title,
                share=f"{share:4.0%}",
                rate=f"{rate:.1f}",
            )
        )

    def alert(self, text: str, is_warning: bool) -> None:
        """Print a message about a rule."""
        if self._draws:
            self.bar.console.print(alert_line(text, is_warning), soft_wrap=True)
        elif not self._quiet:
            self._say(plain(translated(text)))

    def _say(self, text: str) -> None:
        # A reader such as `head` has seen enough: the job goes on.
        with suppress(OSError):
            click.echo(text, err=True)


@contextmanager
def tokenizing(quiet: bool) -> Iterator[Tokenizing]:
    """Show progress within ``with``.

    Args:
        quiet: Whether to show nothing.
    """
    shown = Tokenizing(quiet)
    with shown.bar:
        yield shown
