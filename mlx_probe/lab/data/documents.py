"""From a stream of text to documents, in bounded memory.

A document is what an eos token ends, and what is either for training or for validation. Where a
document ends depends on the text alone, not on the pieces in which it arrives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["CUTTERS", "split_documents", "split_segments"]

# Characters of a document at most: a longer text becomes several documents.
LONGEST = 8 << 20
# Characters from which a chunk ends with its paragraph, and at which it ends whatever comes.
CHUNK, LONGEST_CHUNK = 2048, 8192
# Characters that are encoded at a time: a tokenizer takes some hundred bytes of memory for each.
SEGMENT = 1 << 17

_BLANK_LINES = re.compile(r"\n(?:[ \t\r]*\n)+")
_BEFORE = re.compile(r"(?:[ \t\r]*\n)*")
_TEXT = re.compile(r"[^ \t\r\n]")

# Given a text, where a document begins in it, and whether nothing follows: where the document
# ends; 0 if only more text can say.
Cutter = Callable[[str, int, bool], int]


def split_documents(blocks: Iterable[str], kind: str) -> Iterator[str]:
    """The documents of a text, in order; some may be empty.

    Args:
        blocks: The text in pieces of any length.
        kind: Key of `CUTTERS`.

    Yields:
        Documents. "file" keeps every character, "line" leaves out the line end, the others leave
        out blank lines before a document and white space behind it.
    """
    cut, text = CUTTERS[kind], ""
    for block in blocks:
        text, start = text + block, 0
        while end := cut(text, start, False):
            yield _trimmed(text[start:end], kind)
            start = end
        text = text[start:]
    start = 0
    while start < len(text):
        end = cut(text, start, True) or len(text)
        yield _trimmed(text[start:end], kind)
        start = end


def split_segments(document: str) -> list[str]:
    """A document in pieces that a tokenizer takes; most documents are one piece.

    A piece ends before a space that follows a word, where the tokenizers that are trained here cut
    a text themselves: the tokens are those of the whole.
    """
    pieces, start = [], 0
    while len(document) - start > SEGMENT:
        low, high = start + SEGMENT // 2, start + SEGMENT
        end = document.rfind(" ", low, high)
        while end > low and document[end - 1].isspace():
            end = document.rfind(" ", low, end)
        if end <= low:
            end = _last_break(document, low, high)
        pieces.append(document[start:end])
        start = end
    return [*pieces, document[start:]]


def _trimmed(document: str, kind: str) -> str:
    if kind == "file":
        return document
    if kind == "line":
        return document.strip("\r\n")
    before = _BEFORE.match(document)
    return document[before.end() if before else 0 :].rstrip(" \t\r\n")


def _cut_file(text: str, start: int, final: bool) -> int:
    if len(text) - start <= LONGEST:
        return 0
    return _last_break(text, start + LONGEST // 2, start + LONGEST)


def _cut_paragraph(text: str, start: int, final: bool) -> int:
    match = _BLANK_LINES.search(text, start, start + LONGEST)
    # More blank lines may follow those at the end of what is there.
    if match and (final or match.end() == start + LONGEST or _TEXT.search(text, match.end())):
        return match.end()
    return _cut_file(text, start, final)


def _cut_line(text: str, start: int, final: bool) -> int:
    return text.find("\n", start, start + LONGEST) + 1 or _cut_file(text, start, final)


def _cut_chunk(text: str, start: int, final: bool) -> int:
    stop = start + LONGEST_CHUNK
    whole = len(text) <= stop
    if whole and not final:
        return 0
    match = _BLANK_LINES.search(text, start + CHUNK, stop)
    if match or whole:
        return match.end() if match else len(text)
    return _last_break(text, start + CHUNK, stop)


def _last_break(text: str, low: int, high: int) -> int:
    """The last place from low to high behind blank lines, a line or a space; high without any."""
    for mark in ("\n\n", "\n", " "):
        if (found := text.rfind(mark, low, high)) >= 0:
            return found + len(mark)
    return high


CUTTERS: Mapping[str, Cutter] = {
    "file": _cut_file,
    "paragraph": _cut_paragraph,
    "line": _cut_line,
    "chunk": _cut_chunk,
}
