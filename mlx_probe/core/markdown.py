"""Markdown of text that nobody vouches for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["escaped", "section", "table"]

# What Markdown or HTML could take for more than text; of what needs more than one character,
# the first.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#+!|~&$^]")


def escaped(text: str) -> str:
    """One line of text as Markdown that shows it and does nothing else."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _SPECIAL.sub(lambda match: "\\" + match[0], plain)


def section(title: str, text: str) -> str:
    """A heading with what is below it; nothing if that is empty.

    Args:
        title: Of the heading, as it is.
        text: Markdown.
    """
    return f"## {title}\n\n{text}" if text else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        header: Of each column, as it is.
        rows: Cells, Markdown.
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
