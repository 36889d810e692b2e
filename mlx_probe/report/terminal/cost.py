"""What a run cost, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.units import format_size

__all__ = ["cost_text"]


def cost_text(meta: Mapping[str, Any]) -> RenderableType:
    """A line for each stage of a run, with its rates beside the machine's, and the limit.

    Args:
        meta: Run metadata with the keys "stages" and "limit".
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("stage", no_wrap=True)
    for name in ("worker s", "data", "GB/s", "of a copy", "GFLOP/s", "of a product"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage, cost in meta["stages"].items():
        table.add_row(
            stage,
            f"{cost['seconds']:.2f}",
            format_size(cost["bytes"]) if cost["bytes"] else "-",
            _text(cost["gbps"], ".2f"),
            _text(cost["share_of_copy"], ".0%"),
            _text(cost["gflops"], ".1f"),
            _text(cost["share_of_product"], ".0%"),
        )
    limit = meta["limit"]
    return Group(table, f"limit: {limit['name']} ({limit['share']:.0%} of {limit['of']})")


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
