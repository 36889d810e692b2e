"""Lines of a width in cells of a terminal: a Chinese character takes two, and breaks anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["cells", "clipped", "padded", "wrapped"]

# Characters that no line may begin with, and those that none may end with.
_CLOSING = "，。、；：？！）》」』”’…,.;:?!)]}"
_OPENING = "（《「『“‘"
# Scripts without spaces between words, and their punctuation.
_WIDE = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_PIECES = re.compile(
    rf"[ \n]+|[{_OPENING}]*(?:[{_WIDE}]|[^{_WIDE} \n{_OPENING}]+)[{re.escape(_CLOSING)}]*|."
)


def cells(text: str) -> int:
    """Cells of a terminal that a text takes: two for a Chinese character."""
    if text.isascii():
        return len(text)
    # Not above: English texts need none of it.
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, width: int) -> list[str]:
    """The lines of one paragraph, none wider than ``width``; a longer word is broken.

    Args:
        text: Any text; its own line ends count as spaces.
        width: Cells of a line, at least 2.
    """
    lines, line = [], ""
    for piece in _pieces(text):
        if cells(line) + cells(piece.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = ""
        if line or piece != " ":
            line += piece
        while cells(line.rstrip()) > width:
            start, line = _split(line, width)
            lines.append(start)
    return [*lines, line.rstrip()] if line.strip() else lines or [""]


def _split(text: str, width: int) -> tuple[str, str]:
    used = 0
    for at, character in enumerate(text):
        used += cells(character)
        if used > width:
            return text[:at], text[at:]
    return text, ""


def _pieces(text: str) -> Iterator[str]:
    for found in _PIECES.finditer(text):
        yield " " if found[0].isspace() else found[0]


def padded(text: str, width: int) -> str:
    """A text with spaces at its end, so that it takes ``width`` cells."""
    return text + " " * (width - cells(text))


def clipped(text: str, width: int) -> str:
    """The end of a text that is too wide, after three dots; names differ at their ends.

    Args:
        text: One line.
        width: Cells, at least 3.
    """
    if cells(text) <= width:
        return text
    kept, used = "", 3
    for character in reversed(text):
        used += cells(character)
        if used > width:
            break
        kept = character + kept
    return f"...{kept}"
