"""Read a document into a `Page`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from .front_matter import read_front_matter
from .html_parts import html_parts
from .page import Comment, Fence, Heading, Image, Link, Page, Table, Words
from .slugs import numbered_slugs

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["read_page"]

_DASHES = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*|\s*\|\s*:?-+:?\s*\|\s*")
_PIPE = re.compile(r"(?<!\\)\|")
# {#name} behind a heading, as several generators of pages have it.
_NAMED = re.compile(r"\s*\{#([\w.:-]+)\}\s*$")
_NOTE = re.compile(r"\s*>\s*\[!\w+\]")
# What may stand before the mark of a fence: quotation marks, and the mark of a list's item.
_PREFIX = re.compile(r"^(?:\s*(?:>|[-*+]\s|\d+[.)]\s))*\s*")


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def read_page(text: str) -> Page:
    """Read a document.

    Args:
        text: The whole document.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    page = Page(text, read_front_matter(text))
    lines = text.split("\n")
    # Blank lines instead, so that the numbers of the others are those of the file.
    body = [""] * page.front.lines + lines[page.front.lines :]
    tokens = _parser().parse("\n".join(body))
    _Reader(page, body).read(tokens)
    return page


class _Reader:
    """Walks over the parser's tokens and fills a page.

    Args:
        page: What is filled.
        lines: The lines of the document, without the front matter.
    """

    def __init__(self, page: Page, lines: Sequence[str]) -> None:
        self._page, self._lines = page, lines
        self._quoting: list[bool] = []
        # In the order of the text, before they get their anchors.
        self._headings: list[Heading] = []

    def read(self, tokens: Sequence[Token]) -> None:
        """Take what the tokens have."""
        ends = [token.map for token in tokens if token.level == 0 and token.map is not None]
        for before, token in zip([None, *tokens], tokens, strict=False):
            self._block(before, token, ends)
        # Headings in HTML have no anchors of their own, and count for nobody's number.
        names = iter(numbered_slugs(h.text for h in self._headings if not h.is_html))
        self._page.headings += [
            each if each.is_html else replace(each, anchor=next(names)) for each in self._headings
        ]

    def _block(self, before: Token | None, token: Token, ends: Sequence[Sequence[int]]) -> None:
        kind = token.type
        if kind == "blockquote_open":
            first = (token.map or [0])[0]
            # Notes and warnings look like quotations, and are the writer's own words.
            self._quoting.append(_NOTE.match(self._lines[first]) is None)
        elif kind == "blockquote_close":
            self._quoting.pop()
        elif kind == "fence":
            self._begin("text")
            self._fence(token)
        elif kind == "html_block":
            first, last = token.map or [0, 0]
            self._html(token.content, first + 1, ends, last)
        elif kind == "code_block":
            self._begin("text")
        elif kind == "table_open":
            self._begin("text")
            self._table(token)
        elif kind == "tr_open" and self._page.tables and token.map:
            self._row(token.map[0])
        elif kind == "inline" and token.map is not None:
            self._inline(token, before, ends)

    def _begin(self, kind: str) -> None:
        self._page.begins_with = self._page.begins_with or kind

    def _fence(self, token: Token) -> None:
        first, end = token.map or [0, 0]
        last = _PREFIX.sub("", self._lines[end - 1]).rstrip()
        mark = token.markup
        closed = end - first > 1 and len(last) >= len(mark) and set(last) == set(mark[0])
        label = token.info.strip().split(" ")[0]
        self._page.fences.append(Fence(first + 1, label, mark, closed))

    def _table(self, token: Token) -> None:
        first = (token.map or [0])[0]
        dashes = self._lines[first + 1] if first + 1 < len(self._lines) else ""
        self._page.tables.append(Table(first + 1, _cells(dashes), ()))

    def _row(self, line: int) -> None:
        *others, table = self._page.tables
        if line + 1 == table.line:
            return  # the head, which has as many cells as dashes, or it would be no table
        row = (line + 1, _cells(self._lines[line]))
        rows = (*table.rows, row)
        self._page.tables[:] = [*others, Table(table.line, table.columns, rows)]

    def _inline(self, token: Token, before: Token | None, ends: Sequence[Sequence[int]]) -> None:
        first, end = token.map or [0, 0]
        children = token.children or []
        heading = before is not None and before.type == "heading_open"
        if heading and before is not None:
            self._begin("heading")
            shown = "".join(c.content for c in children if c.type in ("text", "code_inline"))
            if (named := _NAMED.search(shown)) is not None:
                self._page.ids.append((first + 1, named[1]))
                shown = shown[: named.start()]
            quoted = any(self._quoting)
            level = int(before.tag[1:])
            self._headings.append(Heading(first + 1, level, shown.strip(), is_quoted=quoted))
        elif not heading:
            self._paragraph(first, end)
        line = first + 1
        # Line, target and text of the link that is open; the text grows.
        link: tuple[int, str, str] | None = None
        for child in children:
            if child.type in ("softbreak", "hardbreak"):
                line += 1
                continue
            if child.type == "link_open":
                href = str(child.attrGet("href") or "")
                link = (self._at(line, end, href), href, "")
            elif child.type == "link_close" and link is not None:
                self._page.links.append(Link(link[0], link[1], link[2].strip()))
                link = None
            elif child.type == "image":
                self._begin("image")
                source = str(child.attrGet("src") or "")
                at = self._at(line, end, source)
                self._page.images.append(Image(at, source, child.content.strip()))
                link = _longer(link, child.content.strip() or "image")
            elif child.type == "html_inline":
                self._html(child.content, line, ends, end)
                if "<img" in child.content.lower():
                    link = _longer(link, "image")
            elif child.type in ("text", "code_inline"):
                if child.content.strip():
                    self._begin("text")
                link = _longer(link, child.content)
                if child.type == "text" and not any(self._quoting):
                    at = self._at(line, end, child.content)
                    self._page.words.append(Words(at, child.content))

    def _paragraph(self, first: int, end: int) -> None:
        """Notice lines that look like a table and are none."""
        for number in range(first + 1, end):
            head = self._lines[number - 1]
            if _DASHES.fullmatch(self._lines[number]) and _PIPE.search(head):
                rows = ((number, _cells(head)),)
                columns = _cells(self._lines[number])
                self._page.tables.append(Table(number, columns, rows, is_table=False))

    def _at(self, line: int, end: int, needle: str) -> int:
        """The line of a piece of text: code over several lines has no breaks to count by."""
        for number in range(line, end + 1):
            if needle and needle in self._lines[number - 1]:
                return number
        return line

    def _html(self, html: str, line: int, ends: Sequence[Sequence[int]], end: int) -> None:
        page = self._page
        for part in html_parts(html):
            at = line + part.line
            if part.kind == "link":
                # What is shown of it is not followed into the HTML.
                page.links.append(Link(at, part.text, "HTML"))
            elif part.kind == "image":
                self._begin("image")
                page.images.append(Image(at, part.text, part.alt, is_html=True))
            elif part.kind == "anchor":
                page.ids.append((at, part.text))
            elif part.kind == "heading":
                self._begin("heading")
                level = int((part.alt or "h6")[1:])
                self._headings.append(Heading(at, level, part.text, is_html=True))
            elif part.kind == "text" and not any(self._quoting):
                self._begin("text")
                page.words.append(Words(at, part.text))
            elif part.kind == "comment":
                page.comments.append(Comment(at, part.text, _end_behind(at, end, ends)))


def _longer(link: tuple[int, str, str] | None, text: str) -> tuple[int, str, str] | None:
    """An open link with more text."""
    return None if link is None else (link[0], link[1], link[2] + text)


def _end_behind(line: int, end: int, ends: Sequence[Sequence[int]]) -> int:
    """The last line of the first block that begins behind a comment's."""
    behind = (block for block in ends if block[0] + 1 > line)
    return next((block[1] for block in behind), max(line, end))


def _cells(row: str) -> int:
    """Number of cells in a row of a table."""
    row = row.strip()
    while row.startswith(">"):
        row = row[1:].strip()
    return sum(1 for _ in _split(row))


def _split(row: str) -> Iterator[str]:
    inner = row.removeprefix("|")
    cells = _PIPE.split(inner)
    if len(cells) > 1 and not cells[-1].strip():
        cells.pop()
    yield from cells
