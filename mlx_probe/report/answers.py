"""What a query gave, as values for JSON, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timezone
from decimal import Decimal
from itertools import chain
from typing import Any

from mlx_probe.core.markdown import escaped, table
from mlx_probe.library.query import Answer
from mlx_probe.runs.table.strict_json import encode

__all__ = ["answer_csv", "answer_document", "answer_markdown", "answer_rows"]


def answer_document(answer: Answer) -> dict[str, Any]:
    """Columns with their types, and the rows, for JSON."""
    names = answer.table.column_names
    return {
        "columns": [{"name": field.name, "type": str(field.type)} for field in answer.table.schema],
        "rows": [dict(zip(names, row, strict=True)) for row in answer_rows(answer)],
    }


def answer_csv(answer: Answer) -> Iterator[str]:
    """A header line and a line for each row; null is an empty cell, a list is JSON."""
    for row in chain((answer.table.column_names,), answer_rows(answer)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([_cell(value) for value in row])
        yield text.getvalue()


def answer_markdown(answer: Answer) -> str:
    """A table in Markdown."""
    rows = ([escaped(_cell(value)) for value in row] for row in answer_rows(answer))
    return table([escaped(name) for name in answer.table.column_names], rows)


def answer_rows(answer: Answer) -> Iterator[tuple[Any, ...]]:
    """The rows with values that JSON has: text, numbers, booleans, None, lists and mappings."""
    for batch in answer.table.to_batches():
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield tuple(map(_plain, row))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        # Without a zone it is UTC, as all times here.
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    # Lists and maps; a map's entries are pairs.
    if isinstance(value, list) or type(value) is tuple:
        return [_plain(item) for item in value]
    return str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(encode(value))[1:-1]
    return encode(value) if isinstance(value, (list, dict)) else str(value)
