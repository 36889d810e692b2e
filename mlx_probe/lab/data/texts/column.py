"""The text of a row: the value of a column, which may lie in another one."""

from __future__ import annotations

import math
from typing import Any

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.texts.protocol import NoText, Record

__all__ = ["text_of"]

_MOST = 20


def text_of(row: Any, column: str, where: str) -> Record:
    """The text of a row.

    Args:
        row: The row as mappings, lists and values.
        column: Name of the column; dots lead into mappings, where no column has the whole name.
        where: File and row, for messages.

    Returns:
        The text. The texts of a list are joined by line ends.

    Raises:
        SourceError: The column holds something that is no text.
    """
    value = row
    for key in [column] if isinstance(row, dict) and column in row else column.split("."):
        if not isinstance(value, dict) or key not in value:
            columns = tuple(map(str, row))[:_MOST] if isinstance(row, dict) else ()
            return NoText("no column", columns)
        value = value[key]
    if isinstance(value, list):
        # An empty list is no text, as null is.
        texts = [part for part in value if part is not None]
        value = "\n".join(texts) if texts and all(isinstance(t, str) for t in texts) else value
        if not texts:
            return NoText("no text")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NoText("no text")
    if not isinstance(value, str):
        raise SourceError(
            f"{where}: column {column!r} holds {_kind(value)}, not text",
            "Name the column of the text with --text-column, or remove the row",
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        # JSON can write half a surrogate pair, which no encoding of Unicode has.
        return NoText("no text")
    return (value,)


def _kind(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "a list of other things" if isinstance(value, list) else "an object"
    return f"{value!r}"[:40]
