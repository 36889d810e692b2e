"""The rows that a query gave, and the views that it can name, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.library.query import Answer
from mlx_probe.report.answers import answer_rows
from mlx_probe.report.terminal.plain import one_line
from mlx_probe.report.terminal.text import printable
from mlx_probe.runs.table.strict_json import encode

__all__ = ["answer_text", "schema_text"]

# A cell of more characters may wrap before the rows are printed as records.
_WRAPS = 16
# Characters between two columns.
_BETWEEN = 2


def answer_text(answer: Answer, width: int) -> RenderableType:
    """The rows as a table, or as records where a table is wider than the terminal.

    Args:
        answer: The rows.
        width: Columns of the terminal.
    """
    names = answer.table.column_names
    rows = [tuple(_shown(value) for value in row) for row in answer_rows(answer)]
    if not rows:
        return Group(_table(names, (), answer), Text(tr("no rows")))
    needed = sum(
        min(_WRAPS, max(len(cell) for cell in column)) for column in zip(names, *rows, strict=True)
    )
    if needed + _BETWEEN * len(names) <= width:
        return _table(names, rows, answer)
    return Group(*(_record(names, row, i) for i, row in enumerate(rows, start=1)))


def schema_text(document: Mapping[str, Any]) -> RenderableType:
    """Each view with its columns, their types and what they mean."""
    parts: list[RenderableType] = []
    for view in document["views"]:
        about = translated(view["rows"])
        parts.append(f"[bold]{printable(view['name'])}[/]  {printable(about)}")
        table = Table.grid(padding=(0, 2))
        for column in view["columns"]:
            meaning = translated(column["description"])
            table.add_row("", *map(printable, (column["name"], column["type"], meaning)))
        parts += [table, ""]
    return Group(*parts)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], answer: Answer) -> Table:
    import pyarrow as pa

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name, field in zip(names, answer.table.schema, strict=True):
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(printable(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _record(names: Sequence[str], row: Sequence[str], number: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for name, cell in zip(names, row, strict=True):
        grid.add_row(printable(name), Text(cell))
    return Group(f"[dim]{tr('row {number}', number=number)}[/]", grid)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        # As exact as anybody reads; --format csv and json have all digits.
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return one_line(value if isinstance(value, str) else encode(value).strip('"'))
