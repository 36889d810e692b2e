"""A bar on standard error that counts to a number which the work itself tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from .console import alert_line

__all__ = ["CountingBar", "counting_bar"]


class CountingBar:
    """A bar that counts.

    Args:
        bar: Where it is drawn.
        task: Its task.
        quiet: Whether alerts are not printed.
    """

    def __init__(self, bar: Progress, task: TaskID, quiet: bool) -> None:
        self._bar, self._task, self._quiet = bar, task, quiet

    def __call__(self, done: int, total: int) -> None:
        """So much is done, of so much."""
        self._bar.update(self._task, completed=done, total=total)

    def alert(self, text: str, is_warning: bool) -> None:
        """Print a message of a job above the bar."""
        if not self._quiet:
            self._bar.console.print(alert_line(text, is_warning), soft_wrap=True)


@contextmanager
def counting_bar(title: str, counts: ProgressColumn, quiet: bool) -> Iterator[CountingBar]:
    """Show a bar where standard error is a terminal.

    Args:
        title: What goes on.
        counts: How done and total are written.
        quiet: Whether nothing is shown.

    Yields:
        Takes how much is done, and how much there is; and alerts.
    """
    console = Console(stderr=True, highlight=False)
    bar = Progress(
        TextColumn(title),
        BarColumn(bar_width=24),
        counts,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    task = bar.add_task("", total=None)
    with bar:
        yield CountingBar(bar, task, quiet)
