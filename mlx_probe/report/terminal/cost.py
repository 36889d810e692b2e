"""What a run cost, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size

__all__ = ["cost_text"]


def cost_text(meta: Mapping[str, Any]) -> RenderableType:
    """A line for each stage of a run, with its rates beside the machine's, and the limit.

    For a run that was resumed: those of this start, and then those of all starts.

    Args:
        meta: Run metadata with the keys "stages" and "limit", and "total" unless it is of an
            earlier version.
    """
    limit, total = meta["limit"], meta.get("total") or {}
    said = tr(
        "limit: {name} ({share} of {whole})",
        name=translated(limit["name"]),
        share=f"{limit['share']:.0%}",
        whole=translated(limit["of"]),
    )
    if total.get("starts", 1) == 1:
        return Group(_stages(meta["stages"], tr("stage")), said)
    starts = tr("all {count} starts", count=total["starts"])
    return Group(
        _stages(meta["stages"], tr("this start")),
        said,
        _stages(total["stages"], starts),
        tr(
            "{starts}: {seconds} s, {size} read",
            starts=starts,
            seconds=f"{total['seconds']:.1f}",
            size=format_size(total["bytes_read"]),
        ),
    )


def _stages(stages: Mapping[str, Any], title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(title, no_wrap=True)
    rates = (tr("worker s"), tr("data"), "GB/s", tr("of a copy"), "GFLOP/s", tr("of a product"))
    for name in rates:
        table.add_column(name, justify="right", no_wrap=True)
    for stage, cost in stages.items():
        table.add_row(
            stage,
            f"{cost['seconds']:.2f}",
            format_size(cost["bytes"]) if cost["bytes"] else "-",
            _text(cost["gbps"], ".2f"),
            _text(cost["share_of_copy"], ".0%"),
            _text(cost["gflops"], ".1f"),
            _text(cost["share_of_product"], ".0%"),
        )
    return table


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
