"""A comparison as text for a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.kinds import KIND_COLUMNS, kind_labels
from mlx_probe.core.counts import rows_text
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.text import printable

__all__ = ["comparison_summary"]

# Lines of each list; the table holds the rest.
_LINES = 10
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
    parts: list[RenderableType] = [printable(title), _totals(rows)]
    if any(map(_is_changed, rows)):
        parts += [_blocks(rows), _largest(rows), _layers(rows)]
    parts += _unmatched(rows)
    return Group(*parts)


def _totals(rows: Sequence[Mapping[str, Any]]) -> str:
    statuses = Counter(row["status"] for row in rows)
    counts = enumerated(f"{n} {status}" for status, n in statuses.items())
    lines = [tr("{rows} ({statuses})", rows=rows_text(len(rows)), statuses=counts)]
    known = _known(rows)
    count = sum(row["numel"] for row in known)
    if not count:
        return lines[0]
    touched = sum(row["numel"] for row in known if row["status"] == "ok")
    before = math.hypot(*(row["norm"] for row in known))
    change = math.hypot(*(row["change_norm"] for row in known))
    relative = f"{change / before:.4g}" if before else "-"
    lines.append(
        tr(
            "{share} of {count} compared parameters are in changed tensors; "
            "relative change of them all {change}",
            share=f"{touched / count:.1%}",
            count=f"{count:,}",
            change=relative,
        )
    )
    return "\n".join(lines)


def _known(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows with a change, without parts of fused matrices: these have their elements already.

    Nor integers that are no packed weights: position numbers, whose norm is above that of all
    weights.
    """
    return [
        row
        for row in rows
        if row["status"] in ("ok", "identical")
        and row["part"] is None
        and not _is_buffer(row)
        and row["norm"] is not None
        and row["change_norm"] is not None
    ]


def _is_buffer(row: Mapping[str, Any]) -> bool:
    """Whether the tensor of a row is plain integers."""
    dtype = DTYPES.get(row["dtype"] or row["other_dtype"])
    packing = row["packing"] or row["other_packing"]
    return dtype is not None and dtype.kind != "float" and packing == "plain"


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _headings() -> tuple[str, ...]:
    return (
        *(tr("change"), tr("cosine"), tr("rank"), tr("eff. rk"), tr("left"), tr("right")),
        tr("intr."),
    )


def _is_changed(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == "ok" and row["relative_change"])


def _blocks(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Medians over the changed tensors of each kind."""
    table = _table(tr("block type"), tr("changed"), *_headings())
    blocks: dict[str, list[Mapping[str, Any]]] = {}
    kinds = kind_labels({name: [row.get(name) for row in rows] for name in KIND_COLUMNS})
    for kind, row in zip(kinds, rows, strict=True):
        if _is_changed(row):
            blocks.setdefault(kind, []).append(row)
    for block_type, members in blocks.items():

        def middle(column: str, members: Sequence[Mapping[str, Any]] = members) -> float | None:
            values = [row[column] for row in members if row[column] is not None]
            return median(values) if values else None

        table.add_row(printable(block_type), str(len(members)), *_figures(middle))
    return table


def _largest(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The tensors of the largest relative change."""
    table = _table(tr("largest changes"), *_headings())
    ordered = sorted(filter(_is_changed, rows), key=lambda row: -row["relative_change"])
    for row in ordered[:_LINES]:
        table.add_row(printable(_label(row)), *_figures(row.get))
    return table


def _layers(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The layers of the largest change, over all their compared tensors together."""
    table = _table(tr("largest changed layers"), tr("changed"), tr("of"), tr("change"))
    layers: dict[int | None, list[Mapping[str, Any]]] = {}
    for row in _known(rows):
        layers.setdefault(row["layer_index"], []).append(row)

    def change(members: Sequence[Mapping[str, Any]]) -> float:
        before = math.hypot(*(row["norm"] for row in members))
        after = math.hypot(*(row["change_norm"] for row in members))
        return after / before if before else (math.inf if after else 0.0)

    ordered = sorted(layers.items(), key=lambda item: -change(item[1]))
    for layer, members in ordered[:_LINES]:
        name = tr("outside the blocks") if layer is None else str(layer)
        changed = sum(row["status"] == "ok" for row in members)
        if changed:
            table.add_row(name, str(changed), str(len(members)), f"{change(members):.4g}")
    return table


def _figures(value: Callable[[str], Any]) -> tuple[str, ...]:
    return (
        _text(value("relative_change"), ".4g"),
        _text(value("cosine"), ".6f"),
        _text(value("delta_rank"), ".0f"),
        _text(value("delta_effective_rank"), ".1f"),
        _text(value("left_overlap"), ".3f"),
        _text(value("right_overlap"), ".3f"),
        _text(value("intruder_count"), ".0f"),
    )


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _unmatched(rows: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """What was not compared, with reasons, a few of each status."""
    parts: list[RenderableType] = []
    for status in _UNMATCHED:
        alike = [row for row in rows if row["status"] == status]
        if not alike:
            continue
        lines = [f"{_label(row)}: {translated(row['status_reason'])}" for row in alike[:_LINES]]
        if len(alike) > _LINES:
            lines.append(tr("and {count} more", count=len(alike) - _LINES))
        parts += [f"{status} ({len(alike)})", *(f"  {printable(line)}" for line in lines)]
    return parts


def _label(row: Mapping[str, Any]) -> str:
    expert = "" if row["expert_index"] is None else f"[{row['expert_index']}]"
    part = f" ({row['part']})" if row["part"] else ""
    return f"{row['param_name'] or row['other_name']}{expert}{part}"
