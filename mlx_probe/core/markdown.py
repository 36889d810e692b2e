"""Markdown with untrusted text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["code", "escaped", "section", "table"]

# Characters with a meaning in Markdown or HTML; for marks of several characters, the first.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#+!|~&$^]")


def escaped(text: str) -> str:
    """One line of text as Markdown that only shows it."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _SPECIAL.sub(lambda match: "\\" + match[0], plain)


def code(text: str) -> str:
    """One line of text as inline code, such as a name or a path; in a table, too.

    Text that code cannot show as it is becomes escaped text.
    """
    is_plain = text.isprintable() and text.strip() == text and not set(text) & set("`|")
    return f"`{text}`" if text and is_plain else escaped(text)


def section(title: str, text: str) -> str:
    """A heading and the text below it; "" if the text is empty.

    Args:
        title: Title of the heading, Markdown.
        text: Markdown.
    """
    return f"## {title}\n\n{text}" if text else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        header: Heads of the columns, Markdown.
        rows: Cells, Markdown.
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
