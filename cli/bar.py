"""The bar of an analysis on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from mlx_probe.analysis.plan import Plan
from mlx_probe.checkpoint import Weight
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.text import printable
from mlx_probe.report.terminal.wrapping import cells, clipped
from mlx_probe.runs.monitor import Usage

from .console import alert_line
from .progress import took

__all__ = ["Bar"]

# Columns of a terminal in which the bar is drawn at length.
WIDE = 100


class Bar:
    """Progress as one line: share, time left, rate, memory, tensor."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            BarColumn(bar_width=24 if console.width >= WIDE else 8),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn(tr("to go") + " ", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[took]} ", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[weight]}", style="dim", table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
        )
        self._took = self._label = ""

    def begin(self, plan: Plan, finished: Sequence[int]) -> None:
        """Show the bar."""
        total = sum(weight.nbytes for weight in plan.sampled)
        done = sum(plan.weights[i].nbytes for i in finished)
        self._progress.console.print(printable(translated(plan.backend_reason)))
        self._task = self._progress.add_task("", total=total, weight="", took="")
        # Set apart: work of an earlier run does not count for the speed of this one.
        self._progress.update(self._task, completed=done)
        self._progress.start()

    def start(self, weight: Weight) -> None:
        """Name the weight."""
        self._label = weight.label
        self._show(0)

    def finish(self, weight: Weight, usage: Usage) -> None:
        """Count the weight's bytes."""
        self._took = took(usage)
        self._show(weight.nbytes)

    def _show(self, advance: int) -> None:
        # The end of a name says most: its beginning is the same for all.
        width = self._progress.console.width
        used = cells(self._took) + (46 if width >= WIDE else 30)
        shown = clipped(self._label, max(8, width - used))
        self._progress.update(self._task, advance=advance, took=self._took, weight=printable(shown))

    def alert(self, text: str, is_warning: bool) -> None:
        """Print a message above the bar."""
        self._progress.console.print(alert_line(text, is_warning), soft_wrap=True)

    def end(self) -> None:
        """Remove the bar."""
        self._progress.stop()
