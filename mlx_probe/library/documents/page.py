"""A document, read by a CommonMark parser: what is text, and what only quotes or shows code."""

from __future__ import annotations

from dataclasses import dataclass, field

from .front_matter import FrontMatter

__all__ = ["Comment", "Fence", "Heading", "Image", "Link", "Page", "Table", "Words"]


@dataclass(frozen=True)
class Heading:
    """A heading.

    Attributes:
        line: Number of its line, from 1.
        level: 1 to 6.
        text: As it is shown.
        anchor: What a link to it has behind #; "" of one in HTML, which has an id or none.
        is_quoted: Whether it is that of a quotation.
        is_html: Whether it is written in HTML.
    """

    line: int
    level: int
    text: str
    anchor: str = ""
    is_quoted: bool = False
    is_html: bool = False


@dataclass(frozen=True)
class Link:
    """A link.

    Attributes:
        line: Number of its line.
        target: Where it leads, as the parser gives it.
        text: What is shown; of an image in it the alternative text, or "image".
    """

    line: int
    target: str
    text: str


@dataclass(frozen=True)
class Image:
    """An image.

    Attributes:
        line: Number of its line.
        target: Its file or address.
        alt: Alternative text; None for HTML that says none. "" in HTML means decoration.
        is_html: Whether it is written in HTML.
    """

    line: int
    target: str
    alt: str | None
    is_html: bool = False


@dataclass(frozen=True)
class Fence:
    """A fenced block.

    Attributes:
        line: Number of its first line.
        label: Its language; "" without one.
        mark: The characters that it begins with.
        is_closed: Whether it ends with such a mark, not with the document.
    """

    line: int
    label: str
    mark: str
    is_closed: bool


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        line: Number of its first line.
        columns: As the line of dashes has it.
        rows: Number of the line and of the cells of each row.
        is_table: False for lines that look like one and are shown as text.
    """

    line: int
    columns: int
    rows: tuple[tuple[int, int], ...]
    is_table: bool = True


@dataclass(frozen=True)
class Words:
    """A piece of text outside of code and quotations.

    Attributes:
        line: Number of its line.
        text: The text.
    """

    line: int
    text: str


@dataclass(frozen=True)
class Comment:
    """An HTML comment.

    Attributes:
        line: Number of its line.
        text: What stands in it.
        end: Number of the last line of the block behind it.
    """

    line: int
    text: str
    end: int


@dataclass
class Page:
    """A document.

    Attributes:
        text: As it is written.
        front: What it says of itself.
        headings: Its headings, in order.
        links: Its links.
        images: Its images.
        fences: Its fenced blocks.
        tables: Its tables.
        words: Its texts outside of code and quotations, also those of HTML.
        comments: Its HTML comments.
        ids: Line and name of each anchor in HTML.
        begins_with: Kind of the first thing that is shown: "heading", "image", "text" or "".
    """

    text: str
    front: FrontMatter
    headings: list[Heading] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    fences: list[Fence] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    ids: list[tuple[int, str]] = field(default_factory=list)
    begins_with: str = ""

    @property
    def anchors(self) -> frozenset[str]:
        """What a link to the page may have behind #."""
        return frozenset(
            [heading.anchor for heading in self.headings] + [name for _, name in self.ids]
        ) - {""}

    @property
    def title(self) -> str:
        """The title; "" without one.

        It is that of the front matter, the first heading of level 1, or the one heading above
        all others that the page begins with.
        """
        if text := self.front.text("title"):
            return text
        own = [heading for heading in self.headings if not heading.is_quoted]
        first = next((heading for heading in own if heading.level == 1), None)
        if first is None and own and self.begins_with == "heading":
            first, *others = own
            if any(other.level <= first.level for other in others):
                first = None
        return first.text if first is not None else ""

    @property
    def has_title(self) -> bool:
        """Whether there is a title, which in HTML may be an image."""
        return bool(self.title) or any(
            heading.level == 1 and heading.is_html for heading in self.headings
        )
