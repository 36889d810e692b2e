"""A bar on standard error that counts to a number which the work itself tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

__all__ = ["counting_bar"]


@contextmanager
def counting_bar(
    title: str, counts: ProgressColumn, quiet: bool
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar where standard error is a terminal.

    Args:
        title: What goes on.
        counts: How done and total are written.
        quiet: Whether nothing is shown.

    Yields:
        Takes how much is done, and how much there is.
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
        yield lambda done, total: bar.update(task, completed=done, total=total)
