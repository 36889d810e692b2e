"""An extracted adapter as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.report.extraction import (
    adapter_heads,
    adapter_lines,
    changed_text,
    direction_heads,
    direction_lines,
    head_text,
    notes,
    token_notes,
)
from mlx_probe.report.terminal.text import printable

__all__ = ["extraction_text"]


def extraction_text(extraction: Mapping[str, Any]) -> RenderableType:
    """Rank and error of an adapter, where it is, and the tokens that it reads and writes.

    Args:
        extraction: The metadata's key of that name.
    """
    said = extraction["tokens"]
    parts: list[RenderableType] = [head_text(extraction)]
    parts += [_table(adapter_heads(), adapter_lines(extraction)), *notes(extraction)]
    if lines := direction_lines(said):
        parts.append(_table(direction_heads(), lines))
    if changed := changed_text(said):
        parts.append(printable(changed))
    return Group(*parts, *token_notes(said))


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Texts in the first and the last column, numbers between them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(heads[0], overflow="fold")
    for name in heads[1:-1]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(heads[-1], overflow="fold")
    for line in lines:
        table.add_row(*map(printable, line))
    return table
