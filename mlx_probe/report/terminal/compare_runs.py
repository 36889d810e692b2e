"""Finished runs side by side as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.compare_runs import ComparedRun, RunsTable, TableMetric
from mlx_probe.analysis.compare_runs import Group as Rows
from mlx_probe.core.counts import runs_text as count_of_runs
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.sparkline import blocks_for, sparkline
from mlx_probe.report.terminal.text import printable, short_count

__all__ = ["runs_text"]

# Lines of a group's profile; the page and --json have all.
_MOST_LINES = 20
# Labels of a setting's value.
_MOST_LABELS = 3
# Cells: of a run's name, of a number, and between two columns.
_LEAST_NAME, _LEAST_NUMBER, _GAPS = 16, 7, 2
_GAP = "-"
# From here on a count is easier to read with a letter.
_LARGE = 1e6


def runs_text(table: RunsTable, drawn: Sequence[str], width: int, encoding: str) -> RenderableType:
    """The table of the runs, what differs between their settings, and metrics over the depth.

    Args:
        table: The runs.
        drawn: Names of metrics to draw over the relative depth.
        width: Characters of a line. Metrics that have no room in it follow in a second table.
        encoding: Of the terminal; if it lacks block characters, ASCII ones are used.
    """
    parts: list[RenderableType] = [_runs(table, some) for some in _fitting(table, width)]
    parts += [_caption(table), *_differences(table)]
    for metric in table.metrics:
        if metric.name in drawn:
            parts += _profiles(table, metric, blocks_for(encoding))
    parts += _unreadable(table)
    return Group(*parts)


def _fitting(table: RunsTable, width: int) -> Iterator[dict[TableMetric, str]]:
    """The metrics with their headings, in parts that have room beside the names of the runs."""
    longest = max((cell_len(run.label) for run in table.readable), default=0)
    room = width - min(max(longest, _LEAST_NAME), width // 3) - _GAPS
    headings = {metric: f"{metric.name}{_mark(metric)}" for metric in table.metrics}
    if sum(map(_width, headings.values())) > room:
        headings = {metric: _narrow(heading) for metric, heading in headings.items()}
    some: dict[TableMetric, str] = {}
    for metric, heading in headings.items():
        if some and sum(map(_width, (*some.values(), heading))) > room:
            yield some
            some = {}
        some[metric] = heading
    yield some


def _mark(metric: TableMetric) -> str:
    """What says that the numbers are not comparable."""
    return "*" if metric.marked_by else ""


def _width(heading: str) -> int:
    return max(_LEAST_NUMBER, *map(cell_len, heading.split("\n"))) + _GAPS


def _narrow(heading: str) -> str:
    """A name with blanks, on as many lines as make it narrow."""
    words = heading.split("_")
    widest = max(_LEAST_NUMBER, *map(len, words))
    lines = words[:1]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= widest:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def _runs(table: RunsTable, metrics: Mapping[TableMetric, str]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.add_column(tr("run"), overflow="fold", min_width=_LEAST_NAME)
    for heading in metrics.values():
        shown.add_column(heading, justify="right", no_wrap=True)
    for run in table.readable:
        label = printable(run.label)
        if run.differs:
            differs = tr("differs in {settings}", settings=", ".join(run.differs))
            label += f"\n  {printable(differs)}"
        shown.add_row(label, *(_number(run.values.get(metric.name)) for metric in metrics))
    return shown


def _caption(table: RunsTable) -> str:
    order = tr("smallest first") if table.ascending else tr("largest first")
    runs = count_of_runs(len(table.readable))
    lines = [tr("{runs} by {metric}, {order}", runs=runs, metric=table.sort, order=order)]
    medians = [metric.name for metric in table.metrics if metric.source == "median"]
    if medians:
        lines.append(tr("medians over the matrices of a run: {names}", names=", ".join(medians)))
    if table.reference is not None:
        label = next(run.label for run in table.runs if run.path == table.reference)
        lines.append(tr("all numbers are divided by those of {run}", run=label))
    return "\n".join(map(printable, lines))


def _differences(table: RunsTable) -> Iterator[RenderableType]:
    """What differs, which runs have which value, and what that means."""
    if not table.differences:
        return
    yield ""
    marked = any(metric.marked_by for metric in table.metrics)
    yield printable(
        tr("Settings differ. Numbers under a heading with * are not comparable because of that:")
        if marked
        else tr("Settings differ, and the numbers are comparable all the same:")
    )
    for difference in table.differences:
        meaning = printable(translated(difference.meaning))
        yield f"[bold]{printable(difference.setting)}[/]  {meaning}"
        for value, labels in difference.values:
            names = ", ".join(labels[:_MOST_LABELS])
            if len(labels) > _MOST_LABELS:
                names = tr("{count} runs, {names} ...", count=len(labels), names=names)
            line = tr("{value}: {runs}", value=_value(value), runs=names)
            yield f"  {printable(line)}"


def _value(text: str) -> str:
    return {"none": tr("none"), "unknown": tr("unknown")}.get(text, text)


def _profiles(table: RunsTable, metric: TableMetric, blocks: str) -> Iterator[RenderableType]:
    """A line for each run in every group, on one scale within the group."""
    groups = table.profile_groups(metric.name)
    if not groups:
        return
    yield ""
    yield printable(
        tr(
            "{metric} over the relative depth, medians in {bins} bins",
            metric=metric.name,
            bins=table.bins,
        )
    )
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.add_column(tr("run"), overflow="fold", min_width=_LEAST_NAME)
    shown.add_column(tr("first to last layer"), no_wrap=True)
    for end in (tr("first"), tr("middle"), tr("last")):
        shown.add_column(end, justify="right", no_wrap=True)
    for group in groups:
        lines = [(run, _line(run, metric, group)) for run in table.readable]
        known = [(run, line) for run, line in lines if not np.isnan(line).all()]
        shown.add_row(f"[bold]{printable(group.name)}[/]")
        every = np.concatenate([line for _, line in known])
        for run, line in known[:_MOST_LINES]:
            present = line[~np.isnan(line)]
            ends = (present[0], present[len(present) // 2], present[-1])
            drawn = printable(sparkline(line, blocks, every))
            shown.add_row(f"  {printable(run.label)}", drawn, *map(_number, ends))
        if len(known) > _MOST_LINES:
            rest = len(known) - _MOST_LINES
            shown.add_row(f"  {printable(tr('and {count} more', count=rest))}")
    yield shown


def _line(run: ComparedRun, metric: TableMetric, group: Rows) -> NDArray[np.float64]:
    line = run.profiles.get(metric.name, {}).get(group, ())
    return np.array([np.nan if value is None else value for value in line] or [np.nan])


def _unreadable(table: RunsTable) -> Iterator[RenderableType]:
    damaged = [run for run in table.runs if run.problem]
    if damaged:
        yield ""
        yield printable(tr("Not in the table, because they cannot be read:"))
    for run in damaged:
        yield f"  {printable(translated(run.problem))}"
        yield f"    {printable(translated(run.remedy))}"


def _number(value: float | None) -> str:
    if value is None:
        return _GAP
    return short_count(round(value)) if _LARGE <= value < 1e15 else f"{value:.4g}"
