"""A comparison as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.changes import (
    MOST,
    changed_kinds,
    changed_layers,
    figure_text,
    largest_changes,
    tensor_label,
    total_lines,
)
from mlx_probe.report.terminal.text import printable

__all__ = ["changes_text", "comparison_summary"]

_UNMATCHED = ("only_a", "only_b", "reshaped", "nonfinite", "skipped", "failed")


def comparison_summary(
    rows: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]
) -> RenderableType:
    """What changed most, how much changed at all, and what could not be compared.

    Args:
        rows: Rows of a comparison, column name to value.
        meta: Its metadata.
    """
    models = meta["models"]
    title = " -> ".join(
        tr("{model} at {revision}", model=models[side]["id"], revision=models[side]["revision"])
        for side in ("a", "b")
    )
    return Group(printable(title), changes_text(rows))


def changes_text(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The same without the names of the models."""
    parts: list[RenderableType] = ["\n".join(total_lines(rows))]
    if largest := largest_changes(rows):
        parts += [_kinds(rows), _largest(largest), _layers(rows)]
    parts += _unmatched(rows)
    return Group(*parts)


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _headings() -> Mapping[str, str]:
    """The columns that a line has room for, with short names."""
    return {
        "relative_change": tr("change"),
        "cosine": tr("cosine"),
        "delta_rank": tr("rank"),
        "delta_effective_rank": tr("eff. rk"),
        "left_overlap": tr("left"),
        "right_overlap": tr("right"),
        "intruder_count": tr("intr."),
    }


def _kinds(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Medians over the changed tensors of each kind."""
    headings = _headings()
    table = _table(tr("block type"), tr("changed"), *headings.values())
    for kind in changed_kinds(rows):
        figures = (figure_text(kind.medians[column], column) for column in headings)
        table.add_row(printable(kind.kind), str(kind.changed), *figures)
    return table


def _largest(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The tensors of the largest relative change."""
    headings = _headings()
    table = _table(tr("largest changes"), *headings.values())
    for row in rows:
        figures = (figure_text(row.get(column), column) for column in headings)
        table.add_row(printable(tensor_label(row)), *figures)
    return table


def _layers(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The layers of the largest change, over all their compared tensors together."""
    table = _table(tr("largest changed layers"), tr("changed"), tr("of"), tr("change"))
    for layer in changed_layers(rows):
        change = figure_text(layer.relative_change, "relative_change")
        table.add_row(layer.name, str(layer.changed), str(layer.compared), change)
    return table


def _unmatched(rows: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """What was not compared, with reasons, a few of each status."""
    parts: list[RenderableType] = []
    for status in _UNMATCHED:
        alike = [row for row in rows if row["status"] == status]
        if not alike:
            continue
        lines = [f"{tensor_label(row)}: {translated(row['status_reason'])}" for row in alike[:MOST]]
        if len(alike) > MOST:
            lines.append(tr("and {count} more", count=len(alike) - MOST))
        parts += [f"{status} ({len(alike)})", *(f"  {printable(line)}" for line in lines)]
    return parts
