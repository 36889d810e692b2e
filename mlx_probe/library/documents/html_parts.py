"""What HTML within a document has: links, images, anchors, headings, texts and comments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

__all__ = ["HtmlPart", "html_parts"]

# Texts in these are quoted, not said.
_QUOTING = ("pre", "code", "blockquote", "q", "script", "style", "kbd", "samp")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@dataclass(frozen=True)
class HtmlPart:
    """One thing.

    Attributes:
        kind: "link", "image", "anchor", "heading", "text" or "comment".
        line: Lines before it within the HTML.
        text: A target, an anchor's name, a text or comment.
        alt: Of an image its alternative text, None without any; of a heading its tag.
    """

    kind: str
    line: int
    text: str
    alt: str | None = None


class _Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[HtmlPart] = []
        self._quoting: list[str] = []
        self._heading: tuple[int, str, list[str]] | None = None

    def _add(self, kind: str, text: str, alt: str | None = None) -> None:
        self.parts.append(HtmlPart(kind, self.getpos()[0] - 1, text, alt))

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in values:
            self._add("link", values["href"])
        if tag == "img":
            self._add("image", values.get("src", ""), values.get("alt"))
        for name in ("id", "name"):
            # Fields of forms have names that are no anchors.
            if name in values and (name == "id" or tag == "a"):
                self._add("anchor", values[name])
        if tag == "img" and self._heading is not None:
            self._heading[2].append(values.get("alt") or "")
        if tag in _HEADINGS:
            self.end_heading()
            self._heading = (self.getpos()[0] - 1, tag, [])
        if tag in _QUOTING:
            self._quoting.append(tag)

    def end_heading(self) -> None:
        """Keep the heading that is open: HTML that a blank line cuts has no end of it."""
        if self._heading is not None:
            line, tag, texts = self._heading
            shown = " ".join(" ".join(texts).split())
            self.parts.append(HtmlPart("heading", line, shown, tag))
            self._heading = None

    def handle_endtag(self, tag: str) -> None:
        if tag in _HEADINGS:
            self.end_heading()
        if tag in self._quoting:
            del self._quoting[self._quoting.index(tag) :]

    def handle_data(self, data: str) -> None:
        if self._heading is not None:
            self._heading[2].append(data)
        if not self._quoting:
            line, _ = self.getpos()
            for number, text in enumerate(data.split("\n")):
                if text.strip():
                    self.parts.append(HtmlPart("text", line - 1 + number, text))

    def handle_comment(self, data: str) -> None:
        self._add("comment", data)


def html_parts(html: str) -> list[HtmlPart]:
    """The parts of a piece of HTML, in order; damaged HTML gives what can be read of it."""
    collector = _Collector()
    try:
        collector.feed(html)
        collector.close()
        collector.end_heading()
    except (AssertionError, ValueError):
        # The parser of older versions of Python gives up at some declarations.
        pass
    return collector.parts
