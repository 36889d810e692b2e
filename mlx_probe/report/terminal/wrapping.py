"""Lines of a width in cells of a terminal: a Chinese character takes two, and breaks anywhere."""

from __future__ import annotations

import itertools
import re

__all__ = ["break_offsets", "cells", "clipped", "padded", "wrapped"]

# Characters that no line may begin with, and those that none may end with.
_CLOSING = "，。、；：？！）》」』”’…,.;:?!)]}"
_OPENING = "（《「『“‘([{"
# Behind these a name or path breaks if it has to.
_JOINTS = "./_"
# Scripts without spaces between words, and their punctuation.
_WIDE = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_PIECES = re.compile(
    rf"[ \n]+|[{re.escape(_OPENING)}]*(?:[{_WIDE}]|[^{_WIDE} \n]+)[{re.escape(_CLOSING)}]*|."
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
    text = " ".join(text.split())
    offsets = [0, *break_offsets(text, width), len(text)]
    return [text[start:end].strip(" ") for start, end in itertools.pairwise(offsets)]


def break_offsets(text: str, width: int) -> list[int]:
    """Where lines of a text begin, but the first, so that none is wider than ``width``.

    Args:
        text: One line; spaces at the end of a line do not count.
        width: Cells of a line, at least 2.
    """
    offsets, start = [], 0
    for found in _PIECES.finditer(text):
        if found[0].isspace():
            continue
        if cells(text[start : found.end()]) > width and found.start() > start:
            start = found.start()
            offsets.append(start)
        while cells(text[start : found.end()]) > width:
            start += _fitting(text[start:], width)
            offsets.append(start)
    return offsets


def _fitting(text: str, width: int) -> int:
    """How many of a long word's first characters fit; whole parts of a name, if it has some."""
    used = last = 0
    for at, character in enumerate(text):
        used += cells(character)
        if used > width:
            return max(last or at, 1)
        if character in _JOINTS:
            last = at + 1
    return len(text)


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
