"""Rules about fenced blocks and tables."""

from __future__ import annotations

from collections.abc import Iterator

from .findings import DocumentRule
from .surroundings import Document, Surroundings

__all__ = ["BLOCK_RULES"]


def _unlabelled(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for fence in document.page.fences:
        if not fence.label:
            yield fence.line, f"the code fence names no language, such as {fence.mark}python"


def _unclosed(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for fence in document.page.fences:
        if not fence.is_closed:
            yield fence.line, f"the code fence is not closed: no {fence.mark} ends it"


def _columns(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for table in document.page.tables:
        for line, cells in table.rows:
            if not table.is_table:
                yield (
                    line,
                    f"no table: its head has {cells} columns and the line of dashes "
                    f"{table.columns}",
                )
            elif cells != table.columns:
                yield line, f"the row has {cells} columns, the table {table.columns}"


BLOCK_RULES = {
    "unlabelled-fence": DocumentRule("a code fence that names no language", _unlabelled),
    "unclosed-fence": DocumentRule("a code fence without an end", _unclosed),
    "table-columns": DocumentRule(
        "a row of a table with more or fewer cells than the table has columns", _columns
    ),
}
